"""Accidents of a writer: committed rows stay, and the others can be extracted again."""

import errno
import io
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sparsefeat.errors import StoreNotFoundError, StoreWriteError
from sparsefeat.store import Store, StoreWriter, verify

from ..conftest import WriterProcess
from ..data import SMALL, digests, leftovers, make_batch, write_store

CALLS = {"open": io, "fsync": os, "link": os, "mkdir": os}
FAILURES = 5  # number of calls of each function


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that every user may write to, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


@pytest.mark.parametrize("where", ["store", "part", "everything", "gone"])
def test_a_permission_that_is_lost_half_way_loses_no_committed_row(
    writer_process: WriterProcess, shared_folder: Path, where: str
) -> None:
    folder = shared_folder / "store"
    writer_process.start("barred", folder=str(folder), count=14, where=where)
    error = writer_process.finish()
    for each in (folder, folder / "parts", folder / "snapshots"):
        each.chmod(0o755)
    assert error == "StoreWriteError"
    before = digests(folder)
    assert [part.header.rows for part in Store(folder).parts] == [6]
    assert verify(folder).ok
    for leftover in leftovers(folder):
        leftover.chmod(0o755)
    writer_process.start("extract", folder=str(folder), count=20)
    assert writer_process.finish() is None
    assert before.items() <= digests(folder).items()
    assert len(Store(folder)) == 20


def rows(folder: Path) -> list[int]:
    try:
        return [int(size) - 1000 for size in Store(folder).obs["bytes"]]
    except StoreNotFoundError:
        return []


def write(folder: Path) -> None:
    with StoreWriter.open(folder, layers=SMALL[:1], settings={}, provenance={}) as writer:
        for start in (0, 2, 4):
            writer.append(make_batch([start, start + 1], SMALL[:1]))
            writer.commit()


@pytest.mark.parametrize("call", CALLS)
def test_any_failing_call_loses_no_committed_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    module: Any = CALLS[call]
    original = getattr(module, call)
    count = fatal = 0

    def failing(*arguments: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == fatal:
            raise OSError(errno.EIO, "Input/output error")
        return original(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, call, failing)
        write(tmp_path / "whole")
    total, failed = count, 0
    some = random.Random(call).sample(range(1, total), min(FAILURES, total - 1))
    for number in {1, total, *some}:
        folder = tmp_path / str(number)
        count, fatal = 0, number
        with monkeypatch.context() as patch:
            patch.setattr(module, call, failing)
            try:
                write(folder)
            except StoreWriteError:
                failed += 1
        kept = rows(folder) if folder.exists() else []
        assert kept == [*range(len(kept))]
        assert len(kept) % 2 == 0
        if kept:
            assert verify(folder).ok
        count, fatal = 0, 0
        before = digests(folder)
        write(folder)
        assert rows(folder) == [*range(6)]
        assert before.items() <= digests(folder).items()
    assert failed > 2


def test_an_unsynced_snapshot_is_not_committed_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit is valid although its writer got an error of the disk."""
    fsync = os.fsync
    linked = False

    def failing(descriptor: int) -> None:
        if linked:
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    def link(*arguments: Any) -> None:
        nonlocal linked
        original(*arguments)
        linked = True

    original = os.link
    writer = StoreWriter.open(tmp_path, layers=SMALL, settings={"pool": "none"}, provenance={})
    writer.append(make_batch([0, 1]))
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", link)
        patch.setattr(os, "fsync", failing)
        with pytest.raises(StoreWriteError, match="Input/output error"):
            writer.commit()
    writer.close()
    assert rows(tmp_path) == [0, 1]
    write_store(tmp_path, [make_batch([0, 1, 2])])
    assert rows(tmp_path) == [0, 1, 2]
    assert verify(tmp_path).findings == ()


def test_a_store_is_readable_without_permission_to_write(tmp_path: Path) -> None:
    write_store(tmp_path, [make_batch([0])])
    paths = [tmp_path, *tmp_path.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert len(Store(tmp_path).obs) == 1
        assert verify(tmp_path).findings == ()
    finally:
        for path in paths:
            path.chmod(0o755)
