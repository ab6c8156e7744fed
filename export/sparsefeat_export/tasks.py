"""The tasks of an export that need much memory, each run in a child process that then ends.

A task reads ``<task>.in.json`` in its working folder and writes ``<task>.out.json``.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sparsefeat_export import errors
from sparsefeat_export.comparison import (
    compare_images,
    expected_probe,
    write_images,
    write_probes,
)
from sparsefeat_export.conversion import build
from sparsefeat_export.dependencies import hide_unneeded, load, quiet_tensorflow
from sparsefeat_export.errors import ExportError, OutputError, TaskError, WeightsError
from sparsefeat_export.network import describe, digest
from sparsefeat_export.network import load as load_network
from sparsefeat_export.sources import Request

GRAPH = "graph.onnx"
PROBE_SIZES = ((32, 32), (224, 224))  # of a model that takes any size

# Exit status of a task that could not write its result: EX_IOERR of sysexits.h.
CANNOT_WRITE = 74


def run_task(task: str, job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run a task in a child process and return its result.

    The child process ends when this process ends, for whatever reason.

    Parameters
    ----------
    task
        A key of `TASKS`.
    job
        The task's input, in JSON's types.
    folder
        The working folder of the export.

    Raises
    ------
    ExportError
        The error that the task raised, or TaskError if it died without one.
    """
    (folder / f"{task}.in.json").write_text(json.dumps(job))
    log = folder / f"{task}.log"
    # -P keeps the current folder out of the module path, so that a user's file cannot hide a
    # module. The package itself may be on this process' path only because the user put it there.
    search_path = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-P", "-m", "sparsefeat_export.tasks", task, str(folder)],
            stdin=subprocess.PIPE,  # `end_with_parent` watches it
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(search_path)},
        ) as child,
    ):
        try:
            returncode = child.wait()
        except BaseException:
            child.kill()
            raise
    if returncode == CANNOT_WRITE:
        raise OutputError(f"{task} could not write to {folder.parent}: check its free space")
    if returncode:
        raise TaskError(f"{task}: the process {_cause(returncode, log)}")
    result: dict[str, Any] = json.loads((folder / f"{task}.out.json").read_text())
    if "error" in result:
        raise getattr(errors, result["error"])(result["message"])
    return result


def end_with_parent() -> None:
    """Start a thread that ends this process as soon as its parent process ends.

    Only the parent holds the other end of standard input, which closes even if the parent is
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


def convert(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write the graph without metadata, its data file, and the references of the first images.

    All three are done in one task because starting Keras takes longer than the conversion.
    """
    load("tensorflow", "keras", "tf2onnx")
    import keras
    import onnx
    import tensorflow as tf
    import tf2onnx

    loaded = load_network(Request(**job["request"]))
    layers = describe(loaded)
    graph = build(loaded, layers, folder / job["data"])
    (folder / GRAPH).write_bytes(graph.SerializeToString())
    sizes: tuple[tuple[int, int], ...] = PROBE_SIZES
    if loaded.height is not None and loaded.width is not None:
        sizes = ((loaded.height, loaded.width),)
    write_probes(loaded, sizes, folder)
    write_images(loaded, job["images"], folder)
    return {
        "layers": layers,
        "height": loaded.height,
        "width": loaded.width,
        "source": loaded.source,
        "size": loaded.size,
        "scaling": asdict(loaded.scaling),
        "notes": loaded.notes,
        "assumed": loaded.assumed,
        "probes": sizes,
        "sha256": digest(loaded),
        "tools": {
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "tf2onnx": tf2onnx.__version__,
            "onnx": onnx.__version__,
        },
    }


def reference(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Load the network again and write the references of more images."""
    load("tensorflow", "keras")
    loaded = load_network(Request(**job["request"]))
    if digest(loaded) != job["network"]["sha256"]:
        raise WeightsError(f"{loaded.source} changed while it was exported: start again")
    write_images(loaded, job["images"], folder)
    return {}


def compare(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run the graph on the same images and sum up the errors."""
    errors = compare_images(folder / GRAPH, folder, job["layers"], len(job["images"]))
    return {"errors": {layer: asdict(one) for layer, one in errors.items()}}


def probe(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Compute the expected values of the probes."""
    load("onnxruntime")
    import onnxruntime

    return {
        "probes": [
            expected_probe(folder / GRAPH, folder, job["layers"], job["rectified"], size)
            for size in job["network"]["probes"]
        ],
        "onnxruntime": onnxruntime.__version__,
    }


TASKS: dict[str, Callable[[dict[str, Any], Path], dict[str, Any]]] = {
    "convert": convert,
    "reference": reference,
    "compare": compare,
    "probe": probe,
}


def main() -> None:
    """Run the task named by the first argument in the folder named by the second."""
    task, folder = sys.argv[1], Path(sys.argv[2])
    end_with_parent()
    quiet_tensorflow()
    hide_unneeded()
    job = json.loads((folder / f"{task}.in.json").read_text())
    try:
        result = TASKS[task](job, folder)
    except ExportError as exc:
        result = {"error": type(exc).__name__, "message": str(exc)}
    except OSError as exc:
        message = f"{task} cannot work in {folder.parent}: {exc}"
        result = {"error": "OutputError", "message": message}
    try:
        (folder / f"{task}.out.json").write_text(json.dumps(result))
    except OSError:
        sys.exit(CANNOT_WRITE)


if __name__ == "__main__":
    main()
