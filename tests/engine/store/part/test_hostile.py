"""Stores with impossible metadata are refused before memory is allocated."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from sparsefeat.errors import InputError, StoreCorruptError
from sparsefeat.store import Store, StoreWriter

from ..data import (
    SMALL,
    edit_root,
    make_batch,
    make_reject,
    make_row,
    part_folders,
    write_store,
)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write_store(tmp_path, [make_batch(range(4), rejects=[make_reject(0)])])
    return tmp_path


def change_header(store: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    edit_root(store, lambda root: edit(root["attributes"]["sparsefeat"]))


@pytest.mark.parametrize(
    "edit",
    [
        lambda header: header.update(rows=2**22),
        lambda header: header.update(rows="4"),
        lambda header: header["layers"][0].update(shape=[2**40, 2**40]),
        lambda header: header["layers"][0].update(shape=[2**33]),
        lambda header: header["layers"][0].update(nnz=10**9),
        lambda header: header["layers"][0].update(name="../../etc"),
        lambda header: header["layers"].append(header["layers"][0]),
        lambda header: header["layers"].clear(),
        lambda header: header["settings"].update(pool=float("nan")),
    ],
)
def test_an_impossible_header_is_damage(
    store: Path, edit: Callable[[dict[str, Any]], None]
) -> None:
    change_header(store, edit)
    with pytest.raises(StoreCorruptError):
        Store(store)["fc"][:]


@pytest.mark.parametrize("layer", ["block5_pool", "fc"])
def test_a_wrong_number_of_rows_is_damage(store: Path, layer: str) -> None:
    change_header(store, lambda header: header.update(rows=2**20))
    opened = Store(store)
    for read in (
        lambda: opened[layer][:],
        lambda: opened[layer].to_numpy([0]),
        lambda: opened[layer].zeros(),
        lambda: opened.obs,
    ):
        with pytest.raises(StoreCorruptError, match="the header says"):
            read()


@pytest.mark.parametrize("array", ["block5_pool/data", "block5_pool/indices", "fc"])
def test_an_array_of_another_shape_is_damage(store: Path, array: str) -> None:
    def grow(node: dict[str, Any]) -> None:
        node["shape"][0] += 1

    edit_root(store, lambda root: grow(root["consolidated_metadata"]["metadata"][f"obsm/{array}"]))
    with pytest.raises(StoreCorruptError, match="the header says"):
        _ = Store(store)[array.split("/")[0]][:]


def test_a_store_with_short_tables_is_not_appended_to(store: Path) -> None:
    change_header(store, lambda header: header.update(rejected=9))
    with pytest.raises(StoreCorruptError, match="the header says"):
        StoreWriter.open(store, layers=SMALL, settings={"pool": "none"}, provenance={})


def test_wrong_counts_of_rows_are_damage(tmp_path: Path) -> None:
    numbers = range(4)

    def uneven(layer: Any, rows: Any) -> Any:
        dense = np.ones((len(rows), layer.n_features), np.float32)
        for row in numbers:
            dense[row, : 3 * row] = 0
        return dense

    write_store(tmp_path, [make_batch(numbers, make=uneven)])
    (part,) = part_folders(tmp_path)
    array: Any = zarr.open_group(part, mode="r+")["uns/sparsefeat/zeros_per_row/fc"]
    assert array[:].tolist() == [0, 3, 6, 9]
    array[:] = array[:][::-1]  # the same sum, with valid checksums
    opened = Store(tmp_path)
    for rows in (slice(None), [1]):
        with pytest.raises(StoreCorruptError, match="not as many as were counted"):
            _ = opened["fc"][rows]


def test_many_rejects_without_rows_make_parts(tmp_path: Path) -> None:
    with StoreWriter.open(tmp_path, layers=SMALL, settings={}, provenance={}) as writer:
        for start in range(0, 80_000, 10_000):
            rejects = [make_reject(number) for number in range(start, start + 10_000)]
            writer.append(make_batch([], rejects=rejects))
        assert len(part_folders(tmp_path)) == 1
    assert len(part_folders(tmp_path)) == 2
    assert len(Store(tmp_path).rejected) == 80_000


def test_images_that_differ_in_time_or_digest_are_different(tmp_path: Path) -> None:
    alike = [
        make_row(0, bytes=4, mtime_ns=1, sha256="aa"),
        make_row(0, bytes=4, mtime_ns=2, sha256="bb"),
        make_row(0, bytes=4, mtime_ns=1, sha256="bb"),
    ]
    batch = make_batch(range(3))
    with StoreWriter.open(tmp_path, layers=SMALL, settings={}, provenance={}) as writer:
        new = writer.append(type(batch)(rows=tuple(alike), layers=batch.layers))
    assert new == 3


def test_a_reject_in_another_root_is_not_resolved_by_a_row(tmp_path: Path) -> None:
    reject = make_reject(7, path="x.jpg", root="/a")
    row = make_row(0, path="x.jpg", root="/b", bytes=reject.bytes, mtime_ns=reject.mtime_ns)
    batch = make_batch([0], rejects=[reject])
    write_store(tmp_path, [type(batch)(rows=(row,), layers=batch.layers, rejects=batch.rejects)])
    assert Store(tmp_path).rejected["root"].tolist() == ["/a"]


def test_a_writer_can_be_closed_by_another_thread(tmp_path: Path) -> None:
    writer = StoreWriter.open(tmp_path, layers=SMALL, settings={}, provenance={})
    with ThreadPoolExecutor(1) as thread:
        thread.submit(writer.close).result()
    StoreWriter.open(tmp_path, layers=SMALL, settings={}, provenance={}).close()


def test_invalid_names_of_layers_are_refused(store: Path) -> None:
    opened: Any = Store(store)
    for key in (0, ("fc", 0, 1), None):
        with pytest.raises(InputError, match="expected a layer's name"):
            _ = opened[key]
    opened.obs["mine"] = 1
    assert "mine" not in opened.obs
