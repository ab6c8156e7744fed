import signal
import sys
from pathlib import Path

import pytest

import sparsefeat_kernels
from sparsefeat.system import describe_end, is_kill, start_python


@pytest.mark.parametrize(
    ("returncode", "says"),
    [
        (0, "ended with status 0"),
        (3, "ended with status 3"),
        (-signal.SIGTERM, "was ended by SIGTERM"),
        (-signal.SIGKILL, "was killed, most likely because the machine ran out of memory"),
        (-35, "was ended by signal 35"),
    ],
)
def test_the_end_of_a_process_is_described(returncode: int, says: str) -> None:
    assert describe_end(returncode) == says
    assert is_kill(returncode) == ("killed" in says)


def test_a_new_process_imports_the_same_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It doesn't import modules of the current folder."""
    (tmp_path / "sparsefeat_kernels.py").write_text("")
    monkeypatch.chdir(tmp_path)
    code = "import sparsefeat_kernels, sys; print(sparsefeat_kernels.__file__, sys.executable)"
    with start_python("-c", code, text=True) as process:
        said, _ = process.communicate()
    assert said.split() == [sparsefeat_kernels.__file__, sys.executable]
