"""Start Python processes that import the same packages as this one, and say how they ended."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

# The new process imports these from the same folders as this process.
_PACKAGES: Final = ("sparsefeat", "sparsefeat_export", "sparsefeat_kernels")


def start_python(*arguments: str, **options: Any) -> subprocess.Popen[Any]:
    """Start a Python process that answers through pipes at standard input and output.

    Ctrl-C does not reach it: the process that has started it must end it.

    Parameters
    ----------
    arguments
        Python's arguments, such as ``-m sparsefeat.bench.worker``.
    options
        Further options of `subprocess.Popen`.
    """
    return subprocess.Popen(
        # -P: a module in the current folder must not replace one of the packages.
        [sys.executable, "-P", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": _import_path()},
        start_new_session=True,
        **options,
    )


def _import_path() -> str:
    specs = [importlib.util.find_spec(name) for name in _PACKAGES]
    folders = {str(Path(spec.origin).parents[1]): None for spec in specs if spec and spec.origin}
    return os.pathsep.join([*folders, *filter(None, [os.environ.get("PYTHONPATH")])])


def describe_end(returncode: int) -> str:
    """Say how a process ended, after the words "the process".

    Examples
    --------
    >>> describe_end(1), describe_end(-15)
    ('ended with status 1', 'was ended by SIGTERM')
    """
    if returncode >= 0:
        return f"ended with status {returncode}"
    if is_kill(returncode):
        return "was killed, most likely because the machine ran out of memory"
    try:
        return f"was ended by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was ended by signal {-returncode}"


def is_kill(returncode: int) -> bool:
    """Return whether a process was ended by SIGKILL, as by a system that runs out of memory."""
    return returncode == -getattr(signal, "SIGKILL", 0) != 0
