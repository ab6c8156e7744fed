"""Chooses channels: by number, or the best by a criterion.

Criteria are computed from the layer's output, after ReLU, whatever stage is shown.
"""

import operator
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, SupportsIndex, get_args

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError, LayerError, SourceError, StoreMismatchError
from sparsefeat.store import Store, differences, is_store

if TYPE_CHECKING:
    from sparsefeat.images import ImageInput
    from sparsefeat.pipeline import Extractor
    from sparsefeat.types import Reject

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

Criterion = Literal["energy", "variance", "contrast", "selectivity"]

CRITERIA: tuple[str, ...] = get_args(Criterion)

_ITEM = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")
_TOP = re.compile(r"top:(\d{1,9})")
CHANNELS_SYNTAX = "all, 5, 3,8,12, 0-15 or top:16"
AT_ONCE = 1 << 23  # elements of a store read at once: 64 MiB if none is zero


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """The channels to show: by number, in this order, or the best `top`.

    `numbers` is None for all channels.
    """

    numbers: tuple[int, ...] | None = None
    top: int | None = None

    def choose(
        self, n_channels: int, scores: npt.NDArray[np.float64] | None
    ) -> npt.NDArray[np.int64]:
        """Return the numbers of the channels, int64 (k,).

        Parameters
        ----------
        n_channels
            Number of channels of the layer.
        scores
            float64 (n_channels,): the channels with the highest scores come first; of two channels
            with equal scores, the one with the lower number does. Without scores the channels keep
            their order, and `top` must be None.

        Raises
        ------
        InputError
            The layer has fewer channels.
        """
        if self.top is not None and not 1 <= self.top <= n_channels:
            raise InputError(
                f"got channels top:{self.top}, expected top:1 to top:{n_channels}: the layer has "
                f"{n_channels} channels"
            )
        numbers = np.array(range(n_channels) if self.numbers is None else self.numbers, np.int64)
        if numbers.max() >= n_channels:
            raise InputError(
                f"got channel {numbers.max()}, expected 0 to {n_channels - 1}: "
                f"the layer has {n_channels} channels"
            )
        if scores is not None:
            numbers = numbers[np.lexsort((numbers, -scores[numbers]))]
        return numbers[: self.top]


def parse_channels(channels: str | int | Sequence[int]) -> Selection:
    """Parse a choice of channels: ``all``, ``5``, ``3,8,12``, ``0-15``, ``0-3,8``, or ``top:16``.

    A number or a sequence of numbers is allowed too. Repeated numbers count once.

    Raises
    ------
    InputError
        `channels` is none of these.

    Examples
    --------
    >>> parse_channels("0-2,7").numbers
    (0, 1, 2, 7)
    >>> parse_channels("top:16").top
    16
    """
    if not isinstance(channels, str):
        if isinstance(channels, bytes | Mapping) or not isinstance(
            channels, Iterable | SupportsIndex
        ):
            raise InputError(
                f"got channels as a {type(channels).__name__}, expected {CHANNELS_SYNTAX}"
            )
        numbers: list[object]
        try:
            numbers = [channels] if isinstance(channels, bool) else [operator.index(channels)]  # type: ignore[arg-type]
        except TypeError:
            numbers = list(channels)  # type: ignore[arg-type]
        channels = ",".join(map(str, numbers))
    if channels.strip() == "all":
        return Selection()
    if top := _TOP.fullmatch(channels.strip()):
        return Selection(top=int(top[1]))
    found: dict[int, None] = {}
    for word in channels.split(","):
        item = _ITEM.fullmatch(word.strip())
        if item is None:
            raise InputError(f"got channels {channels!r}, expected {CHANNELS_SYNTAX}")
        first, last = int(item[1]), int(item[2] or item[1])
        if not first <= last < 1 << 20:
            raise InputError(
                f"got channels {word.strip()!r}, expected the lower number first, such as 0-15"
            )
        found.update(dict.fromkeys(range(first, last + 1)))
    return Selection(numbers=tuple(found))


def energy(maps: Float32) -> Float64:
    """Return the mean over all positions of the squared activation.

    Parameters
    ----------
    maps
        float32 (H, W, C); squares and sums are computed in float64.

    Returns
    -------
    float64 (C,)

    Examples
    --------
    >>> energy(np.array([[[3.0], [1.0]]], np.float32))
    array([5.])
    """
    means: Float64 = np.square(maps, dtype=np.float64).mean(axis=(0, 1))
    return means


def variance(maps: Float32) -> Float64:
    """Return the variance over all positions: the mean squared distance from the channel's mean.

    Parameters and result are those of `energy`.

    Examples
    --------
    >>> variance(np.array([[[3.0], [1.0]]], np.float32))
    array([1.])
    """
    variances: Float64 = maps.var(axis=(0, 1), dtype=np.float64)
    return variances


def contrast(maps: Float32) -> Float64:
    """Return the mean absolute difference between neighbours, along rows and columns.

    Every pair of neighbours counts once: H * (W - 1) along rows and (H - 1) * W along columns.
    Sharp edges have a high contrast, smooth areas a low one; a map of one position has 0.
    Parameters and result are those of `energy`.

    Examples
    --------
    >>> contrast(np.array([[[3.0], [1.0]]], np.float32))
    array([2.])
    """
    exact = maps.astype(np.float64)
    height, width, _ = maps.shape
    total: Float64 = np.abs(np.diff(exact, axis=0)).sum(axis=(0, 1))
    total += np.abs(np.diff(exact, axis=1)).sum(axis=(0, 1))
    pairs: int = height * (width - 1) + (height - 1) * width
    return total / max(pairs, 1)


def selectivity(maps: Float32, reference: Float64) -> Float64:
    """Return how much more active each channel is than for the reference images, from -1 to 1.

    With ``a`` the channel's mean over all positions, ``r`` its mean over the reference images,
    and ``m`` the mean of ``r`` over all channels of the layer::

        (a - r) / (a + r + m)

    This is the contrast index (a - r) / (a + r), damped by ``m``. Without ``m``, a channel that
    is nearly zero here and exactly zero elsewhere would be the most selective one.

    Parameters
    ----------
    maps
        float32 (H, W, C), not negative.
    reference
        float64 (C,): mean activation of each channel over the positions of all reference images.

    Returns
    -------
    float64 (C,)

    Examples
    --------
    >>> selectivity(np.array([[[3.0, 0.0]]], np.float32), np.array([1.0, 1.0]))
    array([ 0.4, -0.5])
    """
    here: Float64 = maps.mean(axis=(0, 1), dtype=np.float64)
    total = here + reference + reference.mean()
    index: Float64 = np.zeros_like(here)
    np.divide(here - reference, total, out=index, where=total > 0)
    return index


OF_ONE_IMAGE: dict[str, Callable[[Float32], Float64]] = {
    "energy": energy,
    "variance": variance,
    "contrast": contrast,
}


def channel_means(
    extractor: "Extractor", reference: "str | os.PathLike[str] | Iterable[ImageInput | Reject]"
) -> npt.NDArray[np.float64]:
    """Return the mean of each channel over all positions of the reference images.

    Parameters
    ----------
    extractor
        An extractor of one layer, without pooling.
    reference
        A store that has the layer and was made with the same settings; or images, as
        `Extractor.extract` takes them, which are run through the network.

    Returns
    -------
    float64 (C,), summed in float64.

    Raises
    ------
    StoreMismatchError
        The store was made with other settings.
    LayerError
        The store doesn't have the layer.
    SourceError
        No image could be read.
    """
    (layer,) = extractor.layers.values()
    if isinstance(reference, str | os.PathLike) and is_store(reference):
        store = _opened(reference, extractor)
        batches = store[layer.name].batches(batch_size=max(1, AT_ONCE // layer.n_features))
        found = ((matrix.indices, matrix.data, len(rows)) for rows, matrix in batches)
    else:
        rows_of = (batch.layers[layer.name] for batch in extractor.extract(reference))
        found = ((csr.indices, csr.data, csr.n_rows) for csr in rows_of)
    sums, n_rows = np.zeros(layer.n_channels), 0
    for indices, values, count in found:
        sums += np.bincount(indices % layer.n_channels, weights=values, minlength=layer.n_channels)
        n_rows += count
    if not n_rows:
        raise SourceError("no image of the reference could be read: name other images as reference")
    return sums / (n_rows * (layer.n_features // layer.n_channels))


def _opened(folder: str | os.PathLike[str], extractor: "Extractor") -> Store:
    """Open a store that has the extractor's layer and the same settings."""
    store, name = Store(folder), os.fspath(folder)
    (layer,) = extractor.layers
    if different := differences(store.settings, extractor.settings):
        raise StoreMismatchError(
            f"the reference {name} was made with other settings ({'; '.join(different)}): use a "
            "store made with the same model and preprocessing, or images"
        )
    if layer not in store.layers:
        raise LayerError(
            f"the reference {name} has no layer {layer}, it has {', '.join(store.layers)}: use a "
            "store with that layer, or images"
        )
    return store
