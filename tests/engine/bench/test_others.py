import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sparsefeat.bench.others import Usage, read_usage, used_by_others

BUSY = "while True: pass"
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone says it")


def usage(at: float, all_seconds: float, own_seconds: float) -> Usage:
    return Usage(at=at, all_seconds=all_seconds, own_seconds=own_seconds)


def test_what_others_used_is_all_but_our_own() -> None:
    before = usage(100, 5000, 70)
    assert used_by_others(before, usage(110, 5018, 85)) == pytest.approx(0.3)
    assert used_by_others(before, usage(110, 5014.9, 85)) == 0  # clocks are coarse
    # A container whose /proc/stat counts nothing; no /proc at all; too short a time.
    assert used_by_others(before, usage(110, 5000, 85)) is None
    assert used_by_others(None, before) is used_by_others(before, None) is None
    assert used_by_others(before, usage(100.01, 5000.01, 70)) is None


@needs_proc
def test_one_of_ours_is_none_of_the_others() -> None:
    """A child's and a grandchild's time is our own, and a child's still when it has ended."""
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}])"
    for program in (BUSY, nested):
        before = read_usage()
        assert before is not None
        with subprocess.Popen([sys.executable, "-c", program], process_group=0) as child:
            running = wait_for_own(before, 0.5)
            os.killpg(child.pid, signal.SIGKILL)
        assert running.all_seconds >= before.all_seconds + 0.3
        if program == BUSY:
            ended = read_usage()
            assert ended is not None
            assert ended.own_seconds >= running.own_seconds


def wait_for_own(before: Usage, seconds: float) -> Usage:
    while True:
        time.sleep(0.05)
        now = read_usage()
        assert now is not None
        if now.own_seconds - before.own_seconds >= seconds:
            return now


@needs_proc
def test_a_busy_stranger_is_found() -> None:
    """A process whose parent has ended belongs to nobody here."""
    program = f"""
import subprocess, sys
busy = subprocess.Popen([sys.executable, "-c", {BUSY!r}], stdout=subprocess.DEVNULL)
print(busy.pid)
"""
    started = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True
    )
    stranger = int(started.stdout)
    try:
        ticks = ticks_of(stranger)
        before = read_usage()
        while ticks_of(stranger) < ticks + os.sysconf("SC_CLK_TCK"):  # it had a second
            time.sleep(0.1)
        after = read_usage()
    finally:
        os.kill(stranger, signal.SIGKILL)
    assert before is not None
    assert after is not None
    found = used_by_others(before, after)
    assert found is not None
    assert found * (after.at - before.at) > 0.7


def ticks_of(process: int) -> int:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_processors_that_we_may_not_use_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = "cpu  900 0 0 0\ncpu0 100 20 30 5000 40 5 6 7 8 9\ncpu1 700 0 0 0 0 0 0 0 0 0\nintr 1\n"
    (tmp_path / "stat").write_text(stat)
    process = tmp_path / str(os.getpid())
    process.mkdir()
    # The name of a program may hold brackets and spaces.
    fields = ["R", "1", *["0"] * 9, "3", "4", "5", "6", "20"]
    (process / "stat").write_text(f"{os.getpid()} (a) b ({' '.join(fields)}".replace("(R", ") R"))
    monkeypatch.setattr("sparsefeat.bench.others.affinity", lambda: [0])
    found = read_usage(tmp_path)
    assert found is not None
    tick = os.sysconf("SC_CLK_TCK")
    assert found.all_seconds * tick == pytest.approx(100 + 20 + 30 + 5 + 6 + 7)
    assert found.own_seconds * tick == pytest.approx(3 + 4 + 5 + 6)
    monkeypatch.setattr("sparsefeat.bench.others.affinity", lambda: None)
    everywhere = read_usage(tmp_path)
    assert everywhere is not None
    assert everywhere.all_seconds * tick == pytest.approx(868)
    assert read_usage(tmp_path / "none") is None
