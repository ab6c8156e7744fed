"""Damage of every kind is reported with its location."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import to_builtins

from sparsefeat.errors import SourceError, StoreCorruptError, StoreError
from sparsefeat.images import encode_path
from sparsefeat.store import Store, VerifyReport, compact, vacuum, verify
from sparsefeat.store.format.documents import checksum
from sparsefeat.types import Batch, Layer
from sparsefeat_kernels import encode

from ..data import (
    edit_root,
    edit_snapshot,
    make_batch,
    make_reject,
    make_row,
    part_folders,
    write_snapshot,
    write_store,
)


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undamaged")
    batches = [make_batch(range(4), rejects=[make_reject(1)]), make_batch(range(4, 7))]
    write_store(folder, batches, rows_per_part=4)
    return folder


@pytest.fixture
def store(undamaged: Path, tmp_path: Path) -> Path:
    folder: Path = shutil.copytree(undamaged, tmp_path / "store")
    return folder


def damage(report: VerifyReport) -> list[str]:
    return [str(finding) for finding in report.findings if not finding.harmless]


def test_an_undamaged_store_has_no_findings(undamaged: Path) -> None:
    calls: list[tuple[int, int]] = []
    report = verify(undamaged, progress=lambda done, total: calls.append((done, total)))
    assert report.findings == ()
    assert report.ok
    assert (report.parts, report.rows, report.images) == (2, 7, 0)
    files = [file for file in undamaged.glob("parts/**/*") if file.is_file()]
    assert report.files == len(files)
    assert report.n_bytes == sum(file.stat().st_size for file in files)
    assert calls == [(1, 2), (2, 2)]


def flip(file: Path, bit: int) -> None:
    stored = bytearray(file.read_bytes())
    stored[bit // 8] ^= 1 << bit % 8
    file.write_bytes(stored)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_flipped_bit_is_found_by_verify_and_by_reading(
    undamaged: Path, data: st.DataObject
) -> None:
    (part, *_) = part_folders(undamaged)
    files = sorted(path for path in part.rglob("c.*") if path.is_file())
    file = data.draw(st.sampled_from(files))
    bit = data.draw(st.integers(0, 8 * file.stat().st_size - 1))
    flip(file, bit)
    try:
        array = file.relative_to(part).as_posix().split("/c.")[0]
        assert any(part.name in found and array in found for found in damage(verify(undamaged)))
        with pytest.raises(StoreCorruptError, match=array):
            Store(undamaged).parts[0].read(array)
        if array.startswith("obsm/"):
            store = Store(undamaged)
            layer = next(
                name for name in store.layers if array.split("/")[1] == name.replace("/", ".")
            )
            with pytest.raises(StoreCorruptError, match=array):
                store[layer][:]
            with pytest.raises(StoreCorruptError, match=array):
                store[layer].to_numpy()
    finally:
        flip(file, bit)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_in_metadata_is_found(undamaged: Path, data: st.DataObject) -> None:
    (part, *_) = part_folders(undamaged)
    file = part / "zarr.json"
    bit = data.draw(st.integers(0, 8 * file.stat().st_size - 1))
    flip(file, bit)
    try:
        assert any(part.name in finding for finding in damage(verify(undamaged)))
        with pytest.raises(StoreCorruptError, match="its checksum is not"):
            Store(undamaged)["fc"][:]
    finally:
        flip(file, bit)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_in_a_snapshot_is_found(undamaged: Path, data: st.DataObject) -> None:
    files = sorted((undamaged / "snapshots").glob("*.json"))
    file = data.draw(st.sampled_from(files))
    bit = data.draw(st.integers(0, 8 * file.stat().st_size - 1))
    flip(file, bit)
    try:
        if file == files[-1]:
            for look in (Store, verify):
                with pytest.raises(StoreCorruptError, match=file.name):
                    look(undamaged)
        else:
            with pytest.raises(StoreCorruptError, match=file.name):
                Store(undamaged, snapshot=int(file.stem))
    finally:
        flip(file, bit)


def test_missing_and_changed_files_are_found(undamaged: Path) -> None:
    (part, *_) = part_folders(undamaged)
    files = sorted(path for path in part.rglob("*") if path.is_file())
    for file, change in zip(files, cycle(["missing", "empty", "shorter", "longer"])):
        stored = file.read_bytes()
        try:
            match change:
                case "missing":
                    file.unlink()
                case "empty":
                    file.write_bytes(b"")
                case "shorter":
                    file.write_bytes(stored[:-1])
                case "longer":
                    file.write_bytes(stored + b"\0")
            assert damage(verify(undamaged)), file
        finally:
            file.write_bytes(stored)


def test_findings_name_part_layer_and_rows(tmp_path: Path) -> None:
    """Three chunks of 262,144 elements, with 5,000 elements per row."""
    layers = [Layer(name="block4_pool", shape=(10, 10, 500)), Layer(name="fc", shape=(5000,))]
    rng = np.random.default_rng(0)
    rows = 120
    sparse = np.zeros((rows, 50_000), np.float32)
    sparse[:, ::10] = rng.random((rows, 5000)) + 1
    full = (rng.random((rows, 5000)) + 1).astype(np.float32)
    batch = Batch(
        rows=tuple(make_row(number) for number in range(rows)),
        layers={"block4_pool": encode(sparse), "fc": encode(full)},
    )
    write_store(tmp_path, [batch], layers)
    (part,) = part_folders(tmp_path)
    shard = part / "obsm" / "block4_pool" / "data" / "c.0"
    first, second = np.frombuffer(shard.read_bytes()[-52:-4], "<u8").reshape(3, 2)[:2].tolist()
    assert first[0] == 0
    flip(shard, 8 * (second[0] + second[1] // 2))
    (finding,) = verify(tmp_path).findings
    assert (finding.part, finding.layer) == (part.stem, "block4_pool")
    assert finding.rows == (262_144 // 5000, -(-2 * 262_144 // 5000))
    assert str(finding).startswith(f"{part.stem}, block4_pool, rows 52 to 104: ")

    flip(shard, 8 * (second[0] + second[1] // 2))
    file = part / "obsm" / "fc" / "c.0.0"
    flip(file, 8 * (file.stat().st_size // 2))
    (finding,) = verify(tmp_path).findings
    assert (finding.part, finding.layer) == (part.stem, "fc")
    # Chunks of 52 rows of 5,000 elements.
    assert finding.rows == (52, 104)
    # Rows outside the damage can still be read.
    np.testing.assert_array_equal(Store(tmp_path)["fc"][[3, 110]].toarray(), full[[3, 110]])


def rewrite(array: str, change: Callable[[np.ndarray[Any, Any]], None]) -> Callable[[Path], None]:
    """Change values and write them with a valid checksum."""

    def tamper(folder: Path) -> None:
        group = zarr.open_group(part_folders(folder)[0], mode="r+")
        opened: Any = group[array]
        values = np.array(opened[...])
        change(values)
        opened[...] = values

    return tamper


def swap(values: np.ndarray[Any, Any]) -> None:
    values[[0, 1]] = values[[1, 0]]


def put(index: int, value: float | str) -> Callable[[np.ndarray[Any, Any]], None]:
    def change(values: np.ndarray[Any, Any]) -> None:
        values[index] = value

    return change


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")
@pytest.mark.parametrize(
    ("tamper", "layer", "what"),
    [
        (rewrite("obsm/block5_pool/indptr", put(0, 1)), "block5_pool", "counts contradict"),
        (rewrite("obsm/block5_pool/indptr", put(2, 10**6)), "block5_pool", "counts contradict"),
        (rewrite("obsm/block5_pool/indices", swap), "block5_pool", "strictly increasing"),
        (rewrite("obsm/block5_pool/indices", put(-1, 72)), "block5_pool", "outside 0 to 71"),
        (rewrite("obsm/block5_pool/indices", put(0, -1)), "block5_pool", "outside 0 to 71"),
        (rewrite("obsm/block5_pool/data", put(3, np.nan)), "block5_pool", "not finite"),
        (rewrite("obsm/block5_pool/data", put(3, np.inf)), "block5_pool", "not finite"),
        (rewrite("obsm/block5_pool/data", put(3, 0)), "block5_pool", "stored zeros"),
        (rewrite("obsm/fc", lambda values: put(0, 0)(values[1])), "fc", "as were counted"),
        (rewrite("obsm/fc", lambda values: put(0, np.nan)(values[1])), "fc", "not finite"),
        (rewrite("uns/sparsefeat/zeros_per_row/fc", put(1, 2)), "fc", "counts contradict"),
        (rewrite("uns/sparsefeat/zeros_per_channel/fc", put(7, 1)), "fc", "channels 7"),
        (rewrite("obs/_index", put(0, "00")), "", "obs row 0 has not the id"),
        (rewrite("obs/path", put(2, "other")), "", "obs row 2 has not the id"),
        (rewrite("uns/sparsefeat/rejected/_index", put(0, "00")), "", "rejected row 0 has not"),
    ],
)
def test_contradictory_values_are_found(
    store: Path, tamper: Callable[[Path], None], layer: str, what: str
) -> None:
    tamper(store)
    findings = [f for f in verify(store).findings if what in f.what]
    assert findings
    assert {(finding.part, finding.layer, finding.harmless) for finding in findings} == {
        (part_folders(store)[0].stem, layer, False)
    }


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")
def test_bounds_are_checked_before_scipy_sees_them(store: Path) -> None:
    rewrite("obsm/block5_pool/indices", put(-1, 72))(store)
    with pytest.raises(StoreCorruptError, match="outside 0 to 71"):
        Store(store)["block5_pool"][:]


def test_nan_and_infinity_are_stored_and_reported(tmp_path: Path) -> None:
    values = np.array([[1, 0, 2], [np.nan, 0, np.inf], [0, 0, 3]], np.float32)
    layer = Layer(name="x", shape=(3,))
    write_store(tmp_path, [make_batch(range(3), [layer], make=lambda *_: values)], [layer])
    (finding,) = verify(tmp_path).findings
    assert finding.rows == (1, 2)
    np.testing.assert_array_equal(Store(tmp_path)["x"].to_scipy().toarray(), values)


def test_a_part_without_valid_metadata_is_damage(store: Path) -> None:
    (part, *_) = part_folders(store)
    shutil.rmtree(part)
    part.mkdir()
    assert any(part.name in found and "damaged" in found for found in damage(verify(store)))
    with pytest.raises(StoreCorruptError, match=part.name):
        Store(store)["fc"][:]


@pytest.mark.parametrize(
    "root",
    ["", "[]", "1", '"x"', "{}", '{"attributes": {"sparsefeat": []}}', "\ud83d", "[" * 2000]
    + [
        json.dumps({"attributes": {"sparsefeat": {"format": version}}})
        for version in (1, 2, -1, "1", None, True)
    ],
)
def test_invalid_root_metadata_are_damage(store: Path, root: str) -> None:
    content = root.encode("utf-8", "surrogatepass")
    (part, *_) = part_folders(store)
    (part / "zarr.json").write_bytes(content)
    edit_snapshot(store, lambda parts: parts[0].__setitem__(4, checksum(content)))
    assert damage(verify(store))
    with pytest.raises(StoreError):
        Store(store)["fc"][:]


@pytest.mark.parametrize("extent", [0, -1, 2**62, None, "x"])
@pytest.mark.parametrize("key", ["shape", "chunk_shape"])
def test_invalid_extents_are_damage(store: Path, key: str, extent: object) -> None:
    def edit(root: Any) -> None:
        node = root["consolidated_metadata"]["metadata"]["obsm/block5_pool/data"]
        (node if key == "shape" else node["chunk_grid"]["configuration"])[key] = [extent]

    edit_root(store, edit)
    assert any("block5_pool" in found for found in damage(verify(store)))


def test_missing_and_duplicated_parts_are_found(store: Path) -> None:
    first, second = part_folders(store)
    copy = first.with_name("0123456789abcdef.zarr")
    shutil.copytree(first, copy)
    edit_snapshot(store, lambda parts: parts.append([copy.stem, *parts[0][1:]]))
    assert len([line for line in damage(verify(store)) if "already" in line]) == 4
    shutil.rmtree(second)
    found = [line for line in damage(verify(store)) if second.stem in line]
    assert len(found) == 1
    assert "is not there any more" in found[0]


def test_a_part_of_another_store_is_found(store: Path, tmp_path: Path) -> None:
    write_store(tmp_path / "other", [make_batch([50])], settings={"pool": "avg"})
    (theirs,) = part_folders(tmp_path / "other")
    shutil.copytree(theirs, store / "parts" / theirs.name)
    entry = to_builtins(Store(tmp_path / "other").snapshot.parts[0])
    edit_snapshot(store, lambda parts: parts.append(entry))
    found = damage(verify(store))
    assert found == [
        f"{theirs.stem}: was made with other settings: settings.pool: got 'avg', expected 'none'"
    ]


def test_leftovers_and_unknown_files_are_reported_as_harmless(store: Path) -> None:
    (part, *_) = part_folders(store)
    shutil.copytree(part, store / "parts" / "0123456789abcdef.zarr")
    (part / "obs" / "._c.0").write_text("from a Mac")
    (store / "parts" / "copy of a part.zarr").mkdir()
    (store / "snapshots" / "3.json").write_text("{}")
    (store / "snapshots" / ".0123.tmp").write_text("{")
    report = verify(store)
    assert report.ok
    assert all(finding.harmless for finding in report.findings)
    of_parts, of_snapshots, unlisted, in_part = map(str, report.findings)
    assert of_parts == "parts/copy of a part.zarr belongs to nothing"
    assert of_snapshots == "snapshots/3.json belongs to nothing"
    assert "1 part that this snapshot doesn't list" in unlisted
    assert "obs/._c.0 belongs to nothing" in in_part


def test_a_store_without_its_parts_is_damaged(store: Path) -> None:
    shutil.rmtree(store / "parts")
    assert len([line for line in damage(verify(store)) if "is not there any more" in line]) == 2


def test_chains_of_snapshots_are_checked(tmp_path: Path) -> None:
    for number in range(4):
        write_store(tmp_path, [make_batch([number])])
    compact(tmp_path)
    first = tmp_path / "snapshots" / "00000001.json"
    assert verify(tmp_path).findings[1:] == ()
    document = json.loads(first.read_bytes())
    del document["crc32c"]
    write_snapshot(tmp_path, 1, {**document, "created": "later"})
    assert damage(verify(tmp_path)) == ["snapshot 2 refers to another snapshot 1 than there is"]
    # A vacuum that was cut off by a power failure may leave this.
    first.unlink()
    report = verify(tmp_path)
    assert report.ok
    assert "snapshot 2 can't be opened, since it refers to snapshot 1" in str(report.findings[0])
    vacuum(tmp_path, older_than=0)
    assert verify(tmp_path).findings == ()
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == ["00000005.json"]


def test_without_its_newest_snapshot_a_store_is_the_previous_one(store: Path) -> None:
    (*_, newest) = sorted((store / "snapshots").iterdir())
    flip(newest, 200)
    with pytest.raises(StoreCorruptError, match=newest.name):
        verify(store)
    assert len(Store(store, snapshot=1)) == 4
    newest.unlink()
    report = verify(store)
    assert (report.ok, report.rows, report.snapshot) == (True, 4, 1)
    write_store(store, [make_batch(range(4, 7))])
    assert (verify(store).ok, verify(store).rows) == (True, 7)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes in folders")
def test_a_pipe_in_a_part_is_damage(store: Path) -> None:
    os.mkfifo(part_folders(store)[0] / "obs" / "pipe")
    report = verify(store)
    assert not report.ok
    assert "obs/pipe is a link, a pipe or a device, expected a file" in str(report.findings)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Image files whose folder was moved, beside a store with their records."""
    folder = tmp_path / "photos"
    (folder / "a b").mkdir(parents=True)
    names = ["one.jpg", "a b/zwei-ä.jpg", "50% off.jpg", os.fsdecode(b"caf\xe9.jpg")]
    rows = []
    for number, name in enumerate(names):
        (folder / name).write_bytes(b"image %d" % number)
        digest = hashlib.sha256(b"image %d" % number).hexdigest()
        rows.append(make_row(number, root="/gone", path=encode_path(name), bytes=7, sha256=digest))
    batch = make_batch(range(4))
    write_store(tmp_path / "store", [Batch(rows=tuple(rows), layers=batch.layers)])
    return folder


def test_unchanged_originals_give_no_findings(photographs: Path) -> None:
    report = verify(photographs.parent / "store", source=photographs)
    assert (report.findings, report.changes) == ((), ())
    assert report.images == 4


def test_originals_of_two_folders_are_compared(photographs: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (photographs / "one.jpg").rename(other / "one.jpg")
    assert len(verify(tmp_path / "store", source=photographs).changes) == 1
    assert verify(tmp_path / "store", source=[other, photographs]).changes == ()
    (other / "one.jpg").write_bytes(b"image X")
    (finding,) = verify(tmp_path / "store", source=[photographs, other]).changes
    assert finding.what.endswith(": the file changed since it was stored")
    with pytest.raises(SourceError, match="is not a folder"):
        verify(tmp_path / "store", source=tmp_path / "gone")


def test_missing_and_changed_originals_are_found(photographs: Path) -> None:
    (photographs / "one.jpg").unlink()
    (photographs / "a b" / "zwei-ä.jpg").write_bytes(b"image X")
    (photographs / "50% off.jpg").write_bytes(b"longer than before")
    report = verify(photographs.parent / "store", source=photographs)
    assert [(finding.rows, finding.part) for finding in report.changes] == [
        ((number, number + 1), part_folders(photographs.parent / "store")[0].stem)
        for number in range(3)
    ]
    missing, changed, longer = map(str, report.changes)
    assert "one.jpg is missing" in missing
    assert changed.endswith(": the file changed since it was stored")
    assert longer.endswith(": the file changed since it was stored")
    assert report.ok, "the store is as it was written, whatever became of the images"


@pytest.mark.parametrize("path", ["../secret", "/etc/hostname", "a/../../x", "%zz", "nul\0"])
def test_paths_that_lead_out_of_the_source_are_not_followed(tmp_path: Path, path: str) -> None:
    batch = make_batch([0])
    write_store(tmp_path / "store", [Batch(rows=(make_row(0, path=path),), layers=batch.layers)])
    (tmp_path / "source").mkdir()
    (finding,) = verify(tmp_path / "store", source=tmp_path / "source").changes
    said = ("leads out", "is missing", "the stored path is invalid")
    assert any(each in finding.what for each in said)
