"""Counts the zeros of a store or of images, and names the stages that are missing."""

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

from sparsefeat.analysis.counts import Accumulator, LayerZeros, PositionCounts
from sparsefeat.analysis.flatness import Flatness, compute_flatness
from sparsefeat.errors import StoreCorruptError
from sparsefeat.images import Decoded, ImageInput
from sparsefeat.model import ModelLayer, choose_layers, layers_after_base
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
        Names of layers; by default all.
    positions
        Whether to count by position, and in how many images each channel is active. A store
        doesn't record these: the indices are read, about 64 MiB at a time, but no values (except
        those of a layer that is stored dense). Without it only the recorded counts per row and
        per channel are read.
    progress
        Called with the number of rows read, their total, and the layer's name.

    Returns
    -------
    dict
        A `LayerZeros` for each layer, in the order of `layers`; `per_row` is in the order of the
        store's rows.

    Raises
    ------
    LayerError
        The store doesn't have one of the layers.
    StoreCorruptError
        A file of the store is damaged.
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
                f"{store.folder} records different numbers of zeros of {name} by channel and by "
                "row: find the damaged part with sparsefeat verify, and extract its images again"
            )
        counted = PositionCounts(layer) if positions else None
        if counted is not None:
            for csr in store[name].supports():
                try:
                    counted.add(csr)
                except ValueError as exc:  # the kernels check the order of the indices
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
    """The zeros of some images.

    Attributes
    ----------
    counts
        The zeros of each layer.
    rows
        The images, in the order of `LayerZeros.per_row`.
    flatness
        The flatness of each row; empty if it wasn't measured.
    rejects
        The images that could not be read, with the reason.
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

    Activations are dropped as soon as they are counted.

    Parameters
    ----------
    extractor
        Runs the network. Its layers are counted, pre-activations among them.
    images
        The images, as `Extractor.extract` takes them.
    flatness
        Whether to measure how flat each image is.
    progress
        Called after each batch with the number of images done.

    Raises
    ------
    InputError
        As `Extractor.extract` does.
    """
    accumulators = {name: Accumulator(layer) for name, layer in extractor.layers.items()}
    # The keys are digests, because the same image may be listed twice.
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
    """List the stages of the network that a store has no layers of.

    Examples
    --------
    >>> missing_stages(["block2_pool", "block3_pool", "block4_pool", "block5_pool"])
    ['block1_pool', 'layers after block5_pool']
    """
    missing = [name for name in POOLS if name not in names]
    after = [name for name in names if name not in POOLS]
    return missing if after else [*missing, "layers after block5_pool"]


def explain_last_stage(layers: Sequence[ModelLayer]) -> str | None:
    """Say why the last pool is the model's last stage; return None if it isn't the last."""
    top = [layer.name for layer in layers_after_base(layers)]
    if set(top).intersection(choose_layers("stages", layers)):
        return None
    if not top:
        return "the model was exported without its top"
    return f"none of the layers after it ({', '.join(top)}) is a hidden layer"
