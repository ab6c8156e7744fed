"""A store that several processes read, write and compact, some of which are killed."""

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sparsefeat.store import Store, compact, verify

from ..conftest import ROOT, WriterProcess
from ..data import digests, leftovers, make_batch, make_reject, part_folders, write_store

ROWS = 24
KILLS = 18

pytestmark = pytest.mark.usefixtures("without_fsync")


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pieces")
    for start in range(0, ROWS, 2):
        write_store(folder, [make_batch(range(start, start + 2), rejects=[make_reject(start)])])
    return folder


def assert_every_row_once(folder: Path, expected: Store) -> None:
    got = Store(folder)
    assert got.obs.equals(expected.obs)
    assert got.rejected.equals(expected.rejected)
    for name in expected.layers:
        np.testing.assert_array_equal(got[name].to_numpy(), expected[name].to_numpy())


def test_a_compaction_killed_at_any_moment_loses_no_row(
    writer_process: WriterProcess, pieces: Path, tmp_path: Path
) -> None:
    expected = Store(pieces)
    calm: Path = shutil.copytree(pieces, tmp_path / "calm")
    writer_process.start("dying", work="compact", folder=str(calm), dies_at=0)
    calls = writer_process.answer("calls")
    assert writer_process.finish() is None
    moments = random.Random(0)
    folder = tmp_path / "killed"
    states = set()
    for _ in range(KILLS):
        if not folder.exists():
            shutil.copytree(pieces, folder)
        writer_process.start(
            "dying", work="compact", folder=str(folder), dies_at=moments.randrange(1, calls)
        )
        killed = writer_process.was_killed()
        states.add(frozenset(path.name for path in part_folders(folder)))
        assert_every_row_once(folder, expected)
        if not killed:  # less was left to do
            assert_finished(folder, expected)
            shutil.rmtree(folder)
    assert len(states) > 3
    if folder.exists():
        compact(folder, rows_per_part=8)
        assert_finished(folder, expected)


def test_a_compaction_on_a_full_disk_changes_nothing(
    writer_process: WriterProcess, pieces: Path, tmp_path: Path
) -> None:
    expected = Store(pieces)
    folder: Path = shutil.copytree(pieces, tmp_path / "store")
    before = digests(folder)
    writer_process.start("compacting_limited", folder=str(folder), bytes_per_file=600)
    assert writer_process.finish() == "StoreWriteError"
    assert digests(folder) == before
    assert len(leftovers(folder)) == 0
    assert_every_row_once(folder, expected)
    compact(folder, rows_per_part=8)
    assert_finished(folder, expected)


def assert_finished(folder: Path, expected: Store) -> None:
    assert len(Store(folder).parts) == ROWS // 8
    assert verify(folder).ok
    assert_every_row_once(folder, expected)


@pytest.fixture
def hammers(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Two processes that read the store in `tmp_path`."""
    write_store(tmp_path, [make_batch([0])])
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.engine.store.hammer", str(tmp_path), str(ROWS)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def test_readers_see_every_row_once_while_others_write_and_compact(
    hammers: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    for process in hammers:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
    for number in range(1, ROWS):
        write_store(tmp_path, [make_batch([number])])
        if number % 3 == 0:
            compact(tmp_path, rows_per_part=8)
        if number % 7 == 0:
            compact(tmp_path, rows_per_part=8, everything=True)
    (tmp_path / ".enough").touch()
    for process in hammers:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert int(out) > 0
    assert len(Store(tmp_path)) == ROWS
    assert verify(tmp_path).ok
