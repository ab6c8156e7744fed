"""The step of each channel's activations, so that 255 of them hold what may come.

Channels differ by orders of magnitude, and a step for all would leave the faint ones few values.
But a channel's largest value on a few photographs says little of the next photograph, the less
the deeper the layer is. How far to trust it is therefore tried out: what one half of the
photographs suggests is judged on the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEVELS = 255
TRUSTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # 0: one step for the layer; 1: each channel its own
MARGINS = (1.25, 1.5, 2.0)
LARGEST_MARGIN = 1.25  # of the layer's largest value, which is the best known
FLOOR = 1e-30  # of a layer that is silent altogether
FAINTEST = 1e-3  # of the layer's largest value; a channel may have been silent


def steps_of(largest: Floats, trust: float, margin: float) -> Floats:
    """Give the steps of channels whose largest values, (C,), were seen."""
    top = max(float(largest.max()), FLOOR)
    own = np.maximum(largest, FAINTEST * top)
    ranges: Floats = np.minimum(margin * own**trust * top ** (1 - trust), LARGEST_MARGIN * top)
    return ranges / LEVELS


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """What a view showed of a layer: `largest` of each channel, (C,), `samples` (positions, C)."""

    largest: Floats
    samples: npt.NDArray[np.float32]


def chosen_steps(views: Sequence[Ranges]) -> Floats:
    """Give steps by the rule that serves the unseen half best.

    Views of one photograph lie side by side: they are to be in the same half.
    """
    half = len(views) // 2
    folds = ((views[:half], views[half:]), (views[half:], views[:half]))
    unseen = [np.concatenate([one.samples for one in others]) for _, others in folds]

    def cost(rule: tuple[float, float]) -> float:
        total = 0.0
        for (seen, _), values in zip(folds, unseen, strict=True):
            steps = steps_of(_largest(seen), *rule).astype(np.float32)
            error = np.minimum(np.rint(values / steps), LEVELS) * steps - values
            total += float(np.vdot(error, error))
        return total

    rule = min(((trust, margin) for trust in TRUSTS for margin in MARGINS), key=cost)
    return steps_of(_largest(views), *rule)


def _largest(views: Sequence[Ranges]) -> Floats:
    largest: Floats = np.max([one.largest for one in views], axis=0)
    return largest
