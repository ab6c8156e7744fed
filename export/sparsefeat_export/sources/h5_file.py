"""Read weights from HDF5 files: those of Keras 2, and ``.weights.h5`` of Keras 3."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sparsefeat_export.dependencies import load
from sparsefeat_export.errors import WeightsError
from sparsefeat_export.sources.weights import Array, Found


def is_whole_model(path: Path) -> bool:
    """Return whether an HDF5 file holds a whole model (`model.save`) and not just weights."""
    with _open(path) as file:
        return "model_config" in file.attrs


def read_h5(path: Path) -> tuple[list[Found], list[Found]]:
    """Find the layers of a weights file without reading their values.

    Keras 2 wrote ``layer/layer/kernel:0``, and the order of the layers in an attribute. Keras 3
    writes ``layers/conv2d_4/vars/0``, without the layers' names and order; but its numbers give
    the order among convolutions and among dense layers.

    Returns
    -------
    convolutions, others
        In network order. All layers without four-dimensional weights are among the others; if one
        is not a dense layer, `match` reports it.

    Raises
    ------
    WeightsError
        The file is not HDF5, or holds no weights.
    """
    with _open(path) as file:
        root = file.get("model_weights", file)
        listed = "layer_names" in root.attrs
        variables = list(_listed(root) if listed else _numbered(root, ""))
        found = [_found(path, name, group) for name, group in _by_layer(variables)]
    if not found:
        raise WeightsError(f"{path} holds no Keras weights: expected a file of model.save_weights")
    convolutions = [one for one in found if len(one.kernel) == 4]
    return convolutions, [one for one in found if len(one.kernel) != 4]


def _open(path: Path) -> Any:
    h5py = load("h5py")
    try:
        return h5py.File(path, "r")
    except OSError as exc:
        raise WeightsError(f"{path} is not a readable HDF5 file: {exc}") from exc


def _listed(root: Any) -> Iterator[tuple[str, Any]]:
    for layer in root.attrs["layer_names"]:
        group = root.get(_text(layer))
        if group is None:
            raise WeightsError(
                f"{root.file.filename} lists layer {_text(layer)} but lacks it: the file is damaged"
            )
        for weight in group.attrs["weight_names"]:
            # A nested model is one group; its weights have the names of the inner layers.
            dataset = group.get(_text(weight))
            if dataset is None:
                raise WeightsError(
                    f"{root.file.filename} lists {_text(weight)} but lacks it: the file is damaged"
                )
            inner = _text(weight).split("/")
            yield (inner[-2] if len(inner) > 1 else _text(layer)), dataset


def _numbered(group: Any, name: str) -> Iterator[tuple[str, Any]]:
    variables = group.get("vars", {})
    for key in sorted(variables, key=_natural):
        yield name, variables[key]
    # A compiled model also has groups with the variables of its optimizer and metrics.
    inside = ["layers"] if "layers" in group else sorted(group, key=_natural)
    for key in inside:
        if key != "vars" and hasattr(group[key], "keys"):
            yield from _numbered(group[key], name if key == "layers" else key)


def _natural(key: str) -> tuple[str, int]:
    """Return a sort key that puts conv2d before conv2d_1, and conv2d_2 before conv2d_10."""
    stem, number = re.fullmatch(r"(.*?)(?:_?(\d+))?", key).groups()  # type: ignore[union-attr]
    return stem, int(number or 0)


def _by_layer(variables: list[tuple[str, Any]]) -> list[tuple[str, list[Any]]]:
    """Group each kernel with the one-dimensional weights that follow it."""
    layers: list[tuple[str, list[Any]]] = []
    for name, dataset in variables:
        if layers and layers[-1][0] == name and dataset.ndim == 1:
            layers[-1][1].append(dataset)
        else:
            layers.append((name, [dataset]))
    return layers


def _found(path: Path, name: str, datasets: list[Any]) -> Found:
    kernel, bias = (*datasets, None)[:2]
    for dataset in (kernel, bias):
        if dataset is not None and dataset.dtype.kind != "f":
            raise WeightsError(f"{path}: {name} holds {dataset.dtype}, expected float32")
    if bias is None:
        return Found(name=name, kernel=kernel.shape, bias=None, read=_unreadable)
    kernel_name, bias_name = kernel.name, bias.name

    def read() -> tuple[Array, Array]:
        with _open(path) as file:
            try:
                return (
                    np.asarray(file[kernel_name][()], dtype=np.float32),
                    np.asarray(file[bias_name][()], dtype=np.float32),
                )
            except OSError as exc:
                raise WeightsError(f"{path}: {name} cannot be read: {exc}") from exc

    return Found(name=name, kernel=kernel.shape, bias=bias.shape, read=read)


def _unreadable() -> tuple[Array, Array]:
    raise AssertionError("matching refuses layers without a bias")


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
