"""Parts of detached writers, which another writer commits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sparsefeat
from sparsefeat.store import PartEntry, StoreWriter
from sparsefeat.types import Batch, Layer, Reject, Row

LAYERS = [Layer(name="fc2", shape=(4,))]


def row(name: str, *, mtime_ns: int = 1, sha256: str = "00") -> Row:
    return Row(
        path=name,
        root="/images",
        label="",
        bytes=9,
        mtime_ns=mtime_ns,
        sha256=sha256,
        width=2,
        height=2,
        format="PNG",
    )


def batch(*rows: Row, rejects: tuple[Reject, ...] = ()) -> Batch[np.ndarray]:
    values = np.array([[0, len(each.path), 0, each.mtime_ns] for each in rows], np.float32)
    return Batch(rows=rows, layers={"fc2": values.reshape(-1, 4)}, rejects=rejects)


def opened(folder: Path, **options: Any) -> StoreWriter:
    return StoreWriter.open(folder, layers=LAYERS, settings={}, provenance={}, **options)


def detached(folder: Path, *rows: Row) -> list[PartEntry]:
    with opened(folder, detached=True) as writer:
        writer.append(batch(*rows))
        writer.commit()
    return writer.parts


def test_detached_parts_are_not_in_the_store_before_adoption(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    with opened(folder) as writer:
        first, second = (detached(folder, row(name)) for name in ("a", "b"))
        with pytest.raises(sparsefeat.StoreNotFoundError):
            sparsefeat.open(folder)
        assert writer.adopt([*first, *second]) == 2
    store = sparsefeat.open(folder)
    assert [commit.rows for commit in sparsefeat.history(folder)] == [2]
    assert store["fc2"].to_scipy().toarray()[:, 3].tolist() == [1, 1]
    assert store.obs["path"].tolist() == ["a", "b"]


def test_rows_that_are_stored_already_are_excluded(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    with opened(folder) as writer, opened(folder) as other:
        writer.append(batch(row("a")))
        writer.commit()
        other.append(batch(row("b")))
        other.commit()
        # "c" is in both parts, "a" was appended, "b" committed by another writer meanwhile.
        parts = [
            *detached(folder, row("c"), row("a")),
            *detached(folder, row("c"), row("b"), row("d")),
        ]
        assert writer.adopt(parts) == 2
        assert writer.adopt(detached(folder, row("d"), row("c"))) == 0
    assert sparsefeat.open(folder).obs["path"].tolist() == ["a", "b", "c", "d"]
    sparsefeat.vacuum(folder, older_than=0)  # a part whose rows are all excluded
    assert not sparsefeat.verify(folder).findings


def test_files_that_got_a_row_from_another_writer_are_excluded(tmp_path: Path) -> None:
    folder, changed = tmp_path / "features", row("b", mtime_ns=2)
    with opened(folder) as writer, opened(folder) as other:
        other.append(batch(row("b")))
        other.commit()
        assert writer.adopt(detached(folder, row("a"), changed)) == 1
        # Rows that the same writer has adopted don't count as another writer's.
        assert writer.adopt(detached(folder, row("a", mtime_ns=2))) == 1
        assert writer.adopt(detached(folder, row("a"))) == 0
    assert sparsefeat.open(folder).obs["path"].tolist() == ["b", "a", "a"]


def test_parts_that_are_adopted_twice_are_committed_once(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    with opened(folder) as writer, opened(folder) as other:
        parts = detached(folder, row("a"), row("b"))
        assert writer.adopt(parts) == 2
        assert other.adopt(parts) == 0
        # A part that is committed already doesn't prevent others from being adopted.
        assert other.adopt([*parts, *detached(folder, row("c"))]) == 1
        assert writer.adopt([*parts, *detached(folder, row("d"))]) == 1
    assert sparsefeat.open(folder).obs["path"].tolist() == ["a", "b", "c", "d"]
    sparsefeat.vacuum(folder, older_than=0)  # a part whose rows are all excluded
    assert not sparsefeat.verify(folder).findings


def test_a_detached_writer_creates_no_store(tmp_path: Path) -> None:
    with pytest.raises(sparsefeat.StoreNotFoundError, match="mount its folder"):
        detached(tmp_path / "features", row("a"))
    assert not any(tmp_path.iterdir())


def test_a_replacing_writer_replaces_rows_of_the_same_file(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    with opened(folder) as writer:
        writer.append(batch(row("a"), row("b")))
    with opened(folder, replace=True) as writer:
        assert writer.adopt(detached(folder, row("a", mtime_ns=2))) == 1
        # A later part replaces rows that were adopted before, too.
        assert writer.adopt(detached(folder, row("a", mtime_ns=3))) == 1
    store = sparsefeat.open(folder)
    assert store.obs[["path", "mtime_ns"]].to_numpy().tolist() == [["b", 1], ["a", 3]]


def test_a_deleted_part_is_not_adopted(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    with opened(folder) as writer:
        writer.append(batch(row("a")))
    parts = detached(folder, row("b"))
    sparsefeat.vacuum(folder, older_than=0)
    with opened(folder) as writer, pytest.raises(sparsefeat.StoreError, match=parts[0].name):
        writer.adopt(parts)
    assert sparsefeat.open(folder).obs["path"].tolist() == ["a"]


def test_losses_of_adopted_parts_are_taken_over(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    with opened(folder, values="float16") as writer:
        with opened(folder, values="float16", detached=True) as other:
            other.append(batch(row("a", mtime_ns=2049)))  # as float16 it is 2048
        assert other.losses["fc2"].relative_l2 > 1e-4
        writer.adopt(other.parts)
        assert writer.losses == other.losses
