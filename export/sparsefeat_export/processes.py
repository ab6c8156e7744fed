"""Running a step in a child process."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from sparsefeat_export.errors import BY_NAME, OutputError, StepError

# A step's exit status where not even its result could be written; sysexits.h has the number.
CANNOT_WRITE = 74


def run_step(step: str, job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run one of `sparsefeat_export.steps` and give its result.

    However this process ends, the step's ends too.

    Raises
    ------
    ExportError
        What the step raised, or StepError if it died.
    """
    (folder / f"{step}.in.json").write_text(json.dumps(job))
    log = folder / f"{step}.log"
    # -P: a module in the user's folder must not stand in for one of ours. The package itself
    # may be on this process' path by the user's own doing.
    roots = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-P", "-m", "sparsefeat_export.steps", step, str(folder)],
            stdin=subprocess.PIPE,  # `end_with_parent` watches it
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(roots)},
        ) as child,
    ):
        try:
            returncode = child.wait()
        except BaseException:
            child.kill()
            raise
    if returncode == CANNOT_WRITE:
        raise OutputError(f"{step} cannot write to {folder.parent}: is its disk full?")
    if returncode:
        raise StepError(f"{step}: the process {_cause(returncode, log)}")
    result: dict[str, Any] = json.loads((folder / f"{step}.out.json").read_text())
    if "error" in result:
        raise BY_NAME[result["error"]](result["message"])
    return result


def end_with_parent() -> None:
    """End this process as soon as the one that started it is gone.

    The other end of standard input is the parent's alone, and closes with it even if it is
    killed.
    """

    def watch() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _cause(returncode: int, log: Path) -> str:
    if returncode < 0:
        name = signal.Signals(-returncode).name
        if name == "SIGKILL":
            return "was killed, most likely because the machine ran out of memory"
        return f"was ended by {name}"
    lines = log.read_text(errors="replace").strip().splitlines() or ["no message"]
    return f"failed: {lines[-1]}"
