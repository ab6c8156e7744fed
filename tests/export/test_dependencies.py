"""How `load` reports a package that doesn't load."""

from pathlib import Path

import pytest

from sparsefeat_export.dependencies import load
from sparsefeat_export.errors import DependencyError

# In the first code only an exception's context is Ctrl-C, in the second only its cause.
INTERRUPTED = {
    "context": """
try:
    raise KeyboardInterrupt
except BaseException:
    raise ImportError("initialization failed") from ValueError("odd")
""",
    "cause": """
try:
    raise ValueError("odd")
except ValueError:
    raise ImportError("initialization failed") from KeyboardInterrupt()
""",
}


@pytest.mark.parametrize("behind", INTERRUPTED)
def test_an_interrupt_while_a_package_loads_stays_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behind: str
) -> None:
    (tmp_path / f"interrupted_{behind}.py").write_text(INTERRUPTED[behind])
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        load(f"interrupted_{behind}")


def test_a_cycle_of_exceptions_does_not_loop_forever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
first, second = ValueError("first"), ValueError("second")
first.__cause__, second.__cause__ = second, first
raise first
"""
    (tmp_path / "in_a_circle.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DependencyError, match="ValueError: first"):
        load("in_a_circle")
