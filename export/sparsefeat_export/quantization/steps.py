"""The step of each channel's activations, so that 255 of them hold what may come.

Channels differ by orders of magnitude, and a step for all would leave the faint ones few values.
But a channel's largest value on a few photographs says little of the next photograph, the less
the deeper the layer is. How far to trust it is therefore tried out: what one half of the
photographs suggests is judged on the other.
"""

from collections.abc import Sequence

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


def chosen_steps(largest: Sequence[Floats], samples: Sequence[npt.NDArray[np.float32]]) -> Floats:
    """Give steps by the rule that serves the unseen half best.

    Parameters
    ----------
    largest
        Each view's largest values, (C,), views of one photograph side by side.
    samples
        Some of each view's activations, (positions, C), of the same views.
    """
    half = len(largest) // 2
    folds = ((slice(None, half), slice(half, None)), (slice(half, None), slice(None, half)))

    def cost(rule: tuple[float, float]) -> float:
        total = 0.0
        for seen, unseen in folds:
            steps = steps_of(np.max(largest[seen], axis=0), *rule).astype(np.float32)
            values = np.concatenate(samples[unseen])
            error = np.minimum(np.rint(values / steps), LEVELS) * steps - values
            total += float(np.vdot(error, error))
        return total

    rule = min(((trust, margin) for trust in TRUSTS for margin in MARGINS), key=cost)
    return steps_of(np.max(largest, axis=0), *rule)
