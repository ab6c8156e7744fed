"""Measure how far the quantized model is from float32, layer by layer, on held-out views."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from sparsefeat_export.certificate import Errors
from sparsefeat_export.comparison import open_session
from sparsefeat_export.graph import drop_unread
from sparsefeat_export.model_file import folder_of_weights

NEIGHBOURS = 5


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """One layer of the int8 model compared with float32, over all held-out views.

    Attributes
    ----------
    relative_l2
        L2 norm of the error divided by the L2 norm of the float32 activations.
    agreement
        Share of elements, 0 to 1, that are zero in both or non-zero in both.
    cosine_mean, cosine_min
        Mean and minimum over views of the cosine similarity between int8 and float32.
    neighbours
        Share of the five nearest neighbours by cosine similarity that are the same.
    """

    layer: str
    relative_l2: float
    agreement: float
    cosine_mean: float
    cosine_min: float
    neighbours: float


def measure(
    exact: Path,
    quantized: Path,
    layers: Sequence[str],
    images: npt.NDArray[np.float32],
    *,
    passed: Callable[[], object] = lambda: None,
) -> list[Agreement]:
    """Compare the graphs at two paths on images, float32 (n, H, W, 3).

    Layers are compared in groups that take no more memory than the largest layer alone. `passed`
    is called once for each combination of graph, layer and image.
    """
    agreements = []
    for group in _groups(exact, layers, images[:1]):
        ours, theirs = (_rows(path, group, images, passed) for path in (quantized, exact))
        agreements += [_compare(layer, theirs[layer], ours[layer]) for layer in group]
        del ours, theirs  # free the memory before the next group
    return agreements


def _groups(path: Path, layers: Sequence[str], image: npt.NDArray[np.float32]) -> list[list[str]]:
    """Group layers, in order, so that no group has more elements than the largest layer."""
    session = _session(path, layers)
    sizes = [activation.size for activation in session.run(list(layers), {"images": image})]
    groups: list[list[str]] = []
    room = 0
    for layer, size in zip(layers, sizes, strict=True):
        if size > room:
            groups.append([])
            room = max(sizes)
        groups[-1].append(layer)
        room -= size
    return groups


def _rows(
    path: Path,
    layers: Sequence[str],
    images: npt.NDArray[np.float32],
    passed: Callable[[], object],
) -> dict[str, npt.NDArray[np.float32]]:
    """Run the part of a graph that `layers` need; return float32 (n, features) of each."""
    session = _session(path, layers)
    rows: dict[str, npt.NDArray[np.float32]] = {}
    for index, image in enumerate(images):
        activations = session.run(list(layers), {"images": image[np.newaxis]})
        for layer, activation in zip(layers, activations, strict=True):
            if layer not in rows:  # stacking a list would take twice the memory
                rows[layer] = np.empty((len(images), activation.size), dtype=np.float32)
            rows[layer][index] = activation.ravel()
            passed()
    return rows


def _session(path: Path, layers: Sequence[str]) -> Any:
    model = onnx.load(path, load_external_data=False)
    outputs = {one.name: one for one in model.graph.output}
    del model.graph.output[:]
    model.graph.output.extend(outputs[layer] for layer in layers)
    drop_unread(model.graph)
    return open_session(model, folder_of_weights(model, path))


def _compare(
    layer: str, exact: npt.NDArray[np.float32], quantized: npt.NDArray[np.float32]
) -> Agreement:
    errors = Errors()
    for one, other in zip(exact, quantized, strict=True):
        errors.add(one, other)
    products = np.einsum("nf,nf->n", exact, quantized, dtype=np.float64)
    cosines = products / np.maximum(_norms(exact) * _norms(quantized), np.finfo(float).tiny)
    pairs = zip(_nearest(exact), _nearest(quantized), strict=True)
    return Agreement(
        layer=layer,
        relative_l2=errors.relative_l2,
        agreement=errors.agreement,
        cosine_mean=float(cosines.mean()),
        cosine_min=float(cosines.min()),
        neighbours=float(np.mean([len(a & b) / len(a) for a, b in pairs])),
    )


def _nearest(rows: npt.NDArray[np.float32]) -> list[set[int]]:
    similarity = rows @ rows.T / np.maximum(np.outer(_norms(rows), _norms(rows)), 1e-30)
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :NEIGHBOURS]
    return [set(one.tolist()) for one in nearest]


def _norms(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    norms: npt.NDArray[np.float64] = np.sqrt(np.einsum("nf,nf->n", rows, rows, dtype=np.float64))
    return norms
