"""docs/format.md is enough to read a store, and to commit to one, without sparsefeat."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt
import pytest
import zarr

from sparsefeat.store import Store, StoreWriter, compact, history, remove, vacuum, verify

from ..data import SMALL, make_batch, make_reject, write_store

Entry = list[Any]

# zarr-python warns of its own codecs for differences and halves.
pytestmark = pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")


def checksum(content: bytes) -> str:
    return f"{google_crc32c.value(content):08x}"


def newest(folder: Path) -> int:
    return max(int(file.stem) for file in (folder / "snapshots").glob("[0-9]*.json"))


def read_snapshot(folder: Path, number: int, expected: str | None = None) -> dict[str, Any]:
    """Read a snapshot with all its parts."""
    content = (folder / f"snapshots/{number:08d}.json").read_bytes()
    document: dict[str, Any] = json.loads(content)
    start = len(b'{"crc32c":"00000000",')
    assert checksum(content[start:]) == document["crc32c"]
    assert expected in (None, document["crc32c"])
    assert (document["format"], document["number"]) == (1, number)
    if "base" in document:
        base = read_snapshot(folder, *document["base"])
        changed = {entry[0]: entry for entry in document["parts"]}
        parts = [changed.pop(entry[0], entry) for entry in base["parts"]]
        document = base | {"parts": [*parts, *changed.values()], "rows": document["rows"]}
    assert document["rows"] == sum(len(kept_rows(entry)) for entry in document["parts"])
    return document


def kept_rows(entry: Entry) -> list[int]:
    excluded = {row for start, stop in (entry[6:] or [[]])[0] for row in range(start, stop)}
    return [row for row in range(entry[1]) if row not in excluded]


def read_parts(folder: Path, snapshot: dict[str, Any]) -> Iterator[tuple[Entry, Any]]:
    for entry in snapshot["parts"]:
        part = folder / "parts" / f"{entry[0]}.zarr"
        assert checksum((part / "zarr.json").read_bytes()) == entry[4]
        assert sum(file.stat().st_size for file in part.rglob("*") if file.is_file()) == entry[3]
        yield entry, zarr.open_group(part, mode="r")


def read_rows(folder: Path) -> tuple[list[str], dict[str, npt.NDArray[Any]]]:
    """Return ids and dense layers of all rows that are not excluded."""
    snapshot = read_snapshot(folder, newest(folder))
    ids: list[str] = []
    layers: dict[str, list[Any]] = {name: [] for name in snapshot["layers"]}
    for entry, group in read_parts(folder, snapshot):
        kept = kept_rows(entry)
        ids += group["obs/_index"][:][kept].tolist()
        for (name, rows), (encoding, nnz, *_) in zip(layers.items(), entry[5], strict=True):
            node: Any = group[f"obsm/{name.replace('/', '.')}"]
            n_features = int(np.prod(snapshot["layers"][name]))
            if encoding == "dense":
                rows += list(node[:][kept])
                continue
            indptr, indices, data = (node[each][:] for each in ("indptr", "indices", "data"))
            assert indptr[-1] == nnz
            for row in kept:
                dense = np.zeros(n_features, np.float32)
                stretch = slice(indptr[row], indptr[row + 1])
                dense[indices[stretch]] = data[stretch]
                rows.append(dense)
    return ids, {name: np.stack(rows) for name, rows in layers.items()}


def commit(folder: Path, before: int, changed: list[Entry], rows: int) -> None:
    """Commit changed entries, with the previous snapshot as the base."""
    base = json.loads((folder / f"snapshots/{before:08d}.json").read_bytes())["crc32c"]
    fields = {"format": 1, "number": before + 1, "created": "", "operation": "by hand"}
    document = fields | {"rows": rows, "parts": changed, "base": [before, base]}
    body = json.dumps(document).encode()[1:]
    temporary = folder / "snapshots/.by-hand.tmp"
    temporary.write_bytes(b'{"crc32c":"' + checksum(body).encode() + b'",' + body)
    os.link(temporary, folder / f"snapshots/{before + 1:08d}.json")
    temporary.unlink()


def store_with_everything(folder: Path) -> None:
    for number in range(6):
        write_store(folder, [make_batch([2 * number, 2 * number + 1])])
    remove(folder, "bytes == 1003")
    compact(folder, rows_per_part=4)
    write_store(folder, [make_batch([20, 21], rejects=[make_reject(0)])])
    remove(folder, "bytes == 1000 or bytes == 1021")
    vacuum(folder, older_than=0)
    write_store(folder, [make_batch([22])])


def test_the_page_is_enough_to_read_a_store(tmp_path: Path) -> None:
    store_with_everything(tmp_path)
    ids, layers = read_rows(tmp_path)
    store = Store(tmp_path)
    assert ids == store.obs.index.tolist()
    assert [*layers] == [layer.name for layer in SMALL]
    for name, rows in layers.items():
        np.testing.assert_array_equal(rows, store[name][:].toarray())
    assert {entry.n_excluded for entry in store.snapshot.parts} == {0, 1}


def test_the_page_is_enough_to_commit(tmp_path: Path) -> None:
    """Another program excludes a row while a writer of ours is at work."""
    write_store(tmp_path, [make_batch([0, 1, 2])])
    write_store(tmp_path, [make_batch([3, 4])])
    with StoreWriter.open(
        tmp_path, layers=SMALL, settings={"pool": "none"}, provenance={}
    ) as writer:
        writer.append(make_batch([5]))
        snapshot = read_snapshot(tmp_path, 2)
        first = snapshot["parts"][0]
        commit(tmp_path, 2, [[*first[:6], [[1, 2]]]], rows=4)
    assert (Store(tmp_path).obs["bytes"] - 1000).tolist() == [0, 2, 3, 4, 5]
    assert [each.operation for each in history(tmp_path)][2:] == ["by hand", "extract"]
    assert verify(tmp_path).findings == ()
    assert read_rows(tmp_path)[0] == Store(tmp_path).obs.index.tolist()
