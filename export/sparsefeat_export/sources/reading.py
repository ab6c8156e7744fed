"""From what the user named to VGG16's weights, for sources without an architecture."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sparsefeat_export import plan
from sparsefeat_export.request import Request
from sparsefeat_export.scaling import MODES, Scaling
from sparsefeat_export.sources.h5_file import read_h5
from sparsefeat_export.sources.imagenet import fetch_imagenet
from sparsefeat_export.sources.onnx_file import read_onnx, read_scaling
from sparsefeat_export.sources.pretrained import read_pretrained
from sparsefeat_export.sources.seeded import read_random
from sparsefeat_export.weights import Found, Weights, match


def read_weights(request: Request) -> Weights:
    """Find the layers of ``imagenet``, ``pretrained``, ``random:SEED`` or a weights file.

    Raises
    ------
    WeightsError
        A layer is missing, extra or has another shape; the message names it.
    DownloadError
        ``imagenet`` or ``pretrained`` could not be fetched.
    """
    name, source = request.weights, request.weights
    scaling: Scaling | None = MODES["caffe"]
    if name == "imagenet":
        convolutions, dense = read_h5(fetch_imagenet(top=request.top is not False))
    elif name == "pretrained":
        convolutions, dense = read_pretrained()
    elif name.startswith("random:"):
        convolutions, dense = read_random(
            int(name.removeprefix("random:")),
            top=request.top is not False,
            channels_divisor=request.channels_divisor,
        )
    else:
        path = Path(name)
        source = path.name
        scaling = None
        is_onnx = path.suffix.lower() == ".onnx"
        if is_onnx:
            convolutions, dense = read_onnx(path)
            scaling = read_scaling(path)
        else:
            convolutions, dense = read_h5(path)
        if is_onnx and request.top is None and dense and not _is_top(request, dense):
            # A graph has no layer classes to rebuild another head from; its base is VGG16's.
            source, dense = f"{source}, without its own head", []
    matched = match(
        convolutions,
        dense,
        top=request.top,
        channels_divisor=request.channels_divisor,
        source=source,
    )
    return replace(matched, scaling=scaling)


def _is_top(request: Request, dense: Sequence[Found]) -> bool:
    """Whether these dense layers are meant as VGG16's three, by the units of the first two."""
    units = plan.dense(request.channels_divisor)[0].kernel[-1]
    return any(one.kernel[-1] == units for one in dense[:2])
