"""The export from end to end: convert, certify, commit."""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import onnx

from sparsefeat_export import metadata
from sparsefeat_export.certificate import Certificate, Errors, LayerErrors
from sparsefeat_export.errors import (
    DownloadError,
    ExportError,
    OutputError,
    WeightsError,
    WeightsNotFoundError,
)
from sparsefeat_export.photographs import Photograph, photographs
from sparsefeat_export.processes import run_step
from sparsefeat_export.request import Request
from sparsefeat_export.steps import GRAPH

Report = Callable[[str], object]

# The activations of one photograph are 56 MB on disk while it waits for its comparison.
BLOCK = 8
PROBE_SIZES = ((32, 32), (224, 224))  # of a model that takes any size
SUFFIXES = (".keras", ".h5", ".hdf5", ".onnx")


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
    photos: str | Path | None = None,
    channels_divisor: int = 1,
    report: Report | None = None,
) -> ExportResult:
    """Export a Keras VGG16 with every layer an output, and certify it against Keras.

    Two files are written, the graph and, beside it, its weights in ``<output>.data``; neither
    is there before the certificate holds.

    Parameters
    ----------
    output
        The graph's path, ending in ``.onnx``.
    weights
        ``"imagenet"``, ``"pretrained"``, ``"random:SEED"``, the path of an ``.h5``,
        ``.weights.h5``, ``.keras`` or ``.onnx`` file, or a Keras model. None is ``"imagenet"``,
        and ``"pretrained"`` where that cannot be downloaded.
    top
        Whether to export the layers behind ``block5_pool``. None is yes where the weights have
        them. Without them the model takes pictures of any size of at least 32 pixels.
    photos
        A folder with at least eight photographs to certify on; by default those that the
        package ships.
    channels_divisor
        A power of two that makes a narrow VGG16, for tests: all channels and units but the
        classes are divided by it.
    report
        Called with a line of text at each step.

    Raises
    ------
    ExportError
        See `sparsefeat_export.errors`; every message is one line.

    Examples
    --------
    >>> result = export("vgg16.onnx", weights="pretrained")  # doctest: +SKIP
    >>> result.certificate.layers[0]  # doctest: +SKIP
    LayerErrors(layer='block1_conv1', max_abs=..., relative_l2=..., agreement=...)
    """
    report = report or (lambda _: None)
    path = Path(output).absolute()
    _check_output(path, weights)
    if channels_divisor not in (1, 2, 4, 8, 16, 32, 64):
        raise ExportError(f"channels_divisor is {channels_divisor}, expected a power of 2 up to 64")
    pictures = photographs(None if photos is None else Path(photos), report)
    with _translated(path), _working_folder(path) as folder:
        request = Request(
            weights=_resolve(weights, folder), top=top, channels_divisor=channels_divisor
        )
        result = _run(request, path, pictures, folder, report, fallback=weights is None)
        _commit(folder, path)
    return result


def _run(
    request: Request,
    path: Path,
    pictures: list[Photograph],
    folder: Path,
    report: Report,
    *,
    fallback: bool,
) -> ExportResult:
    report(f"converting VGG16, weights {request.weights}")
    data = f"{path.name}.data"
    try:
        network = run_step("convert", {"request": asdict(request), "data": data}, folder)
    except DownloadError as exc:
        if not fallback:
            raise
        report(f"{exc}; taking --weights pretrained")
        request = Request(
            weights="pretrained", top=request.top, channels_divisor=request.channels_divisor
        )
        network = run_step("convert", {"request": asdict(request), "data": data}, folder)
    fixed = (network["height"], network["width"])
    sizes = PROBE_SIZES if None in fixed else (fixed,)
    report(f"certifying {len(network['layers'])} layers on {len(pictures)} photographs")
    errors: dict[str, Errors] = {}
    names = [layer["name"] for layer in network["layers"]]
    for start in range(0, len(pictures), BLOCK):
        block = [str(picture.path) for picture in pictures[start : start + BLOCK]]
        job = {
            "request": asdict(request),
            "sha256": network["sha256"],
            "photographs": block,
            "sizes": sizes if start == 0 else [],
            "layers": names,
        }
        run_step("reference", job, folder)
        compared = run_step("compare", job, folder)
        for layer, summed in compared["errors"].items():
            errors.setdefault(layer, Errors()).merge(Errors(**summed))
        for written in folder.glob("photograph-*"):
            shutil.rmtree(written)
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
        photographs=tuple((picture.path.name, picture.sha256) for picture in pictures),
    )
    certificate.check()
    rectified = [layer["name"] for layer in network["layers"] if layer["rectified"]]
    probes = run_step("probe", {"layers": names, "rectified": rectified, "sizes": sizes}, folder)
    described = metadata.compose(network, certificate, probes["probes"], compared["onnxruntime"])
    model = onnx.load(folder / GRAPH, load_external_data=False)
    metadata.attach(model, described)
    (folder / GRAPH).write_bytes(model.SerializeToString())
    onnx.checker.check_model(folder / GRAPH, full_check=True)
    return ExportResult(path=path, certificate=certificate, metadata=described)


def _check_output(path: Path, weights: Any) -> None:
    if path.suffix != ".onnx":
        raise OutputError(f"{path} does not end in .onnx")
    if path.is_dir():
        raise OutputError(f"{path} is a folder, expected a file to write")
    if isinstance(weights, str | Path) and Path(weights).absolute() == path:
        raise OutputError(f"{path} is where the weights are: write to another file")


def _resolve(weights: Any, folder: Path) -> str:
    """A name that the steps understand: a keyword, or an absolute path."""
    if weights is None:
        return "imagenet"
    if not isinstance(weights, str | Path):
        return _save(weights, folder)
    name = str(weights)
    if name in ("imagenet", "pretrained") or re.fullmatch(r"random:\d+", name):
        return name
    path = Path(name).expanduser().absolute()
    if name.startswith("random:") or (path.suffix not in SUFFIXES and not path.exists()):
        raise WeightsError(
            f"weights {name!r}: expected imagenet, pretrained, random:SEED with a whole number, "
            f"or a file ending in {', '.join(SUFFIXES)}"
        )
    if not path.is_file():
        raise WeightsNotFoundError(f"there is no weights file {path}")
    if path.suffix not in SUFFIXES:
        raise WeightsError(f"{path}: expected a file ending in {', '.join(SUFFIXES)}")
    return str(path)


def _save(model: Any, folder: Path) -> str:
    """Save a Keras model of this process where the steps can load it."""
    if not hasattr(model, "save") or not hasattr(model, "layers"):
        raise WeightsError(f"weights is a {type(model).__name__}, expected a name, path or model")
    path = folder / f"{model.name}.keras"
    model.save(path)
    return str(path)


@contextmanager
def _working_folder(path: Path) -> Iterator[Path]:
    """A folder beside the output, so that committing is a rename; gone at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        yield Path(folder)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except ExportError:
        raise
    except OSError as exc:
        raise OutputError(f"cannot write {path}: {exc.strerror or exc}") from exc


def _commit(folder: Path, path: Path) -> None:
    """Give both files their final names, the data first: a graph never lacks its data."""
    data = Path(f"{path}.data")
    _sync(folder / data.name)
    _sync(folder / GRAPH)
    (folder / data.name).replace(data)
    (folder / GRAPH).replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
