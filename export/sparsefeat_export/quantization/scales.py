"""Choose how a layer's activations are coded: a scale for each channel, and codes 0 to 255.

Channels differ by orders of magnitude, and one scale for all of them would leave few codes to weak
channels. But the largest value of a channel on a few images predicts little about other images,
and less so in deeper layers. How much to trust it is therefore determined by cross-validation:
the rule from one half of the images is judged on the other half.

Most values of a channel are far below its largest. Some channels are therefore split into two
halves: a fine one, and a coarse one for the part of a value beyond 255 fine scales. The value is
the sum of both.

Scales have few significant bits. A value is then a whole multiple of the channel's first scale
that float32 represents exactly, in whatever order it is computed. Every provider computes the same
values, and the store can hold them as integer codes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEVELS = 255
TRUSTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # 0: one scale for the layer; 1: one for each channel
MARGINS = (1.1, 1.25, 1.5, 2.0)
LARGEST_MARGIN = 1.1  # for the layer's largest value, which is known best
FLOOR = 1e-30  # largest value assumed for a layer that is always zero
FAINTEST = 1e-3  # smallest range of a channel, relative to the layer's largest value
# Ratios of a channel's unsplit scale to its fine scale; the coarse scale is one less times the fine
# scale. If the next layer is quantized, both halves have the same scale: inputs with finer scales
# would need smaller weights, of which fewer bits would be left.
# The ratios are powers of 2 plus 1, because OpenVINO divides fine codes by the coarse scale.
HALVES: tuple[int, ...] = (2,)
FINENESSES: tuple[int, ...] = (5, 9, 17, 33)
# Significant bits of a scale. Codes in fine scales go up to 255 + 255 * 32, which takes 14 bits; 24
# bits in all fit into the mantissa of a float32.
BITS = 10


@dataclass(frozen=True, kw_only=True)
class Coding:
    """How a layer is coded: all channels in order, then the coarse halves of split channels.

    Attributes
    ----------
    channel
        int64 (codes,): the channel that each code belongs to.
    scales
        float64 (codes,): the value of code 1.
    beyond
        float64 (codes,): the activation at which a code starts, 0 or 255 fine scales.
    """

    channel: npt.NDArray[np.int64]
    scales: Floats
    beyond: Floats

    def encode(self, activations: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Code rectified activations (C, H, W) as the graph does: uint8 (codes, H, W)."""
        codes = activations[self.channel]
        codes -= self.beyond.astype(np.float32)[:, None, None]
        codes /= self.scales.astype(np.float32)[:, None, None]
        return np.rint(codes, out=codes).clip(0, LEVELS, out=codes).astype(np.uint8)

    def combine(
        self, codes: npt.NDArray[np.uint8]
    ) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
        """Add the halves of split channels, in units of their first scales: (C, H, W).

        The result is uint16; without split channels it is `codes` itself, uint8.
        """
        n_channels = int(self.channel.max()) + 1
        if len(codes) == n_channels:
            return codes
        together = codes[:n_channels].astype(np.uint16)
        split = self.channel[n_channels:]
        times = np.rint(self.scales[n_channels:] / self.scales[split]).astype(np.uint16)
        together[split] += times[:, None, None] * codes[n_channels:]
        return together


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """Activations of a layer for one view: `largest` (C,), and `samples` (positions, C)."""

    largest: Floats
    samples: npt.NDArray[np.float32]


def scales_from_ranges(largest: Floats, trust: float, margin: float) -> Floats:
    """Compute the scales of channels from their largest values, both (C,)."""
    top = max(float(largest.max()), FLOOR)
    own = np.maximum(largest, FAINTEST * top)
    ranges: Floats = np.minimum(margin * own**trust * top ** (1 - trust), LARGEST_MARGIN * top)
    return ranges / LEVELS


def round_scales(scales: Floats) -> Floats:
    """Round scales to `BITS` significant bits, which changes them by at most 0.1 %.

    Examples
    --------
    >>> round_scales(np.array([1.0, 0.1])).tolist()
    [1.0, 0.0999755859375]
    """
    fractions, exponents = np.frexp(scales)
    rounded: Floats = np.ldexp(np.rint(np.ldexp(fractions, BITS)), exponents - BITS)
    return rounded


def choose_scales(views: Sequence[Ranges]) -> Floats:
    """Choose scales, (C,), by the rule with the smallest error in cross-validation.

    Views of the same image must be consecutive, so that they fall into the same half.
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
) -> Coding:
    """Split the `n_split` channels for which that reduces the error most.

    Parameters
    ----------
    scales
        (C,): scales of unsplit channels; they are rounded by `round_scales` here.
    importance
        (C,): weight of a channel's squared error.
    finenesses
        Allowed ratios of an unsplit scale to the fine scale.
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
    return Coding(
        channel=np.concatenate([np.arange(len(scales)), chosen]),
        scales=np.concatenate([first, coarse[chosen]]),
        beyond=np.concatenate([np.zeros(len(scales)), LEVELS * first[chosen]]),
    )


def _whole(values: npt.NDArray[np.float32], scales: Floats) -> npt.NDArray[np.float32]:
    """Round values to whole multiples of their scales, up to 255 times the scale."""
    small = scales.astype(np.float32)
    rounded: npt.NDArray[np.float32] = np.minimum(np.rint(values / small), LEVELS) * small
    return rounded


def _squared_error(values: npt.NDArray[np.float32], rounded: npt.NDArray[np.float32]) -> Floats:
    error: Floats = np.square(rounded - values).sum(axis=0, dtype=np.float64)
    return error


def _largest(views: Sequence[Ranges]) -> Floats:
    largest: Floats = np.max([one.largest for one in views], axis=0)
    return largest
