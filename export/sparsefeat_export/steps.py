"""The heavy steps of an export, each run in a child process that ends and frees its memory.

A step reads ``<step>.in.json`` in its working folder and writes ``<step>.out.json``.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sparsefeat_export.dependencies import load
from sparsefeat_export.errors import ExportError, WeightsError
from sparsefeat_export.processes import CANNOT_WRITE, end_with_parent
from sparsefeat_export.quiet import quiet_tensorflow
from sparsefeat_export.request import Request

GRAPH = "graph.onnx"
PROBE_SIZES = ((32, 32), (224, 224))  # of a model that takes any size


def convert(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write the graph without its metadata, its data file, and the first references.

    Keras is loaded once for all three: its start takes longer than the conversion.
    """
    load("tensorflow", "keras", "tf2onnx")
    import keras
    import onnx
    import tensorflow as tf
    import tf2onnx

    from sparsefeat_export import build, description, network
    from sparsefeat_export.reference import write_photographs, write_probes
    from sparsefeat_export.scaling import as_json

    loaded = network.load(Request(**job["request"]))
    layers = description.describe(loaded)
    graph = build.build(loaded, layers, folder / job["data"])
    (folder / GRAPH).write_bytes(graph.SerializeToString())
    sizes: tuple[tuple[int, int], ...] = PROBE_SIZES
    if loaded.height is not None and loaded.width is not None:
        sizes = ((loaded.height, loaded.width),)
    write_probes(loaded, sizes, folder)
    write_photographs(loaded, job["photographs"], folder)
    return {
        "layers": layers,
        "height": loaded.height,
        "width": loaded.width,
        "source": loaded.source,
        "size": loaded.size,
        "scaling": as_json(loaded.scaling),
        "notes": loaded.notes,
        "probes": sizes,
        "sha256": description.digest(loaded),
        "tools": {
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "tf2onnx": tf2onnx.__version__,
            "onnx": onnx.__version__,
        },
    }


def reference(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Load the network again and write references for more photographs."""
    load("tensorflow", "keras")
    from sparsefeat_export import description, network
    from sparsefeat_export.reference import write_photographs

    loaded = network.load(Request(**job["request"]))
    if description.digest(loaded) != job["network"]["sha256"]:
        raise WeightsError(f"{loaded.source} changed while it was exported: start again")
    write_photographs(loaded, job["photographs"], folder)
    return {}


def compare(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run the graph on the same photographs and compare."""
    from sparsefeat_export.comparison import compare_photographs

    errors = compare_photographs(folder / GRAPH, folder, job["layers"], len(job["photographs"]))
    return {"errors": {layer: asdict(one) for layer, one in errors.items()}}


def probe(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Compute the probes' expected numbers."""
    load("onnxruntime")
    import onnxruntime

    from sparsefeat_export.comparison import expected_probe

    return {
        "probes": [
            expected_probe(folder / GRAPH, folder, job["layers"], job["rectified"], size)
            for size in job["network"]["probes"]
        ],
        "onnxruntime": onnxruntime.__version__,
    }


STEPS: dict[str, Callable[[dict[str, Any], Path], dict[str, Any]]] = {
    "convert": convert,
    "reference": reference,
    "compare": compare,
    "probe": probe,
}


def main() -> None:
    """Run the step named by the first argument in the folder named by the second."""
    step, folder = sys.argv[1], Path(sys.argv[2])
    end_with_parent()
    quiet_tensorflow()
    job = json.loads((folder / f"{step}.in.json").read_text())
    try:
        result = STEPS[step](job, folder)
    except ExportError as exc:
        result = {"error": type(exc).__name__, "message": str(exc)}
    except OSError as exc:
        message = f"{step} cannot work in {folder.parent}: {exc}"
        result = {"error": "OutputError", "message": message}
    try:
        (folder / f"{step}.out.json").write_text(json.dumps(result))
    except OSError:
        sys.exit(CANNOT_WRITE)


if __name__ == "__main__":
    main()
