"""How a layer's activations are counted: each channel in scales of its own, 255 at most.

Channels differ by orders of magnitude, and a scale for all would leave the faint ones few values.
But a channel's largest value on a few images says little of the next image, the less
the deeper the layer is. How far to trust it is therefore tried out: what one half of the
images suggests is judged on the other.

Most values of a channel lie far below its largest. Some channels are therefore split into two:
one counts fine scales, the other what is beyond 255 of those. Their sum is the channel.

Steps have few bits. A channel's value, one half or two, is then a whole number of its first scale
that float32 holds exactly, in whatever order it is multiplied and added up: every provider gives
the same, and it can be stored as that number.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEVELS = 255
TRUSTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # 0: one scale for the layer; 1: each channel its own
MARGINS = (1.1, 1.25, 1.5, 2.0)
LARGEST_MARGIN = 1.1  # of the layer's largest value, which is the best known
FLOOR = 1e-30  # of a layer that is silent altogether
FAINTEST = 1e-3  # of the layer's largest value; a channel may have been silent
# How many fine scales of a split channel make one of the others; what is beyond is counted in one
# less. Where the weights behind are rounded, both halves have the same scales: an input that counts
# finer than the others has smaller weights than they, and of those fewer bits are left.
# One more than a power of 2, because OpenVINO divides fine counts by what those beyond are worth.
HALVES: tuple[int, ...] = (2,)
FINENESSES: tuple[int, ...] = (5, 9, 17, 33)
# Of a scale. A channel counts up to 255 + 255 * 32 of its finest scales: 14 bits more, 24 in all.
BITS = 10


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How channels are counted: the first in their order, then what is beyond for those split.

    Attributes
    ----------
    channel
        The channel that each count is of: int64 (counts,).
    scales
        What one is worth: (counts,).
    beyond
        The activation that counting starts at: 0, or 255 fine scales: (counts,).
    """

    channel: npt.NDArray[np.int64]
    scales: Floats
    beyond: Floats

    def of(self, activations: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Count rectified activations, (C, H, W), as the graph does: (counts, H, W)."""
        counted = activations[self.channel]
        counted -= self.beyond.astype(np.float32)[:, None, None]
        counted /= self.scales.astype(np.float32)[:, None, None]
        return np.rint(counted, out=counted).clip(0, LEVELS, out=counted).astype(np.uint8)

    def whole(
        self, counted: npt.NDArray[np.uint8]
    ) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
        """Add up the halves of split channels, in their first scales: (counts, H, W) to (C, H, W).

        Without a split channel it gives `counted` itself, uint8, else uint16.
        """
        n_channels = int(self.channel.max()) + 1
        if len(counted) == n_channels:
            return counted
        together = counted[:n_channels].astype(np.uint16)
        split = self.channel[n_channels:]
        times = np.rint(self.scales[n_channels:] / self.scales[split]).astype(np.uint16)
        together[split] += times[:, None, None] * counted[n_channels:]
        return together


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """What a view showed of a layer: `largest` of each channel, (C,), `samples` (positions, C)."""

    largest: Floats
    samples: npt.NDArray[np.float32]


def scales_from_ranges(largest: Floats, trust: float, margin: float) -> Floats:
    """Give the scales of channels whose largest values, (C,), were seen."""
    top = max(float(largest.max()), FLOOR)
    own = np.maximum(largest, FAINTEST * top)
    ranges: Floats = np.minimum(margin * own**trust * top ** (1 - trust), LARGEST_MARGIN * top)
    return ranges / LEVELS


def round_scales(scales: Floats) -> Floats:
    """Round scales to `BITS` significant bits, at most 0.1 % away.

    Examples
    --------
    >>> short(np.array([1.0, 0.1])).tolist()
    [1.0, 0.0999755859375]
    """
    fractions, exponents = np.frexp(scales)
    rounded: Floats = np.ldexp(np.rint(np.ldexp(fractions, BITS)), exponents - BITS)
    return rounded


def choose_scales(views: Sequence[Ranges]) -> Floats:
    """Give scales by the rule that serves the unseen half best: (C,).

    Views of one image lie side by side: they are to be in the same half.
    """
    half = len(views) // 2
    folds = ((views[:half], views[half:]), (views[half:], views[:half]))
    unseen = [np.concatenate([one.samples for one in others]) for _, others in folds]

    def cost(rule: tuple[float, float]) -> float:
        total = 0.0
        for (seen, _), values in zip(folds, unseen, strict=True):
            error = _whole(values, scales_from_ranges(_largest(seen), *rule)) - values
            total += float(np.vdot(error, error))
        return total

    rule = min(((trust, margin) for trust in TRUSTS for margin in MARGINS), key=cost)
    return scales_from_ranges(_largest(views), *rule)


def split(
    scales: Floats,
    views: Sequence[Ranges],
    importance: Floats,
    n_split: int,
    finenesses: Sequence[int],
) -> Counts:
    """Split the `n_split` channels where that takes most of the error away.

    Parameters
    ----------
    scales
        Of channels that are not split, which are rounded here: (C,).
    importance
        What an error of a channel weighs, by its square: (C,).
    finenesses
        How many fine scales may make one of `scales`.
    """
    scales = round_scales(scales)
    values = np.concatenate([one.samples for one in views])
    least = np.full(len(scales), np.inf)
    fine = coarse = scales
    for fineness in finenesses:
        smaller = round_scales(scales / fineness)
        larger = (fineness - 1) * smaller
        beyond = np.maximum(values - (LEVELS * smaller).astype(np.float32), 0)
        rounded = _whole(values, smaller) + _whole(beyond, larger)
        error = _squared_error(values, rounded)
        fine = np.where(error < least, smaller, fine)
        coarse = np.where(error < least, larger, coarse)
        least = np.minimum(error, least)
    gain = (_squared_error(values, _whole(values, scales)) - least) * importance
    chosen = np.sort(np.argsort(-gain, kind="stable")[:n_split])
    first = scales.copy()
    first[chosen] = fine[chosen]
    return Counts(
        channel=np.concatenate([np.arange(len(scales)), chosen]),
        scales=np.concatenate([first, coarse[chosen]]),
        beyond=np.concatenate([np.zeros(len(scales)), LEVELS * first[chosen]]),
    )


def _whole(values: npt.NDArray[np.float32], scales: Floats) -> npt.NDArray[np.float32]:
    """Round to whole scales, 255 at most."""
    small = scales.astype(np.float32)
    rounded: npt.NDArray[np.float32] = np.minimum(np.rint(values / small), LEVELS) * small
    return rounded


def _squared_error(values: npt.NDArray[np.float32], rounded: npt.NDArray[np.float32]) -> Floats:
    error: Floats = np.square(rounded - values).sum(axis=0, dtype=np.float64)
    return error


def _largest(views: Sequence[Ranges]) -> Floats:
    largest: Floats = np.max([one.largest for one in views], axis=0)
    return largest
