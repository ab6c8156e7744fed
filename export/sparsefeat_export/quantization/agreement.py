"""How far the integers are from float32, layer by layer, on views that were held out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from sparsefeat_export.certificate import Errors
from sparsefeat_export.comparison import open_session
from sparsefeat_export.graph import drop_unread

NEIGHBOURS = 5


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """One layer's line: int8 against float32, over all held-out views.

    Attributes
    ----------
    relative_l2
        Norm of the error over the norm of what float32 gives.
    agreement
        Share of elements that are zero in both or non-zero in both.
    cosine_mean, cosine_min
        Over views, between the two rows of each.
    neighbours
        Share of the five nearest neighbours by cosine that are the same.
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
    """Compare the graphs at two paths on pictures, float32 (n, H, W, 3).

    A layer at a time: all of them would be gigabytes. `passed` is called when a graph has run a
    picture up to a layer: for either graph, each layer and each picture.
    """
    return [
        _compare(layer, *(_rows(path, layer, images, passed) for path in (exact, quantized)))
        for layer in layers
    ]


def _rows(
    path: Path, layer: str, images: npt.NDArray[np.float32], passed: Callable[[], object]
) -> npt.NDArray[np.float32]:
    """Run the part of a graph that `layer` needs: (n, features)."""
    model = onnx.load(path, load_external_data=False)
    (output,) = (one for one in model.graph.output if one.name == layer)
    del model.graph.output[:]
    model.graph.output.append(output)
    drop_unread(model.graph)
    session = open_session(model, path.parent)
    rows: npt.NDArray[np.float32] | None = None
    for index, image in enumerate(images):
        (activation,) = session.run([layer], {"images": image[np.newaxis]})
        if rows is None:  # not a list that is stacked: that would be twice the memory
            rows = np.empty((len(images), activation.size), dtype=np.float32)
        rows[index] = activation.ravel()
        passed()
    assert rows is not None
    return rows


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
