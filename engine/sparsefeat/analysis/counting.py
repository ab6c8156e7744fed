"""Counting the zeros of a store or of images, and the layers of the stages through both."""

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

from sparsefeat.analysis.counts import Accumulator, LayerZeros, PositionCounts
from sparsefeat.analysis.flatness import Flatness, compute_flatness
from sparsefeat.errors import StoreCorruptError
from sparsefeat.images import Decoded, ImageInput
from sparsefeat.model import ModelLayer, choose, layers_after_base
from sparsefeat.pipeline import Extractor
from sparsefeat.store import Store
from sparsefeat.types import Reject, Row

POOLS = tuple(f"block{block}_pool" for block in range(1, 6))


def count_store(
    store: Store,
    layers: Sequence[str] | None = None,
    *,
    positions: bool = True,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, LayerZeros]:
    """Count the zeros of a store's layers.

    Parameters
    ----------
    store
        The store, from `sparsefeat.open`.
    layers
        Names; by default all that it holds.
    positions
        Count by position, and in how many images each channel is active. That isn't recorded:
        the indices are read, but no values (except of a layer that is stored dense), about 64 MiB
        at a time. Without it, zeros per row and per channel are read as they were recorded, and
        nothing else.
    progress
        Called with the rows read, of how many, and the layer's name.

    Returns
    -------
    dict
        For each layer its `LayerZeros`, in the order of `layers`; `per_row` in the order of the
        store's rows.

    Raises
    ------
    LayerError
        The store has no such layer.
    StoreCorruptError
        What is on disk is not what was written.
    """
    names = list(store.layers) if layers is None else list(layers)
    recorded = {name: store[name].zeros() for name in names}
    total, done = len(names) * store.n_rows, 0
    found = {}
    for name in names:
        layer, zeros = store.layers[name], recorded[name]
        if zeros.per_channel.shape != (layer.n_channels,) or (
            zeros.per_channel.sum() != zeros.per_row.sum()
        ):
            raise StoreCorruptError(
                f"{store.folder} counts other zeros of {name} by channel than by row, expected as "
                "many: see sparsefeat verify, and extract these images again"
            )
        counted = PositionCounts(layer) if positions else None
        if counted is not None:
            for csr in store[name].supports():
                try:
                    counted.add(csr)
                except ValueError as exc:  # the kernels check the indices' order as they go
                    raise StoreCorruptError(f"{store.folder}, {name}: {exc}") from exc
                done += csr.n_rows
                if progress is not None:
                    progress(done, total, name)
        found[name] = LayerZeros(
            layer=layer,
            per_row=zeros.per_row,
            per_channel=zeros.per_channel,
            per_position=None if counted is None else counted.per_position,
            active_rows=None if counted is None else counted.active_rows,
        )
    return found


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ImageZeros:
    """What was counted of some images.

    Attributes
    ----------
    counts
        The zeros of each layer.
    rows
        The images, in the order of `LayerZeros.per_row`.
    flatness
        As long as `rows`; empty where it wasn't measured.
    rejects
        What could not be read, and why.
    """

    counts: dict[str, LayerZeros]
    rows: tuple[Row, ...]
    flatness: tuple[Flatness, ...]
    rejects: tuple[Reject, ...]


def count_images(
    extractor: Extractor,
    images: str | os.PathLike[str] | Iterable[ImageInput | Reject],
    *,
    flatness: bool = True,
    progress: Callable[[int], None] | None = None,
) -> ImageZeros:
    """Run images through the network and count their zeros, batch by batch.

    Activations are dropped as soon as they are counted; only figures are kept for each image.

    Parameters
    ----------
    extractor
        Its layers are counted; pre-activations too, if it has any.
    images
        As `Extractor.extract` takes them.
    flatness
        Measure how flat each of them is.
    progress
        Called after each batch with the number of images done.

    Raises
    ------
    InputError
        As `Extractor.extract` does.
    """
    accumulators = {name: Accumulator(layer) for name, layer in extractor.layers.items()}
    # By digest: an image that comes twice is as flat the second time.
    measured: dict[str, Flatness] = {}
    rows: list[Row] = []
    rejects: list[Reject] = []

    def measure(decoded: Decoded) -> None:
        measured[decoded.row.sha256] = compute_flatness(decoded.pixels)

    batches = extractor.extract(
        images, errors="ignore", reuse=True, on_decoded=measure if flatness else None
    )
    with closing(batches):
        for batch in batches:
            for name, csr in batch.layers.items():
                accumulators[name].add(csr)
            rows += batch.rows
            rejects += batch.rejects
            if progress is not None:
                progress(len(rows) + len(rejects))
    return ImageZeros(
        counts={name: accumulator.result() for name, accumulator in accumulators.items()},
        rows=tuple(rows),
        flatness=tuple(measured[row.sha256] for row in rows) if flatness else (),
        rejects=tuple(rejects),
    )


def missing_stages(names: Collection[str]) -> list[str]:
    """Say what of the stages isn't among the layers that a store holds.

    Examples
    --------
    >>> missing_stages(["block2_pool", "block3_pool", "block4_pool", "block5_pool"])
    ['block1_pool', 'layers behind block5_pool']
    """
    missing = [name for name in POOLS if name not in names]
    behind = [name for name in names if name not in POOLS]
    return missing if behind else [*missing, "layers behind block5_pool"]


def explain_last_stage(layers: Sequence[ModelLayer]) -> str | None:
    """Say why the stages through a model ends with its last pool; None where it goes on."""
    top = [layer.name for layer in layers_after_base(layers)]
    if set(top).intersection(choose("stages", layers)):
        return None
    if not top:
        return "the model was exported without its top"
    return f"behind it the model has {', '.join(top)}, none of them a hidden layer"
