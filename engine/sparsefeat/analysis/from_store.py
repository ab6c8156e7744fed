"""Counting the zeros of a store: what it recorded, and its indices where that isn't enough."""

from collections.abc import Callable, Sequence

from sparsefeat.analysis.accumulator import Places
from sparsefeat.analysis.counts import LayerZeros
from sparsefeat.errors import StoreCorruptError
from sparsefeat.store import Store


def count_store(
    store: Store,
    layers: Sequence[str] | None = None,
    *,
    places: bool = True,
    report: Callable[[int, int, str], None] | None = None,
) -> dict[str, LayerZeros]:
    """Count the zeros of a store's layers.

    Parameters
    ----------
    store
        The store, from `sparsefeat.open`.
    layers
        Names; by default all that it holds.
    places
        Count by position, and in how many pictures each channel is active. That isn't recorded:
        the indices are read, but no values (except of a layer that is stored dense), about 64 MiB
        at a time. Without it, zeros per row and per channel are read as they were recorded, and
        nothing else.
    report
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
                "many: see sparsefeat verify, and extract these pictures again"
            )
        counted = Places(layer) if places else None
        if counted is not None:
            for csr in store[name].supports():
                try:
                    counted.add(csr)
                except ValueError as exc:  # the kernels check the indices' order as they go
                    raise StoreCorruptError(f"{store.folder}, {name}: {exc}") from exc
                done += csr.n_rows
                if report is not None:
                    report(done, total, name)
        found[name] = LayerZeros(
            layer=layer,
            per_row=zeros.per_row,
            per_channel=zeros.per_channel,
            per_position=None if counted is None else counted.per_position,
            active_rows=None if counted is None else counted.active_rows,
        )
    return found
