"""The whole export: convert, certify, commit."""

import shutil
import warnings
from collections.abc import Callable
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

# Images compared at a time; the activations of each take 56 MB on disk until it is compared.
BLOCK = 12


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """The model file that was written, its certificate and its metadata."""

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

    It writes two files: the graph and, beside it, the weights in ``<output>.data``. Both appear
    only after the certificate's limits are met. If the process is killed while it replaces an
    existing model, no graph is left rather than one with the wrong weights.

    Parameters
    ----------
    output
        Path of the graph, ending in ``.onnx``.
    weights
        ``"imagenet"``, ``"pretrained"``, ``"random:SEED"``, the path of an ``.h5``,
        ``.weights.h5``, ``.keras`` or ``.onnx`` file, or a Keras model. The default is
        ``"imagenet"``; if that cannot be downloaded and `top` is not True, ``"pretrained"``.
    top
        Whether to export the layers after ``block5_pool``. By default they are exported if the
        weights have them. A model without them accepts images of any size of at least 32x32
        pixels.
    scaling
        How RGB pixels are scaled to the input of the weights' model: ``"caffe"``, ``"tf"`` or
        ``"torch"`` as by Keras' ``preprocess_input``, ``"0..1"`` for pixels / 255, ``"none"`` for
        unscaled pixels. By default, if the model scales pixels itself before its first
        convolution, that scaling is measured and used; otherwise ``"caffe"`` is assumed.
    images
        Folder with at least eight images for the certificate; by default the sample photographs
        of the package.
    channels_divisor
        For tests: a power of two by which all numbers of channels and units, except the number
        of classes, are divided.
    log
        Called with a line of text as the work proceeds.

    Raises
    ------
    ExportError
        One of the errors in `sparsefeat_export.errors`; every message is one line.

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
            raise OutputError(
                f"{path} is the file that the weights are read from: write to another file"
            )
        # The pretrained weights have no top.
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
    """Convert the network, and return the job description for the following tasks."""
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
        log(f"using the pretrained weights instead of imagenet: {exc}")
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
    """Compare with Keras, compute the probes, and write the metadata into the graph."""
    log(
        f"certifying {job['network']['source']}: {len(job['layers'])} layers on {len(samples)} "
        "images"
    )
    errors = _compare(job, folder)
    for start in range(BLOCK, len(samples), BLOCK):
        job["images"] = [str(sample.path) for sample in samples[start : start + BLOCK]]
        run_task("reference", job, folder)
        for layer, further in _compare(job, folder).items():
            errors[layer].merge(further)
    certificate = Certificate(
        layers=tuple(
            LayerErrors(
                layer=layer,
                max_abs=one.max_abs,
                relative_l2=one.relative_l2,
                agreement=one.agreement,
            )
            for layer, one in errors.items()
        ),
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
    """Build the metadata; `network` is the result of the task ``convert``."""
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


def _compare(job: dict[str, Any], folder: Path) -> dict[str, Errors]:
    """Compare the images whose references are on disk, and delete the references."""
    compared = run_task("compare", job, folder)
    for written in folder.glob("image-*"):
        shutil.rmtree(written)
    return {layer: Errors(**summed) for layer, summed in compared["errors"].items()}
