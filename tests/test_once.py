"""What several processes need is made once, whatever happens to the one that makes it."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Once = Callable[[str, Callable[[Path], Any]], Any]  # `conftest` can't be imported by its name

# Another process, which is killed while it makes something.
KILLED = """
import importlib.util, os, signal, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("conftest", sys.argv[1])
conftest = importlib.util.module_from_spec(spec)
spec.loader.exec_module(conftest)

def make(folder):
    (folder / "half").write_text("a model")
    os.kill(os.getpid(), signal.SIGKILL)

conftest.Once(Path(sys.argv[2]))("model", make)
"""


@pytest.fixture
def fresh(once: Any, tmp_path: Path) -> Once:
    """As `once`, but nothing has been made yet."""
    empty: Once = type(once)(tmp_path)
    return empty


def test_it_is_made_once_and_others_wait(fresh: Once) -> None:
    made: list[Path] = []
    started, finish = threading.Event(), threading.Event()

    def make(folder: Path) -> Path:
        started.set()
        assert finish.wait(60)
        (folder / "model").write_text("whole")
        made.append(folder)
        return folder / "model"

    got: list[str] = []
    threads = [
        threading.Thread(target=lambda: got.append(fresh("model", make).read_text()))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    assert started.wait(60)
    assert got == []
    finish.set()
    for thread in threads:
        thread.join(60)
    assert got == ["whole"] * 3
    assert len(made) == 1


def test_a_failure_is_for_the_next_to_repair(fresh: Once) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("a model")
        raise ValueError("no memory")

    with pytest.raises(ValueError, match="no memory"):
        fresh("model", fail)
    assert fresh("model", lambda folder: list(folder.iterdir())) == []
    assert fresh("model", fail) == []


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_a_process_that_is_killed_leaves_nothing_half_made(fresh: Once, tmp_path: Path) -> None:
    conftest = Path(__file__).parents[1] / "conftest.py"
    done = subprocess.run([sys.executable, "-c", KILLED, conftest, tmp_path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "model" / "half").exists()
    assert fresh("model", lambda folder: list(folder.iterdir())) == []


def test_what_is_made_lies_where_all_processes_find_it(once: Once, tmp_path: Path) -> None:
    folder = once("nothing", lambda folder: folder)
    several = "PYTEST_XDIST_WORKER" in os.environ
    assert folder == tmp_path.parents[1 if several else 0] / "once" / "nothing"
