"""A bit flipped anywhere is noticed by who reads it, and `verify` says what it costs."""

import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sparsefeat.store.check_layer import check_layer

from sparsefeat.errors import StoreError
from sparsefeat.store import Store
from sparsefeat.store.format.documents import CHUNK, layer_key
from sparsefeat.store.part.read import Part

from .attacks import FULL, PART, WIDE, write_target

FLIPS_PER_FILE = 40


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flips") / "store"
    write_target(folder)
    return folder


@contextmanager
def flipped(file: Path, bit: int) -> Iterator[None]:
    """Flip a bit where it lies, and back again."""
    descriptor = os.open(file, os.O_RDWR)
    try:
        (byte,) = os.pread(descriptor, 1, bit // 8)
        os.pwrite(descriptor, bytes([byte ^ 1 << bit % 8]), bit // 8)
        yield
    finally:
        os.pwrite(descriptor, bytes([byte]), bit // 8)
        os.close(descriptor)


def bits_of(file: Path, count: int) -> list[int]:
    """The first bit, the last, and others at random."""
    last = 8 * file.stat().st_size - 1
    moments = random.Random(str(file.name) + str(last))
    return [0, last, *(moments.randrange(last + 1) for _ in range(count - 2))]


def chunk_files(part: Path) -> list[Path]:
    return sorted(file for file in part.rglob("*") if file.is_file() and file.name != "zarr.json")


def read_array(part: Path, array: str) -> None:
    """Read one array as a store does: a fresh part keeps nothing of what was read before."""
    opened = Part(part)
    table, _, column = array.rpartition("/")
    if table in ("obs", "uns/sparsefeat/rejected"):
        opened.column(table, column)
        return
    for layer in opened.layers:
        if array.startswith(f"obsm/{layer_key(layer)}"):
            opened.rows(layer, 0, opened.header.rows)
            return
        if array.endswith(f"zeros_per_channel/{layer_key(layer)}"):
            opened.zeros_per_channel(layer)
            return
        if array.endswith(f"zeros_per_row/{layer_key(layer)}"):
            opened.indptr(layer)
            return
    opened.read(array)


def test_every_chunk_notices_a_flipped_bit(store: Path) -> None:
    part = store / PART
    files = chunk_files(part)
    assert len(files) > 30
    for file in files:
        array = file.relative_to(part).as_posix().split("/c")[0]
        read_array(part, array)
        for bit in bits_of(file, FLIPS_PER_FILE):
            with flipped(file, bit), pytest.raises(StoreError, match=array):
                read_array(part, array)


def everything(folder: Path) -> dict[str, Any]:
    """All that a store says of its rows."""
    opened = Store(folder)
    seen: dict[str, Any] = {"settings": opened.settings, "provenance": opened.provenance}
    for part in opened.parts:
        seen["rows"], seen["rejected"] = part.table("obs"), part.table("uns/sparsefeat/rejected")
    for name in opened.layers:
        if name not in (WIDE.name, FULL.name):
            matrix = opened[name]
            seen[name] = (matrix.shape, matrix.data, matrix.indices, matrix.indptr)
        counts = opened.zeros(name)
        seen[f"zeros {name}"] = (counts.per_row, counts.per_channel)
    return seen


def test_metadata_with_a_flipped_bit_are_refused_or_mean_the_same(store: Path) -> None:
    expected = everything(store)
    refused = 0
    for file in sorted((store / PART).rglob("zarr.json")):
        is_root = file.parent.name == PART
        for bit in bits_of(file, 150 if is_root else 6):
            with flipped(file, bit):
                try:
                    seen = everything(store)
                except StoreError:
                    refused += 1
                else:
                    np.testing.assert_equal(seen, expected)
    assert refused > 50


@pytest.mark.parametrize("array", ["wide/data", "wide/indices", "full"])
def test_verify_names_the_rows_of_a_chunk(store: Path, array: str) -> None:
    part = Part(store / PART, confirm=False)
    layer = array.split("/")[0]
    file = store / PART / "obsm" / array / "c" / ("0/0" if layer == "full" else "0")
    stored = file.read_bytes()
    index = np.frombuffer(stored[-36:-4], "<u8").reshape(2, 2).astype(int)
    offsets = part.offsets(layer)
    step = CHUNK // FULL.n_features * FULL.n_features if layer == "full" else CHUNK
    for bit in bits_of(file, 60):
        chunk = next((n for n in (0, 1) if index[n, 0] <= bit // 8 < index[n].sum()), None)
        first, last = (0, offsets[-1]) if chunk is None else (chunk * step, (chunk + 1) * step)
        rows = np.searchsorted(offsets, [first, min(last, offsets[-1]) - 1], side="right") - 1
        with flipped(file, bit):
            fresh = Part(store / PART, confirm=False)
            findings = list(check_layer(fresh, fresh.layers[layer]))
        assert {(finding.part, finding.layer) for finding in findings} == {(PART, layer)}
        named = [finding.rows for finding in findings if finding.rows]
        assert (min(named)[0], max(named)[1]) == (rows[0], rows[1] + 1), bit


def test_the_two_headers_are_compared(store: Path) -> None:
    root = store / PART / "zarr.json"
    before = root.read_bytes()
    changed = json.loads(before)
    changed["attributes"]["sparsefeat"]["layers"][0]["shape"] = [9, 1, 8]
    root.write_text(json.dumps(changed))
    try:
        opened = Store(store)
        with pytest.raises(StoreError, match="not the header in zarr"):
            _ = opened["block5_pool"]
        with pytest.raises(StoreError, match="not the header in zarr"):
            _ = opened["block5_pool"]
    finally:
        root.write_bytes(before)


def test_a_damaged_copy_of_the_header_is_refused_each_time(store: Path) -> None:
    part = Part(store / PART)
    with flipped(store / PART / "uns" / "sparsefeat" / "header" / "c", 100):
        for _ in range(2):
            with pytest.raises(StoreError, match="header"):
                part.zeros_per_channel("full")
