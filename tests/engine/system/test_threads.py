import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparsefeat.errors import InputError
from sparsefeat.system.threads import (
    available_threads,
    choose_threads,
    map_ordered,
    validate_threads,
)


def v2(root: Path, group: str, cpu_max: str) -> None:
    folder = root / group
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.max").write_text(cpu_max)


def threads(root: Path, of_process: str) -> int:
    listing = root.parent / "cgroup"
    listing.write_text(of_process)
    return available_threads(cgroup_root=root, cgroup_of_process=listing)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    root = tmp_path / "root"
    root.mkdir()
    return root


def test_without_a_quota_the_affinity_decides(root: Path) -> None:
    v2(root, "app", "max 100000")
    assert threads(root, "0::/app\n") == 16
    assert threads(root, "") == 16


@pytest.mark.parametrize(
    ("cpu_max", "expected"),
    [("200000 100000", 2), ("150000 100000", 2), ("20000 100000", 1), ("9900000 100000", 16)],
)
def test_a_quota_rounds_up_and_never_exceeds_the_affinity(
    root: Path, cpu_max: str, expected: int
) -> None:
    v2(root, "app", cpu_max)
    assert threads(root, "0::/app\n") == expected


def test_the_smallest_quota_on_the_way_up_counts(root: Path) -> None:
    v2(root, "a", "300000 100000")
    v2(root, "a/b", "max 100000")
    v2(root, "a/b/c", "800000 100000")
    assert threads(root, "0::/a/b/c\n") == 3


def test_a_container_that_does_not_see_its_group_has_the_root_s_quota(root: Path) -> None:
    v2(root, "", "400000 100000")
    assert threads(root, "0::/docker/1f2e3d\n") == 4


def test_version_1_control_groups_are_read(root: Path) -> None:
    folder = root / "cpu,cpuacct" / "app"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("500000\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    assert threads(root, "5:memory:/app\n4:cpu,cpuacct:/app\n0::/\n") == 5
    (folder / "cpu.cfs_quota_us").write_text("-1\n")
    assert threads(root, "4:cpu,cpuacct:/app\n") == 16


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_the_affinity_of_a_process_is_respected() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from sparsefeat.system.threads import available_threads; print(available_threads())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_the_default_is_all_available_threads() -> None:
    assert choose_threads(None) == available_threads()
    assert choose_threads(1) == 1


def test_more_threads_than_processors_give_a_warning() -> None:
    there = available_threads()
    says = rf"{there + 1} threads were asked for, .* may use {there} processor"
    with pytest.warns(UserWarning, match=says):
        assert choose_threads(there + 1) == there + 1


def test_absurd_numbers_of_threads_are_refused() -> None:
    most = max(64, 4 * (os.cpu_count() or 1))
    assert validate_threads("decode_threads", most) == most
    for asked in (most + 1, 20_000):
        with pytest.raises(InputError, match=f"^threads is {asked}, expected at most {most}"):
            choose_threads(asked)
    with pytest.raises(InputError, match="decode_threads is 20000"):
        validate_threads("decode_threads", 20_000)
    for wrong in (0, -1, 1 << 40, "2", 1.5):
        with pytest.raises(InputError, match="expected a whole number from 1"):
            validate_threads("threads", wrong)  # type: ignore[arg-type]


def test_results_have_the_order_of_the_inputs() -> None:
    def work(n: int) -> int:
        time.sleep(0.002 * (n % 3))
        return n * n

    assert list(map_ordered(work, range(50), threads=4, ahead=8)) == [n * n for n in range(50)]
    assert list(map_ordered(work, [], threads=4, ahead=8)) == []


def test_an_endless_source_is_read_ahead_by_a_limit() -> None:
    taken = 0

    def source() -> Iterator[int]:
        nonlocal taken
        for n in itertools.count():
            taken += 1
            yield n

    results = map_ordered(str, source(), threads=2, ahead=5)
    for expected in range(20):
        assert next(results) == str(expected)
        assert taken <= expected + 5 + 1
    results.close()


def test_results_of_a_slow_source_come_at_once() -> None:
    asked = threading.Event()

    def source() -> Iterator[int]:
        yield 0
        while not asked.is_set():  # the second item comes only after the first result was taken
            yield 1

    results = map_ordered(int, source(), threads=1, ahead=1000)
    assert next(results) == 0
    asked.set()
    assert all(result == 1 for result in results)


@pytest.mark.parametrize("where", ["work", "source"])
def test_exceptions_are_raised_in_the_order_of_the_inputs(where: str) -> None:
    def work(n: int) -> int:
        if n == 3 and where == "work":
            raise ValueError("bad")
        return n

    def source() -> Iterator[int]:
        for n in range(10):
            if n == 8 and where == "source":
                raise ValueError("bad")
            yield n

    seen: list[int] = []
    with pytest.raises(ValueError, match="bad"):
        seen.extend(map_ordered(work, source(), threads=2, ahead=2))
    assert seen == list(range(len(seen)))
    assert len(seen) == (3 if where == "work" else 8)


def test_closing_ends_the_threads() -> None:
    results = map_ordered(int, itertools.count(), threads=3, ahead=6)
    next(results)
    results.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("sparsefeat-stage")]


@pytest.mark.parametrize("ahead", [2, 3, 8])
def test_the_next_item_is_begun_before_a_result_is_returned(ahead: int) -> None:
    """So the threads have work while the caller uses the result."""
    begun = 0

    def work(n: int) -> int:
        nonlocal begun
        begun += 1
        return n

    for n in map_ordered(work, range(40), threads=1, ahead=ahead):
        time.sleep(0.005)  # long enough to finish everything that was begun
        assert begun >= min(40, n + 2)
        assert begun <= n + 1 + ahead
