import os
import subprocess
import sys
from pathlib import Path

import pytest

from sparsefeat.errors import InputError
from sparsefeat.system.threads import available_threads, checked_threads, chosen_threads


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


def test_without_a_quota_it_is_the_affinity(root: Path) -> None:
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


def test_cgroup_v1(root: Path) -> None:
    folder = root / "cpu,cpuacct" / "app"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("500000\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    assert threads(root, "5:memory:/app\n4:cpu,cpuacct:/app\n0::/\n") == 5
    (folder / "cpu.cfs_quota_us").write_text("-1\n")
    assert threads(root, "4:cpu,cpuacct:/app\n") == 16


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_a_real_affinity_is_respected() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from sparsefeat.system.threads import available_threads; print(available_threads())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_as_many_as_may_be_used_unless_others_are_asked_for() -> None:
    assert chosen_threads(None) == available_threads()
    assert chosen_threads(1) == 1


def test_more_than_there_are_processors_are_warned_of() -> None:
    there = available_threads()
    says = rf"{there + 1} threads were asked for, .* may use {there} processor"
    with pytest.warns(UserWarning, match=says):
        assert chosen_threads(there + 1) == there + 1


def test_more_than_any_machine_could_use_are_refused() -> None:
    most = max(64, 4 * (os.cpu_count() or 1))
    assert checked_threads("decode_threads", most) == most
    for asked in (most + 1, 20_000):
        with pytest.raises(InputError, match=f"^threads is {asked}, expected at most {most}"):
            chosen_threads(asked)
    with pytest.raises(InputError, match="decode_threads is 20000"):
        checked_threads("decode_threads", 20_000)
    for wrong in (0, -1, 1 << 40, "2", 1.5):
        with pytest.raises(InputError, match="expected a whole number from 1"):
            checked_threads("threads", wrong)  # type: ignore[arg-type]
