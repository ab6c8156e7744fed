"""Writers that are killed, and the next ones that continue."""

import random
import time
from pathlib import Path

import numpy as np
import pytest

from sparsefeat.errors import StoreNotFoundError
from sparsefeat.store import Store, StoreWriter, verify

from ..conftest import WriterProcess
from ..data import (
    SMALL,
    assert_same_floats,
    digests,
    leftovers,
    make_batch,
    make_row,
    write_store,
)

COUNT = 40
KILLS = 14


def committed(folder: Path) -> Store | None:
    try:
        return Store(folder)
    except StoreNotFoundError:
        return None


@pytest.fixture(scope="module")
def calm_run(
    writer_process: WriterProcess, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, float]:
    """A store of a writer that was not disturbed, and the seconds that it took."""
    folder = tmp_path_factory.mktemp("calm")
    for name in ("first", "second"):
        start = time.monotonic()
        writer_process.start("extract", folder=str(folder / name), count=COUNT)
        assert writer_process.finish() is None
    return folder / "second", time.monotonic() - start


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_kills_at_random_moments_lose_and_duplicate_no_row(
    writer_process: WriterProcess, calm_run: tuple[Path, float], tmp_path: Path, seed: int
) -> None:
    expected, seconds = Store(calm_run[0]), calm_run[1]
    moments = random.Random(seed)
    killed = torn = number = 0
    while killed < KILLS:
        folder = tmp_path / str(number)
        before = digests(folder)
        writer_process.start("extract", folder=str(folder), count=COUNT)
        if moments.random() < 0.7:  # otherwise it may die before it has begun
            while not (leftovers(folder) or writer_process.has_ended()):
                time.sleep(0.001)
        if writer_process.kill(moments.uniform(0, 0.2) * seconds):
            killed += 1
            torn += bool(leftovers(folder))
        else:
            number += 1  # it had finished: the next one starts again
        assert before.items() <= digests(folder).items()
        if (store := committed(folder)) is not None:
            assert store.obs.index.is_unique
            assert set(store.obs.index) <= set(expected.obs.index)
    assert torn > 0  # some were killed in the middle of a part

    before = digests(folder)
    writer_process.start("extract", folder=str(folder), count=COUNT)
    assert writer_process.finish() is None
    assert before.items() <= digests(folder).items()
    for finished in tmp_path.iterdir():
        assert_same_store(finished, expected)


def test_a_kill_before_any_call_that_changes_the_disk_loses_no_committed_row(
    writer_process: WriterProcess, tmp_path: Path
) -> None:
    """The committed rows are the first ones of an undisturbed run; the next run adds the others."""
    calm = tmp_path / "calm"
    writer_process.start("dying", work="extract", folder=str(calm), dies_at=0)
    calls = writer_process.answer("calls")
    assert writer_process.finish() is None
    expected = Store(calm)
    seen = set()
    for dies_at in range(1, calls + 1):
        folder = tmp_path / str(dies_at)
        writer_process.start("dying", work="extract", folder=str(folder), dies_at=dies_at)
        assert writer_process.was_killed()
        before, store = digests(folder), committed(folder)
        rows = 0 if store is None else len(store)
        seen.add(rows)
        if store is not None:
            assert [f for f in verify(folder).findings if not f.harmless] == []
            assert store.obs.equals(expected.obs[:rows])
        if dies_at % 6 == 0 or dies_at == calls:
            writer_process.start("extract", folder=str(folder), count=len(expected))
            assert writer_process.finish() is None
            assert before.items() <= digests(folder).items()
            assert_same_store(folder, expected)
    assert seen == {0, 6, 8}


def assert_same_store(folder: Path, expected: Store) -> None:
    assert verify(folder).ok
    got = Store(folder)
    assert got.obs.equals(expected.obs)
    assert got.rejected.sort_index().equals(expected.rejected.sort_index())
    for layer in expected.layers:
        assert_same_floats(got[layer].to_numpy(), expected[layer].to_numpy())
        zeros = got[layer].zeros(), expected[layer].zeros()
        np.testing.assert_array_equal(zeros[0].per_row, zeros[1].per_row)
        np.testing.assert_array_equal(zeros[0].per_channel, zeros[1].per_channel)


def test_an_interrupt_commits_what_was_appended(tmp_path: Path) -> None:
    def interrupted() -> None:
        with StoreWriter.open(tmp_path, layers=SMALL, settings={}, provenance={}) as writer:
            writer.append(make_batch([0, 1, 2]))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(Store(tmp_path).obs.index) == list(_ids([0, 1, 2]))


def test_interrupts_at_random_moments_leave_whole_rows(
    writer_process: WriterProcess, calm_run: tuple[Path, float], tmp_path: Path
) -> None:
    expected, seconds = Store(calm_run[0]), calm_run[1]
    moments = random.Random(4)
    interrupted = 0
    for number in range(20):
        if interrupted >= 3:
            break
        folder = tmp_path / str(number)
        writer_process.start("extract", folder=str(folder), count=COUNT)
        while not (leftovers(folder) or writer_process.has_ended()):
            time.sleep(0.001)
        interrupted += writer_process.interrupt(moments.uniform(0, 0.3) * seconds)
        if (store := committed(folder)) is not None:
            assert verify(folder).ok
            assert list(store.obs.index) == list(expected.obs.index[: len(store)])
        writer_process.start("extract", folder=str(folder), count=COUNT)
        assert writer_process.finish() is None
        assert_same_store(folder, expected)
    assert interrupted > 0


def test_leftovers_of_killed_writers_are_ignored(tmp_path: Path) -> None:
    write_store(tmp_path, [make_batch([0])])
    for name in ("0123456789abcdef.zarr", ".0123456789abcdef.tmp", "x"):
        (tmp_path / "parts" / name / "obs").mkdir(parents=True)
        (tmp_path / "parts" / name / "zarr.json").write_text("{")
    (tmp_path / "snapshots" / ".0123456789abcdef.tmp").write_text("{")
    write_store(tmp_path, [make_batch([1])])
    assert len(Store(tmp_path)) == 2
    assert all(finding.harmless for finding in verify(tmp_path).findings)
    assert len(leftovers(tmp_path)) == 3


def test_an_open_store_keeps_its_snapshot(tmp_path: Path) -> None:
    write_store(tmp_path, [make_batch([0, 1])])
    before = Store(tmp_path)
    write_store(tmp_path, [make_batch([2])])
    assert len(before) == 2
    assert before["fc"].shape == (2, 40)
    assert len(Store(tmp_path)) == 3


def _ids(numbers: list[int]) -> list[str]:
    from sparsefeat.store.part.tables import row_id

    return [row_id(make_row(number)) for number in numbers]
