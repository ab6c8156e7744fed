"""Opening a writer, appending, and refusals."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsefeat.errors import (
    InputError,
    StoreCorruptError,
    StoreError,
    StoreMismatchError,
    StoreNotFoundError,
    StoreWriteError,
)
from sparsefeat.store import Store, StoreWriter, verify
from sparsefeat.store.format.documents import FORMAT
from sparsefeat.types import Batch, Layer, Reject, Row
from sparsefeat_kernels import encode

from ..conftest import WriterProcess
from ..data import (
    SMALL,
    assert_same_floats,
    dense_rows,
    digests,
    leftovers,
    make_batch,
    make_reject,
    make_row,
    part_folders,
    write_snapshot,
    write_store,
)


def test_bytes_limit_a_part(tmp_path: Path) -> None:
    layer = Layer(name="x", shape=(100,))
    row_bytes = 8 * 50 + 8
    values = np.tile(np.array([0, 1], np.float32), (10, 50))
    batch = make_batch(range(10), [layer], make=lambda *_: values)
    write_store(tmp_path, [batch], [layer], bytes_per_part=4 * row_bytes)
    rows = [part.header.rows for part in Store(tmp_path).parts]
    assert rows == [4, 4, 2]


def test_a_row_over_the_limit_gets_a_part_of_its_own(tmp_path: Path) -> None:
    write_store(tmp_path, [make_batch(range(3))], bytes_per_part=1)
    assert [part.header.rows for part in Store(tmp_path).parts] == [1, 1, 1]


def test_a_part_has_few_files(tmp_path: Path) -> None:
    pools = [Layer(name=f"block{block}_pool", shape=(2, 2, 8)) for block in range(1, 6)]
    write_store(tmp_path, [make_batch(range(4), pools)], pools)
    (part,) = part_folders(tmp_path)
    assert len([file for file in part.rglob("*") if file.is_file()]) < 35


def test_an_image_is_stored_once(tmp_path: Path) -> None:
    with StoreWriter.open(tmp_path, layers=SMALL, settings={}, provenance={}) as writer:
        assert writer.append(make_batch([0, 1, 2])) == 3
        assert writer.append(make_batch([2, 3, 0, 4, 5, 1])) == 3
        assert writer.append(make_batch([7, 7])) == 1
    with StoreWriter.open(tmp_path, layers=SMALL, settings={}, provenance={}) as writer:
        assert writer.append(make_batch([7, 8])) == 1
    store = Store(tmp_path)
    assert [int(size) - 1000 for size in store.obs["bytes"]] == [0, 1, 2, 3, 4, 5, 7, 8]
    assert verify(tmp_path).ok
    expected = make_batch([0, 1, 2, 3, 4, 5, 7, 8]).layers["block5_pool"]
    np.testing.assert_array_equal(store["block5_pool"].to_scipy().indices, expected.indices)
    np.testing.assert_array_equal(store["block5_pool"].to_scipy().data, expected.data)


def test_another_image_of_the_same_size_and_time_gets_its_own_row(tmp_path: Path) -> None:
    twin = make_row(0, root="/elsewhere", sha256="ff" * 32)
    batch = make_batch([0, 1])
    with StoreWriter.open(tmp_path, layers=SMALL, settings={}, provenance={}) as writer:
        writer.append(Batch(rows=(make_row(0), twin), layers=batch.layers))
    assert len(Store(tmp_path)) == 2
    assert verify(tmp_path).ok


def test_rejects_are_kept_until_a_row_replaces_them(tmp_path: Path) -> None:
    tried = make_reject(1)
    row = make_row(1, path=tried.path, bytes=tried.bytes, mtime_ns=tried.mtime_ns)
    batch = make_batch([1])
    write_store(tmp_path, [make_batch([], rejects=[tried, make_reject(2, reason="first")])])
    write_store(tmp_path, [make_batch([], rejects=[make_reject(2, reason="second")])])
    assert list(Store(tmp_path).rejected["reason"]) == ["truncated", "second"]
    write_store(tmp_path, [Batch(rows=(row,), layers=batch.layers)])
    assert list(Store(tmp_path).rejected["reason"]) == ["second"]


def test_the_index_knows_stored_images_and_rejects(tmp_path: Path) -> None:
    """By the digest of an image's bytes."""
    write_store(tmp_path, [make_batch([0, 1], rejects=[make_reject(5)])])
    with StoreWriter.open(
        tmp_path, layers=SMALL, settings={"pool": "none"}, provenance={}
    ) as writer:
        row, reject, late = make_row(0), make_reject(5), make_row(9)
        ask = writer.index.status
        assert ask(root=row.root, path=row.path, sha256=row.sha256) == "stored"
        assert ask(root="/moved", path=row.path, sha256=row.sha256) == "stored"
        assert ask(root="/moved", path=row.path, sha256="0") == "new"
        assert ask(root=row.root, path=row.path, sha256="0") == "changed"
        assert ask(root=row.root, path="other", sha256=row.sha256) == "new"
        assert ask(root="", path=reject.path, sha256=reject.sha256) == "rejected"
        writer.append(make_batch([9]))
        assert ask(root=late.root, path=late.path, sha256=late.sha256) == "stored"


def test_the_index_answers_for_many_images_at_once(tmp_path: Path) -> None:
    """Images of a part and images appended since, with several outcomes for one path."""
    write_store(tmp_path, [make_batch(range(40), rejects=[make_reject(5), make_reject(6)])])
    with StoreWriter.open(
        tmp_path, layers=SMALL, settings={"pool": "none"}, provenance={}
    ) as writer:
        writer.append(make_batch([50], rejects=[make_reject(7)]))
        row = make_row(3)
        asked: list[tuple[Row | Reject, str]] = [
            (make_row(0), "stored"),
            (make_row(60), "new"),
            (make_row(50), "stored"),
            (make_row(3, bytes=row.bytes + 1), "changed"),
            (make_row(3, mtime_ns=row.mtime_ns + 1), "changed"),
            (make_row(3, root="/photos/"), "stored"),
            (make_row(3, root="/", path=f"photos/{row.path}"), "stored"),
            (make_row(3, root="/moved"), "elsewhere"),
            (make_row(50, root="/moved"), "elsewhere"),
            (make_reject(6), "rejected"),
            (make_reject(7), "rejected"),
            (make_reject(7, root="/moved"), "elsewhere"),
            (make_reject(6, bytes=9), "new"),
        ]
        assert writer.index.statuses([image for image, _ in asked]) == [told for _, told in asked]
        assert writer.index.statuses([]) == []
        assert [writer.index.holds(make_row(n)) for n in (39, 40, 50)] == [True, False, True]
        assert not writer.index.holds(make_row(3, sha256="0"))


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    ours: dict[str, Any] = {
        "model": {"sha256": "aa", "precision": "fp32"},
        "pool": "none",
        "size": [224, 224],
    }
    theirs: dict[str, Any] = {
        "model": {"sha256": "bb", "precision": "fp32"},
        "size": [240, 240],
        "new": 1,
    }
    write_store(tmp_path, [make_batch([0])], settings=ours)
    before = digests(tmp_path)
    layers = [*SMALL[:2], Layer(name="fc", shape=(41,))]
    with pytest.raises(StoreMismatchError) as caught:
        StoreWriter.open(tmp_path, layers=layers, settings=theirs, provenance={})
    message = str(caught.value)
    for difference in (
        "settings.model.sha256: got 'bb', expected 'aa'",
        "settings.pool: got nothing, expected 'none'",
        "settings.new: got 1, expected nothing",
        "settings.size: got [240, 240], expected [224, 224]",
    ):
        assert difference in message
    assert "precision" not in message
    assert "layers" not in message, "their shapes follow from the settings"
    assert "choose another folder" in message
    assert "\n" not in message
    assert digests(tmp_path) == before
    with pytest.raises(StoreMismatchError, match=r"layers.fc: got \[41\], expected \[40\]: use"):
        StoreWriter.open(tmp_path, layers=layers, settings=ours, provenance={})
    with pytest.raises(
        StoreMismatchError,
        match="got 'block5_conv3/pre,fc', expected 'block5_pool,block5_conv3/pre,fc': use",
    ):
        StoreWriter.open(tmp_path, layers=SMALL[1:], settings=ours, provenance={})
    write_store(tmp_path, [make_batch([1])], settings=ours)


def test_layers_may_be_given_in_another_order(tmp_path: Path) -> None:
    """The store keeps its own order."""
    write_store(tmp_path, [make_batch([0])])
    write_store(tmp_path, [make_batch([1], SMALL[::-1])], SMALL[::-1])
    store = Store(tmp_path)
    assert [*store.layers] == [layer.name for layer in SMALL]
    for layer in SMALL:
        assert_same_floats(store[layer.name][:].toarray(), dense_rows(layer, [0, 1]))
    assert verify(tmp_path).ok


def test_equal_settings_may_differ_in_order_and_types(tmp_path: Path) -> None:
    write_store(tmp_path, [make_batch([0])], settings={"a": (1, 2), "b": {"c": 1.0}})
    write_store(tmp_path, [make_batch([1])], settings={"b": {"c": 1.0}, "a": [1, 2]})
    assert len(Store(tmp_path)) == 2


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(StoreError, match=r"thesis\.tex"):
        StoreWriter.open(tmp_path, layers=SMALL, settings={}, provenance={})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(StoreError, match="is a file"):
        StoreWriter.open(tmp_path / "thesis.tex", layers=SMALL, settings={}, provenance={})


def test_hidden_files_are_accepted_in_a_store(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").write_text("")
    write_store(tmp_path, [make_batch([0])])
    (tmp_path / "notes.txt").write_text("")
    write_store(tmp_path, [make_batch([1])])
    assert len(Store(tmp_path)) == 2


@pytest.mark.parametrize("name", ["missing", "empty", "file"])
def test_reading_a_folder_without_a_store_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for read in (Store, verify):
        with pytest.raises(StoreNotFoundError, match=name):
            read(tmp_path / name)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    write_store(tmp_path, [make_batch([0])])
    write_snapshot(tmp_path, 1, {"format": FORMAT + 1, "rows": "otherwise"})
    with pytest.raises(StoreError, match=rf"format {FORMAT + 1}.*upgrade sparsefeat"):
        Store(tmp_path)
    with pytest.raises(StoreError, match=rf"format {FORMAT + 1}.*upgrade sparsefeat"):
        StoreWriter.open(tmp_path, layers=SMALL, settings={}, provenance={})


@pytest.mark.parametrize(
    "layers",
    [
        [],
        [SMALL[0], SMALL[0]],
        [Layer(name="../../x", shape=(1,))],
        [Layer(name="a.b", shape=(1,))],
        [Layer(name="x", shape=())],
        [Layer(name="x", shape=(0, 3))],
        [Layer(name="x", shape=(2**16, 2**16))],
    ],
    ids=repr,
)
def test_layers_that_cannot_be_stored_are_refused(tmp_path: Path, layers: list[Layer]) -> None:
    with pytest.raises(InputError):
        StoreWriter.open(tmp_path / "x", layers=layers, settings={}, provenance={})
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("settings", [{"a": float("nan")}, {"a": object()}, {"a": b""}])
def test_settings_that_are_not_json_are_refused(tmp_path: Path, settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match="settings"):
        StoreWriter.open(tmp_path / "x", layers=SMALL, settings=settings, provenance={})


def test_a_wrong_batch_is_refused_and_the_writer_continues(tmp_path: Path) -> None:
    good = make_batch([0, 1])
    with StoreWriter.open(tmp_path, layers=SMALL, settings={}, provenance={}) as writer:
        writer.append(good)
        for wrong in (
            make_batch([2], SMALL[:2]),
            make_batch([2], [*SMALL[:2], Layer(name="fc", shape=(41,))]),
            Batch(rows=(make_row(2),), layers=good.layers),
            Batch(rows=(make_row(2), make_row(3, path="caf\udce9.jpg")), layers=good.layers),
            Batch(rows=(make_row(2), make_row(3, mtime_ns=2**63)), layers=good.layers),
            make_batch([2], rejects=[make_reject(1, reason="\ud800")]),
        ):
            with pytest.raises(InputError):
                writer.append(wrong)
        writer.append(make_batch([3]))
    assert len(Store(tmp_path)) == 3


@pytest.mark.parametrize(
    "path", ["", "a/b%E9.jpg", "日本/写真.png", "new\nline", "nul\0", "x" * 5000]
)
def test_unusual_paths_are_stored(tmp_path: Path, path: str) -> None:
    batch = make_batch([0])
    odd = Batch(
        rows=(make_row(0, path=path, label=path),),
        layers=batch.layers,
        rejects=(make_reject(0, path=path, reason=path),),
    )
    folder = tmp_path / "größe 写真"
    write_store(folder, [odd])
    store = Store(folder)
    assert list(store.obs["path"]) == list(store.obs["label"]) == [path]
    assert store.obs.index[0].isascii()
    assert list(store.parts[0].column("uns/sparsefeat/rejected", "path")) == [path]
    assert verify(folder).ok


def test_a_full_disk_loses_only_the_current_part(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "sparsefeat-test", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small disk can't be mounted here: {mounted.stderr.strip()}")
    try:
        layer = Layer(name="x", shape=(100_000,))
        rng = np.random.default_rng(0)
        writer = StoreWriter.open(
            disk / "store", layers=[layer], settings={}, provenance={}, rows_per_part=2
        )
        appended, before = 0, digests(disk)

        def fill() -> None:
            nonlocal appended, before
            for number in range(100):
                values = rng.random((1, 100_000), np.float32)
                before = digests(disk)
                writer.append(
                    Batch(rows=(make_row(number),), layers={"x": encode(values)}),
                )
                appended += 1

        with writer:
            with pytest.raises(StoreWriteError, match=r"No space left.*free some space"):
                fill()
            with pytest.raises(StoreWriteError, match="failed before"):
                writer.append(make_batch([], [layer]))
        with pytest.raises(StoreError, match="closed"):
            writer.append(make_batch([], [layer]))
        assert digests(disk) == before
        assert 2 <= appended < 20
        assert len(Store(disk / "store")) == appended - appended % 2
        assert verify(disk / "store").findings == ()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_limit_of_file_size_loses_only_the_current_part(
    writer_process: WriterProcess, tmp_path: Path
) -> None:
    writer_process.start("extract", folder=str(tmp_path), count=4)
    assert writer_process.finish() is None
    before = digests(tmp_path)
    writer_process.start("limited", folder=str(tmp_path), bytes_per_file=600, count=20)
    assert writer_process.finish() == "StoreWriteError"
    assert digests(tmp_path) == before
    assert leftovers(tmp_path) == []
    writer_process.start("extract", folder=str(tmp_path), count=20)
    assert writer_process.finish() is None
    assert len(Store(tmp_path)) == 20


@pytest.fixture
def readable() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.parametrize("filled", [False, True])
def test_a_read_only_folder_is_an_error(
    writer_process: WriterProcess, readable: Path, filled: bool
) -> None:
    folder = readable / "store"
    folder.mkdir()
    if filled:
        write_store(folder, [make_batch([0])])
    before = digests(folder)
    folders = [folder, *(each for each in folder.rglob("*") if each.is_dir())]
    for each in folders:
        each.chmod(0o555)
    try:
        writer_process.start("nobody", folder=str(folder), count=4)
        assert writer_process.finish() == "StoreWriteError"
    finally:
        for each in folders:
            each.chmod(0o755)
    assert digests(folder) == before


def test_a_store_with_a_damaged_part_is_not_appended_to(tmp_path: Path) -> None:
    write_store(tmp_path, [make_batch([0, 1])])
    (part,) = part_folders(tmp_path)
    path = part / "obs" / "path" / "c.0"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreCorruptError, match="obs/path"):
        StoreWriter.open(tmp_path, layers=SMALL, settings={"pool": "none"}, provenance={})


def test_an_invalid_csr_loses_only_the_current_part(tmp_path: Path) -> None:
    layer = Layer(name="x", shape=(3,))
    valid = encode(np.array([[1, 0, 2]], np.float32))
    invalid = type(valid)(valid.indptr, valid.indices[::-1].copy(), valid.data, 3)

    def append() -> None:
        with StoreWriter.open(tmp_path, layers=[layer], settings={}, provenance={}) as writer:
            writer.append(Batch(rows=(make_row(0),), layers={"x": valid}))
            writer.commit()
            writer.append(Batch(rows=(make_row(1),), layers={"x": invalid}))

    with pytest.raises(ValueError, match="not strictly increasing"):
        append()
    assert len(Store(tmp_path)) == 1
    assert leftovers(tmp_path) == []
