"""The export from end to end: convert, certify, commit."""

import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx

from sparsefeat_export.certificate import Certificate, Errors, LayerErrors
from sparsefeat_export.committing import commit, data_path, working_folder
from sparsefeat_export.errors import (
    AssumedScalingWarning,
    DownloadError,
    ExportError,
    OutputError,
)
from sparsefeat_export.images import SampleImage, find_images
from sparsefeat_export.model_file import write_model
from sparsefeat_export.scaling import MODES
from sparsefeat_export.sources import Request, resolve
from sparsefeat_export.tasks import GRAPH, run_task

Log = Callable[[str], object]

FORMAT = 1  # of the metadata

# The activations of one image are 56 MB on disk while it waits for its comparison.
BLOCK = 12


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """A model file that was written, and what was measured of it."""

    path: Path
    certificate: Certificate
    metadata: dict[str, Any] = field(repr=False)


def export(
    output: str | Path,
    *,
    weights: str | Path | Any | None = None,
    top: bool | None = None,
    scaling: str | None = None,
    images: str | Path | None = None,
    channels_divisor: int = 1,
    log: Log | None = None,
) -> ExportResult:
    """Export a Keras VGG16 with every layer an output, and certify it against Keras.

    Two files are written, the graph and, beside it, its weights in ``<output>.data``; neither
    is there before the certificate holds. A graph never lies beside other weights than its
    own: stopped at the wrong moment, replacing a model leaves none.

    Parameters
    ----------
    output
        The graph's path, ending in ``.onnx``.
    weights
        ``"imagenet"``, ``"pretrained"``, ``"random:SEED"``, the path of an ``.h5``,
        ``.weights.h5``, ``.keras`` or ``.onnx`` file, or a Keras model. None is ``"imagenet"``,
        and, where that cannot be downloaded and no top is asked for, ``"pretrained"``.
    top
        Whether to export the layers behind ``block5_pool``. None is yes where the weights have
        them. A model without them takes images of any size of at least 32 x 32 pixels.
    scaling
        How RGB pixels are scaled before the weights' model is given them: ``"caffe"``, ``"tf"``
        or ``"torch"`` as Keras' ``preprocess_input`` does, ``"0..1"`` for pixels / 255,
        ``"none"`` for the pixels themselves. None takes what the model does itself, measured in
        front of its first convolution, else ``"caffe"``.
    images
        A folder with at least eight images to certify on; by default those that the
        package ships.
    channels_divisor
        A power of two that makes a narrow VGG16, for tests: all channels, and all units but
        the classes, are divided by it.
    log
        Called with a line of text at each step.

    Raises
    ------
    ExportError
        See `sparsefeat_export.errors`; every message is one line.

    Warns
    -----
    AssumedScalingWarning
        Neither `scaling` nor the weights say how pixels are scaled, and ``"caffe"`` was assumed.

    Examples
    --------
    >>> result = export("vgg16.onnx", weights="pretrained")  # doctest: +SKIP
    >>> result.certificate.layers[0]  # doctest: +SKIP
    LayerErrors(layer='block1_conv1', max_abs=..., relative_l2=..., agreement=...)
    """
    log = log or (lambda _: None)
    path = Path(output).absolute()
    if channels_divisor not in (1, 2, 4, 8, 16, 32, 64):
        raise ExportError(f"channels_divisor is {channels_divisor}, expected a power of 2 up to 64")
    if scaling is not None and scaling not in MODES:
        raise ExportError(f"scaling is {scaling!r}, expected one of: {', '.join(MODES)}")
    samples = find_images(images, log)
    with working_folder(path) as folder:
        request = Request(
            weights="imagenet" if weights is None else resolve(weights, folder),
            top=top,
            scaling=scaling,
            channels_divisor=channels_divisor,
        )
        if path.exists() and Path(request.weights).exists() and path.samefile(request.weights):
            raise OutputError(f"{path} is where the weights are: write to another file")
        # What there is instead has no top.
        fallback = weights is None and top is not True
        job = _convert(request, path, samples, folder, log, fallback=fallback)
        result = _certify(job, path, samples, folder, log)
        commit(folder / GRAPH, folder / data_path(path).name, path)
    return result


def _convert(
    request: Request,
    path: Path,
    samples: list[SampleImage],
    folder: Path,
    log: Log,
    *,
    fallback: bool,
) -> dict[str, Any]:
    """Convert, and give what the next steps need to know."""
    job: dict[str, Any] = {
        "request": asdict(request),
        "data": data_path(path).name,
        "images": [str(sample.path) for sample in samples[:BLOCK]],
    }
    log(f"converting VGG16 with weights {request.weights}")
    try:
        network = run_task("convert", job, folder)
    except DownloadError as exc:
        if not fallback:
            raise
        log(f"taking the weights pretrained: {exc}")
        job["request"] = asdict(replace(request, weights="pretrained"))
        network = run_task("convert", job, folder)
    for note in network["notes"]:
        log(note)
    if network["assumed"]:
        warnings.warn(network["assumed"], AssumedScalingWarning, stacklevel=3)
    return job | {
        "network": network,
        "layers": [layer["name"] for layer in network["layers"]],
        "rectified": [layer["name"] for layer in network["layers"] if layer["rectified"]],
    }


def _certify(
    job: dict[str, Any], path: Path, samples: list[SampleImage], folder: Path, log: Log
) -> ExportResult:
    """Compare, probe, and write the metadata into the graph."""
    log(
        f"certifying {job['network']['source']}: {_counted(job['layers'], 'layer')} on "
        f"{_counted(samples, 'image')}"
    )
    errors = _compare(job, folder)
    for start in range(BLOCK, len(samples), BLOCK):
        job["images"] = [str(sample.path) for sample in samples[start : start + BLOCK]]
        run_task("reference", job, folder)
        for layer, further in _compare(job, folder).items():
            errors[layer].merge(further)
    certificate = Certificate(
        layers=tuple(LayerErrors.of(layer, one) for layer, one in errors.items()),
        images=tuple((sample.path.name, sample.sha256) for sample in samples),
    )
    certificate.check()
    probed = run_task("probe", job, folder)
    described = _described(job["network"], certificate, probed["probes"], probed["onnxruntime"])
    model = onnx.load(folder / GRAPH, load_external_data=False)
    write_model(folder / GRAPH, model, described)
    onnx.checker.check_model(folder / GRAPH, full_check=True)
    return ExportResult(path=path, certificate=certificate, metadata=described)


def _described(
    network: dict[str, Any],
    certificate: Certificate,
    probes: list[dict[str, Any]],
    onnxruntime_version: str,
) -> dict[str, Any]:
    """Put the metadata together; `network` is the result of the convert step."""
    height, width = network["height"], network["width"]
    return {
        "format": FORMAT,
        "architecture": "vgg16",
        "input": {"name": "images", "height": height, "width": width},
        "layers": network["layers"],
        "preprocessing": {"scaling": network["scaling"], "size": network["size"]},
        "weights": {"source": network["source"], "sha256": network["sha256"]},
        "tools": {
            **network["tools"],
            "onnxruntime": onnxruntime_version,
            "sparsefeat": version("sparsefeat"),
        },
        "precision": "fp32",
        "certificate": certificate.as_json(),
        "probe": probes,
    }


def _counted(things: Sequence[object], what: str) -> str:
    return f"{len(things)} {what}{'s' * (len(things) != 1)}"


def _compare(job: dict[str, Any], folder: Path) -> dict[str, Errors]:
    """Compare the images whose references are written, and drop the references."""
    compared = run_task("compare", job, folder)
    for written in folder.glob("photograph-*"):
        shutil.rmtree(written)
    return {layer: Errors(**summed) for layer, summed in compared["errors"].items()}
