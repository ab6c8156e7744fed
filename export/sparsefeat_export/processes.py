"""Running a step in a child process."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from sparsefeat_export.errors import BY_NAME, StepError


def run_step(step: str, job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run one of `sparsefeat_export.steps` and give its result.

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
    with log.open("wb") as output:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "sparsefeat_export.steps", step, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(roots)},
            check=False,
        )
    if done.returncode:
        raise StepError(f"{step}: the process {_cause(done.returncode, log)}")
    result: dict[str, Any] = json.loads((folder / f"{step}.out.json").read_text())
    if "error" in result:
        raise BY_NAME[result["error"]](result["message"])
    return result


def _cause(returncode: int, log: Path) -> str:
    if returncode == -signal.SIGKILL:
        return "was killed, most likely because the machine ran out of memory"
    if returncode < 0:
        return f"was ended by {signal.Signals(-returncode).name}"
    lines = log.read_text(errors="replace").strip().splitlines() or ["no message"]
    return f"failed: {lines[-1]}"
