"""`info` and `history` describe a store."""

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from sparsefeat.errors import InputError, StoreCorruptError, StoreNotFoundError
from sparsefeat.store import Commit, Store, compact, history, info, remove, vacuum

from ..data import SMALL, make_batch, make_reject, part_folders, write_store
from ..part.test_encoders import write as write_values

pytestmark = pytest.mark.usefixtures("without_fsync")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    write_store(folder, [make_batch(range(5)), make_batch(range(5, 7))], rows_per_part=4)
    return folder


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_sizes_are_those_of_the_files(store: Path) -> None:
    facts: Any = info(store)
    assert (facts["snapshot"], facts["rows"], facts["parts"]) == (2, 7, 2)
    assert (facts["excluded"], facts["rejected"]) == (0, 0)
    assert (facts["settings"], facts["values"]) == ({"pool": "none"}, "float32")
    assert facts["created"] == history(store)[-1].created
    of_parts = [file.stat() for file in files(store / "parts")]
    assert facts["bytes"] == sum(status.st_size for status in of_parts)
    of_all = [file.stat() for file in files(store)]
    assert facts["allocated_bytes"] == 512 * sum(status.st_blocks for status in of_all)
    expected = make_batch(range(7))
    for layer in SMALL:
        csr, said = expected.layers[layer.name], facts["layers"][layer.name]
        assert said["shape"] == list(layer.shape)
        assert said["nnz"] == csr.nnz
        assert said["bytes_dense"] == 7 * layer.n_features * 4
        assert said["zeros"] == (7 * layer.n_features - csr.nnz) / (7 * layer.n_features)
        stored = [
            file.stat().st_size
            for part in part_folders(store)
            for file in files(part / "obsm" / layer.name.replace("/", "."))
        ]
        assert said["bytes_stored"] == sum(stored)
        assert said["ratio"] == sum(stored) / said["bytes_dense"]
        assert (said["values"], said["loss"]) == ("float32", None)
    assert facts["layers"]["fc"]["encoding"] == "dense"


def test_info_opens_no_part(store: Path) -> None:
    expected: Any = info(store)
    shutil.rmtree(store / "parts")
    facts: Any = info(store)
    assert facts.pop("allocated_bytes") < expected.pop("allocated_bytes")
    assert facts == expected


def test_rejects_and_losses_are_read_from_the_parts(tmp_path: Path) -> None:
    write_store(tmp_path / "rejects", [make_batch([0], rejects=[make_reject(1), make_reject(2)])])
    write_store(tmp_path / "rejects", [make_batch([1], rejects=[make_reject(1)])])
    assert info(tmp_path / "rejects")["rejected"] == 2
    written = write_values(tmp_path / "lossy", "float16")
    facts: Any = info(tmp_path / "lossy")
    assert facts["values"] == "float16"
    for name in written.layers:
        losses = [part.layers[name].values.loss for part in written.parts]  # type: ignore[union-attr]
        assert facts["layers"][name]["loss"]["relative_l2"] == max(
            loss.relative_l2 for loss in losses if loss
        )


def test_removed_rows_take_space_until_compaction(store: Path) -> None:
    remove(store, "bytes < 1002")
    facts: Any = info(store)
    assert (facts["rows"], facts["excluded"], facts["snapshot"]) == (5, 2, 3)
    before: Any = info(store, snapshot=2)
    assert (before["rows"], before["excluded"]) == (7, 0)
    assert before["bytes"] == facts["bytes"]
    compact(store)
    after: Any = info(store)
    assert (after["rows"], after["excluded"], after["parts"]) == (5, 0, 1)
    assert after["layers"]["fc"]["nnz"] == 5 * 40


def test_files_that_are_deleted_meanwhile_do_no_harm(store: Path) -> None:
    """Writers create and delete temporary files all the time."""
    enough = threading.Event()

    def churn() -> None:
        names = [store / "snapshots" / f".{number}.tmp" for number in range(20)]
        while not enough.is_set():
            for name in names:
                name.mkdir()
            for name in names:
                name.rmdir()

    other = threading.Thread(target=churn)
    other.start()
    try:
        assert {info(store)["rows"] for _ in range(300)} == {7}
    finally:
        enough.set()
        other.join()


def test_a_missing_snapshot_is_an_error(store: Path) -> None:
    with pytest.raises(InputError, match=r"has no snapshot 9, expected one of 1 to 2"):
        info(store, snapshot=9)
    with pytest.raises(StoreNotFoundError, match="nowhere"):
        info(store / "nowhere")


def facts_of(commits: list[Commit]) -> list[tuple[int, str, int, int | None, int | None]]:
    return [(c.snapshot, c.operation, c.rows, c.added, c.parts) for c in commits]


def test_history_lists_commits(store: Path) -> None:
    write_store(store, [make_batch(range(6, 9))], operation="update")
    remove(store, "bytes == 1000")
    compact(store)
    expected = [
        (1, "extract", 4, 4, 1),
        (2, "extract", 7, 3, 2),
        (3, "update", 9, 2, 3),
        (4, "remove", 8, -1, 3),
        (5, "compact", 8, 0, 1),
    ]
    commits = history(store)
    assert facts_of(commits) == expected
    assert [commit.created for commit in commits] == sorted(commit.created for commit in commits)
    for commit in commits:
        opened = Store(store, snapshot=commit.snapshot)
        assert (len(opened), len(opened.parts)) == (commit.rows, commit.parts)
    vacuum(store, older_than=0)
    assert facts_of(history(store)) == [(5, "compact", 8, None, 1)]


def test_history_works_with_chains_of_snapshots(tmp_path: Path) -> None:
    for number in range(70):
        write_store(tmp_path, [make_batch([number])])
    assert facts_of(history(tmp_path)) == [
        (number, "extract", number, 1, number) for number in range(1, 71)
    ]
    vacuum(tmp_path, older_than=0)
    commits = history(tmp_path)
    assert len(commits) < 4
    assert [commit.parts for commit in commits] == [commit.snapshot for commit in commits]
    assert commits[0].added in (None, 1)
    write_store(tmp_path, [make_batch([70])])
    assert history(tmp_path)[-1].added == 1


def test_a_damaged_snapshot_is_reported(store: Path) -> None:
    compact(store)  # their snapshot refers to no other one
    file = store / "snapshots" / "00000001.json"
    file.write_bytes(file.read_bytes().replace(b"extract", b"Extract"))
    with pytest.raises(StoreCorruptError, match=r"00000001\.json is damaged"):
        history(store)
    file.unlink()  # the second one refers to it
    assert facts_of(history(store)) == [(2, "extract", 7, None, None), (3, "compact", 7, 0, 1)]
