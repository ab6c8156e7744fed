"""The whole quantization: calibrate, write, measure, commit."""

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from sparsefeat_export.committing import commit, data_path, working_folder
from sparsefeat_export.comparison import open_session, probe_pixels, summarise
from sparsefeat_export.dependencies import load
from sparsefeat_export.errors import (
    ImagesError,
    OutputError,
    WeightsError,
    WeightsNotFoundError,
)
from sparsefeat_export.images import MIN_EXTENT, SampleImage
from sparsefeat_export.model_file import (
    data_files,
    load_tensor,
    read_model,
    write_model,
)
from sparsefeat_export.quantization.agreement import Agreement, measure
from sparsefeat_export.quantization.calibration import calibrate, n_passes
from sparsefeat_export.quantization.graph import quantized_graph
from sparsefeat_export.quantization.images import split, views_of, with_mirrored
from sparsefeat_export.quantization.stack import Convolution, Stage, read_stack
from sparsefeat_export.scaling import Scaling, from_json
from sparsefeat_export.tasks import GRAPH

METHOD = (
    "static QDQ: weights int8 per output channel, rounded with compensation (GPTQ) for the "
    "quantized network's own inputs; activations uint8, scales per channel folded into the "
    "weights, some channels split into a fine and a coarse half; biases corrected; calibrated on "
    "images and their mirror images; inputs as whole pixel values; layers after the last pooling "
    "float32"
)
MAX_VIEWS = 256  # take 6.6 GB when the first layer is compared with float32
MAX_EXTENT = 1024


@dataclass(frozen=True, kw_only=True)
class QuantizeResult:
    """The model file that was written, and the errors measured on held-out images."""

    path: Path
    layers: tuple[Agreement, ...]
    metadata: dict[str, Any] = field(repr=False)


def quantize(
    source: str | Path,
    output: str | Path,
    *,
    calibration: str | Path,
    validation: str | Path | None = None,
    views: int = 48,
    log: Callable[[str], object] = lambda _: None,
    progress: Callable[[int, int], object] = lambda *_: None,
) -> QuantizeResult:
    """Write a copy of an exported model with its convolutions in 8-bit integers.

    Parameters
    ----------
    source
        Path of an exported float32 model.
    output
        Path of the new graph, ending in ``.onnx``; its weights go to ``<output>.data``.
    calibration
        Folder with at least 16 images that resemble those the model will be used on.
    validation
        Folder with at least eight other images, on which the errors are measured. By default
        every fourth image of `calibration` is held out for that.
    views
        Minimum number of views for calibration, and for validation, 1 to 256; the command takes 12
        or more. If there are fewer images, random square crops of them are added. Calibration also
        uses the mirror image of each view.
    log
        Called with a line of text as the work proceeds.
    progress
        Called with (units of work done, units of work in all); a unit is one layer of one view.

    Raises
    ------
    ExportError
        One of the errors in `sparsefeat_export.errors`; every message is one line.

    Examples
    --------
    >>> quantize("vgg16.onnx", "vgg16-int8.onnx", calibration="photos")  # doctest: +SKIP
    """
    source, path = Path(source).absolute(), Path(output).absolute()
    if not 1 <= views <= MAX_VIEWS:
        raise ImagesError(f"{views} views were asked for, expected 1 to {MAX_VIEWS}")
    load("onnxruntime")  # fail now rather than after minutes of work
    model, described = _read(source, path)
    scaling = from_json(described["preprocessing"]["scaling"])
    _check_scaling(scaling, source)
    stages = _for_levels(read_stack(model), scaling)
    seen, held_out = split(calibration, validation)
    size = described["preprocessing"]["size"]
    names = [layer["name"] for layer in described["layers"]]
    with working_folder(path) as folder:
        shown, measured = (
            views_of(each, size, scaling, least=views, seed=seed)
            for seed, each in enumerate((seen, held_out))
        )
        shown = with_mirrored(shown)
        total = n_passes(stages, len(shown)) + 2 * len(names) * len(measured)
        done = itertools.count(1)

        def counted() -> None:
            progress(next(done), total)

        log(f"calibrating with {len(seen)} images")
        convolutions = calibrate(stages, shown * scaling.levels, passed=counted)
        data = folder / data_path(path).name
        graph = quantized_graph(model, stages, convolutions, scaling, data)
        (folder / GRAPH).write_bytes(graph.SerializeToString())
        log(f"measuring the error on {len(held_out)} held-out images")
        layers = measure(source, folder / GRAPH, names, measured, passed=counted)
        described |= {
            "precision": "int8",
            "probe": _probes(folder / GRAPH, described, scaling),
            "quantization": _describe(seen, held_out, len(measured), layers),
        }
        write_model(folder / GRAPH, graph, described)
        onnx.checker.check_model(folder / GRAPH, full_check=True)
        commit(folder / GRAPH, data, path)
    return QuantizeResult(path=path, layers=tuple(layers), metadata=described)


def _read(source: Path, output: Path) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Read a float32 model with its weights and metadata; raise if `output` is one of its files."""
    advice = "make one with: sparsefeat export -o vgg16.onnx"
    if not os.path.lexists(source):
        raise WeightsNotFoundError(f"no model at {source}; {advice}")
    model, described = read_model(source)
    if described is None:
        raise WeightsError(f"{source} was not exported by sparsefeat; {advice}")
    _check_graph(model, source)
    for file in (source, *data_files(model, source)):
        if any(one.exists() and file.samefile(one) for one in (output, data_path(output))):
            raise OutputError(
                f"{file} belongs to the float32 model: write to another file than {output}"
            )
    for tensor in model.graph.initializer:
        array = load_tensor(tensor, source, described["crc32c"])
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    try:
        precision, layers = described["precision"], described["layers"]
        extents = described["preprocessing"]["size"]
        from_json(described["preprocessing"]["scaling"])
        outputs = [one.name for one in model.graph.output]
        whole = outputs == [layer["name"] for layer in layers] and len(extents) == 2
        whole = whole and all(MIN_EXTENT <= extent <= MAX_EXTENT for extent in extents)
    except (ValueError, TypeError, LookupError, RecursionError) as exc:
        raise WeightsError(f"{source} has metadata that can't be read: {exc!r}; {advice}") from exc
    if precision != "fp32":
        raise WeightsError(
            f"{source} has precision {precision}, expected a float32 model: "
            "quantize the model that it was made from"
        )
    if not whole:
        raise WeightsError(f"{source} has metadata that does not match its graph; {advice}")
    return model, described


def _check_graph(model: onnx.ModelProto, source: Path) -> None:
    """Raise if the graph, checked without its weights, is not valid ONNX."""
    graph = onnx.ModelProto()
    graph.CopyFrom(model)
    beside = [tensor for tensor in model.graph.initializer if tensor.external_data]
    inline = [tensor for tensor in model.graph.initializer if not tensor.external_data]
    del graph.graph.initializer[:]
    graph.graph.initializer.extend(inline)
    graph.graph.input.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in beside
    )
    try:
        onnx.checker.check_model(graph)
    except onnx.checker.ValidationError as exc:
        message = " ".join(str(exc).split())
        raise WeightsError(f"{source} can't be read as an ONNX model: {message}") from exc


def _check_scaling(scaling: Scaling, source: Path) -> None:
    """Raise if the pixel value that is scaled to 0, the padding's value, is not 0 to 255."""
    if not ((scaling.zero >= 0) & (scaling.zero <= 255)).all():
        raise WeightsError(
            f"{source} scales pixels in a way ({scaling}) that an int8 model can't represent: the "
            f"pixel value that is scaled to 0 is {', '.join(f'{one:g}' for one in scaling.zero)}, "
            "expected 0 to 255; use the float32 model"
        )


def _for_levels(stages: Sequence[Stage], scaling: Scaling) -> list[Stage]:
    """Rescale the first convolution to read pixel values minus the value that is scaled to 0."""
    first, *others = stages
    assert isinstance(first, Convolution)
    return [replace(first, kernel=first.kernel / scaling.levels[:, None, None]), *others]


def _probes(path: Path, described: dict[str, Any], scaling: Scaling) -> list[dict[str, Any]]:
    """Compute the expected values of the probes for the quantized model."""
    names = [layer["name"] for layer in described["layers"]]
    inner = [f"{layer['name']}/pre" for layer in described["layers"] if layer["rectified"]]
    model = onnx.load(path, load_external_data=False)
    layers = open_session(model, path.parent)
    inferred = {value.name: value for value in model.graph.value_info}
    model.graph.output.extend(inferred[name] for name in inner)
    everything = open_session(model, path.parent)
    probes = []
    for probe in described["probe"]:
        images = scaling.apply(probe_pixels(probe["height"], probe["width"]))
        # In separate sessions: asking for a pre-activation makes its convolution run in float32.
        values = zip(names, layers.run(names, {"images": images}), strict=True)
        expected = {name: summarise(value[0]) for name, value in values}
        for name, value in zip(inner, everything.run(inner, {"images": images}), strict=True):
            last = np.moveaxis(value[0], 0, -1) if value.ndim == 4 else value[0]
            expected[name] = summarise(last)
        probes.append({"height": probe["height"], "width": probe["width"], "expected": expected})
    return probes


def _describe(
    seen: Sequence[SampleImage],
    held_out: Sequence[SampleImage],
    n_views: int,
    layers: Sequence[Agreement],
) -> dict[str, Any]:
    import onnxruntime

    certificate = {one.layer: asdict(one) for one in layers}
    for line in certificate.values():
        del line["layer"]
    return {
        "method": METHOD,
        "tools": {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__},
        "calibration": _listed(seen),
        "held_out": {**_listed(held_out), "views": n_views},
        "certificate": certificate,
    }


def _listed(images: Sequence[SampleImage]) -> dict[str, Any]:
    return {"count": len(images), "sha256": [one.sha256 for one in images]}
