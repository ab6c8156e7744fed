"""What a layer's channels do on other photographs."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import LayerError, SourceError, StoreMismatchError
from sparsefeat.store import differences, is_store
from sparsefeat_kernels import Csr

if TYPE_CHECKING:
    from sparsefeat.images import Picture
    from sparsefeat.pipeline.extractor import Extractor
    from sparsefeat.types import Reject


def channel_means(
    extractor: "Extractor", reference: "str | os.PathLike[str] | Iterable[Picture | Reject]"
) -> npt.NDArray[np.float64]:
    """Average each channel over all places of all photographs of a reference set.

    Parameters
    ----------
    extractor
        Of the one layer wanted, not pooled.
    reference
        A store that holds the layer, made with the same settings; or photographs, one or several
        as `Extractor.extract` takes them, which go through the network now.

    Returns
    -------
    float64 (C,), summed in double.

    Raises
    ------
    StoreMismatchError
        The store was made with other settings.
    LayerError
        It doesn't hold the layer.
    SourceError
        There are no photographs, or none of them could be read.
    """
    (layer,) = extractor.layers.values()
    if isinstance(reference, str | os.PathLike) and is_store(reference):
        rows = _stored(extractor, Path(reference))
    else:
        rows = (batch.layers[layer.name] for batch in extractor.extract(reference))
    sums, n_rows = np.zeros(layer.n_channels), 0
    for csr in rows:
        channels = csr.indices % layer.n_channels
        sums += np.bincount(channels, weights=csr.values, minlength=layer.n_channels)
        n_rows += csr.n_rows
    if not n_rows:
        raise SourceError(
            "the reference has no photograph that could be read, expected at least one: name others"
        )
    return sums / (n_rows * (layer.n_features // layer.n_channels))


def _stored(extractor: "Extractor", folder: Path) -> Iterator[Csr]:
    from sparsefeat.store import Store

    store = Store(folder)
    (layer,) = extractor.layers
    if different := differences(store.settings, extractor.settings):
        raise StoreMismatchError(
            f"{folder} was made otherwise: {'; '.join(different)}: take a store made with the same "
            "model and preprocessing, or photographs"
        )
    if layer not in store.layers:
        raise LayerError(
            f"{folder} has no layer {layer}, it holds {', '.join(store.layers)}: take a store of "
            "that layer, or photographs"
        )
    for _, matrix in store.batches(layer):
        yield Csr(
            matrix.indptr.astype(np.int64),
            matrix.indices,
            matrix.data,
            store.layers[layer].n_features,
        )
