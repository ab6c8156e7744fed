"""Read VGG16's weights from sources that hold weights without a Keras architecture."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sparsefeat_export.errors import WeightsError, WeightsNotFoundError
from sparsefeat_export.model_file import check_content
from sparsefeat_export.scaling import MODES, Scaling
from sparsefeat_export.sources.fetching import fetch_imagenet, read_pretrained
from sparsefeat_export.sources.h5_file import read_h5
from sparsefeat_export.sources.onnx_file import read_onnx, read_scaling
from sparsefeat_export.sources.weights import (
    Array,
    Found,
    Plan,
    Request,
    Weights,
    match,
    planned_convolutions,
    planned_dense,
)

# Random kernels are divided by these. Inputs have values up to 150; the first kernel brings them to
# about 1, so that the final softmax neither saturates nor underflows.
INPUT_SCALE = 64.0
# The last kernel keeps the logits small, because softmax amplifies the error of large logits.
LOGIT_SCALE = 8.0
BIAS_SCALE = 0.1

SUFFIXES = (".keras", ".h5", ".hdf5", ".onnx")
EXPECTED = f"imagenet, pretrained, random:SEED or a file ending in {', '.join(SUFFIXES)}"


def resolve(weights: Any, folder: Path) -> str:
    """Turn the user's `weights` into a string for the tasks: a keyword or an absolute path.

    A Keras model is saved in `folder` first.

    Raises
    ------
    WeightsError
        `weights` is not a keyword, a path of a weights file, or a Keras model.
    """
    if not isinstance(weights, str | Path):
        return _save(weights, folder)
    name = str(weights)
    if name in ("imagenet", "pretrained") or re.fullmatch(r"random:[0-9]{1,18}", name):
        return name
    path = Path(name).expanduser().absolute()
    if path.suffix.lower() not in SUFFIXES:
        raise WeightsError(f"weights {name!r}: expected {EXPECTED}")
    if not os.path.lexists(path):
        raise WeightsNotFoundError(f"there is no weights file {path}: expected {EXPECTED}")
    check_content(path)
    return str(path)


def _save(model: Any, folder: Path) -> str:
    if not hasattr(model, "save") or not hasattr(model, "layers"):
        raise WeightsError(f"weights is a {type(model).__name__}, expected {EXPECTED}")
    path = folder / f"{model.name}.keras"
    model.save(path)
    return str(path)


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
            # Another head can't be rebuilt from a graph, so only the base is used.
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
    """Return whether the dense layers are VGG16's top, by the units of the first two."""
    units = planned_dense(request.channels_divisor)[0].kernel[-1]
    return any(one.kernel[-1] == units for one in dense[:2])


def read_random(
    seed: int, *, top: bool = True, channels_divisor: int = 1
) -> tuple[list[Found], list[Found]]:
    """Draw He-normal kernels and small normal biases from a seed.

    Returns
    -------
    convolutions, dense
        In network order. `dense` is empty without `top`; the convolutions are the same with and
        without it.

    Examples
    --------
    >>> convolutions, dense = read_random(0, top=False)
    >>> convolutions[0].kernel
    (3, 3, 3, 64)
    """
    convolutions = planned_convolutions(channels_divisor)
    dense = planned_dense(channels_divisor) if top else []
    found = [_drawn(seed, index, planned) for index, planned in enumerate(convolutions + dense)]
    return found[: len(convolutions)], found[len(convolutions) :]


def _drawn(seed: int, index: int, planned: Plan) -> Found:
    scale = {"block1_conv1": INPUT_SCALE, "predictions": LOGIT_SCALE}

    def read() -> tuple[Array, Array]:
        rng = np.random.default_rng([seed, index])
        kernel = rng.standard_normal(planned.kernel, dtype=np.float32)
        fan_in = kernel.size // kernel.shape[-1]
        kernel *= np.sqrt(2 / fan_in) / scale.get(planned.name, 1.0)
        bias = rng.standard_normal(planned.bias, dtype=np.float32)
        bias *= BIAS_SCALE
        return kernel, bias

    return Found(name=planned.name, kernel=planned.kernel, bias=planned.bias, read=read)
