"""Runs programs of tests, each in a process of its own in which Keras is imported already.

Importing TensorFlow takes longer than most of what tests do with it. This process has imported
it, and has run nothing with it; its forks are therefore like new processes. Standard input has
a line of JSON for each program, and standard output gets a line with its exit status.
"""

import importlib
import json
import os
import runpy
import sys
import traceback
from typing import Any

from sparsefeat_export.dependencies import NOT_NEEDED, hide_unneeded, quiet_tensorflow


def import_keras() -> None:
    quiet_tensorflow()
    hide_unneeded()
    for name in ("tensorflow", "keras", "tf2onnx"):
        importlib.import_module(name)
    for name in NOT_NEEDED:  # programs may import them
        del sys.modules[name]
    assert len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208  # a fork has one thread only


def run(request: dict[str, Any]) -> int:
    """Run a program in this process, like ``python -c PROGRAM`` or ``python SCRIPT``."""
    for descriptor, path in enumerate((os.devnull, request["stdout"], request["stderr"])):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), descriptor)
    sys.argv = [request["program"], *request["arguments"]]
    os.environ.update(request["environment"])
    try:
        if request["script"]:
            runpy.run_path(request["program"], run_name="__main__")
        else:
            exec(request["program"], {"__name__": "__main__"})
    except SystemExit as exc:
        return int(exc.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main() -> None:
    import_keras()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = run(json.loads(line))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
