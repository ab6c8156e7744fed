"""Readers notice a flipped bit anywhere, and `verify` names the damaged rows."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from sparsefeat.errors import StoreCorruptError, StoreError
from sparsefeat.store import Store, verify
from sparsefeat.store.format.documents import CHUNK, layer_key

from ..attacks import FULL, write_target
from ..data import part_folders

FLIPS_PER_FILE = 40


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flips") / "store"
    write_target(folder)
    return folder


@contextmanager
def flipped(file: Path, bit: int) -> Iterator[None]:
    """Flip a bit of a file for the duration of a block."""
    descriptor = os.open(file, os.O_RDWR)
    try:
        (byte,) = os.pread(descriptor, 1, bit // 8)
        os.pwrite(descriptor, bytes([byte ^ 1 << bit % 8]), bit // 8)
        yield
    finally:
        os.pwrite(descriptor, bytes([byte]), bit // 8)
        os.close(descriptor)


def bits_of(file: Path, count: int) -> list[int]:
    """Choose the first bit, the last one, and others at random."""
    last = 8 * file.stat().st_size - 1
    moments = random.Random(str(file.name) + str(last))
    return [0, last, *(moments.randrange(last + 1) for _ in range(count - 2))]


def chunk_files(part: Path) -> list[Path]:
    return sorted(file for file in part.rglob("*") if file.is_file() and file.name != "zarr.json")


def read_array(folder: Path, array: str) -> None:
    """Read one array as a store does, with a new part that has nothing cached."""
    (opened,) = Store(folder).parts
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


def test_a_flipped_bit_in_any_chunk_is_noticed(store: Path) -> None:
    (part,) = part_folders(store)
    files = chunk_files(part)
    assert len(files) > 25
    for file in files:
        array = file.relative_to(part).as_posix().split("/c.")[0]
        read_array(store, array)
        for bit in bits_of(file, FLIPS_PER_FILE):
            with flipped(file, bit), pytest.raises(StoreError, match=array):
                read_array(store, array)


def test_a_flipped_bit_in_metadata_is_noticed(store: Path) -> None:
    (part,) = part_folders(store)
    (snapshot,) = (store / "snapshots").iterdir()
    for file in (part / "zarr.json", snapshot):
        for bit in bits_of(file, 300):
            with flipped(file, bit), pytest.raises(StoreCorruptError, match=file.name):
                Store(store)["fc"][:]


@pytest.mark.parametrize("array", ["wide/data", "wide/indices", "full"])
def test_verify_names_the_rows_of_a_chunk(store: Path, array: str) -> None:
    (opened,), (part,) = Store(store).parts, part_folders(store)
    layer = array.split("/")[0]
    file = part / "obsm" / array / ("c.0.0" if layer == "full" else "c.0")
    stored = file.read_bytes()
    index = np.frombuffer(stored[-36:-4], "<u8").reshape(2, 2).astype(int)
    offsets = opened.offsets(layer)
    step = CHUNK // FULL.n_features * FULL.n_features if layer == "full" else CHUNK
    for bit in bits_of(file, 40):
        chunk = next((n for n in (0, 1) if index[n, 0] <= bit // 8 < index[n].sum()), None)
        first, last = (0, offsets[-1]) if chunk is None else (chunk * step, (chunk + 1) * step)
        rows = np.searchsorted(offsets, [first, min(last, offsets[-1]) - 1], side="right") - 1
        with flipped(file, bit):
            findings = verify(store).findings
        found = {(finding.part, finding.layer) for finding in findings}
        if chunk is None:  # an index that the header has a copy of
            found -= {(part.stem, "")}
        assert found == {(part.stem, layer)}
        named = [finding.rows for finding in findings if finding.rows]
        assert (min(named)[0], max(named)[1]) == (rows[0], rows[1] + 1), bit
