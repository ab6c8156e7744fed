"""Runs the command in this process: starting a process for each line would take minutes."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sparsefeat.cli import main


def run(folder: Path, *words: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Result:
    """Run ``sparsefeat`` with these arguments in a folder; the result has what a user sees."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return CliRunner(env=env).invoke(main, words, input=stdin, prog_name="sparsefeat")


def assert_one_line(done: Result) -> None:
    """Check that the command ended with a one-line error and without a traceback."""
    assert done.exit_code == 2
    assert isinstance(done.exception, SystemExit)
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert done.stderr.endswith(f"{errors[0]}\n")
