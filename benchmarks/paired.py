"""Times several candidates that do the same work, in turn.

On a shared machine, speed can halve from one minute to the next. So candidates take turns in
rounds, each in a new random order, and are compared round by round. No candidate always follows
the same other one, and a pause lets the other's threads fall asleep.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from sparsefeat.bench.schedule import PAUSE_SECONDS


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times as fast one candidate is as another: median and quartiles over the rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Named functions of no arguments, and the seconds that each took in each round.

    Parameters
    ----------
    ways
        What is compared.
    between
        Called before each of them, untimed.
    pause_seconds
        How long nothing is done before each of them, untimed.
    seed
        Of the orders.
    """

    ways: Mapping[str, Callable[[], object]]
    between: Callable[[], object] = lambda: None
    pause_seconds: float = PAUSE_SECONDS
    seed: int = 0
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def warm_up(self) -> None:
        """Call each once, untimed."""
        for way in self.ways.values():
            self.between()
            way()

    def round(self) -> None:
        """Time each once, in an order drawn for this round."""
        names = list(self.ways)
        number = len(self.seconds.get(names[0], []))
        for index in np.random.default_rng((self.seed, number)).permutation(len(names)):
            name = names[index]
            self.between()
            time.sleep(self.pause_seconds)
            start = time.perf_counter()
            self.ways[name]()
            self.seconds.setdefault(name, []).append(time.perf_counter() - start)

    def ratio(self, fast: str, slow: str) -> Ratio:
        """Compute how many times as fast `fast` is as `slow`."""
        ratios = np.divide(self.seconds[slow], self.seconds[fast])
        low, middle, high = np.percentile(ratios, [25, 50, 75])
        return Ratio(median=float(middle), low=float(low), high=float(high))

    def figures(self, n_images: int, *, against: str) -> dict[str, Any]:
        """Summarize the rounds: each candidate's rate, and its speed relative to `against`."""
        return {
            name: {
                **rates(seconds, n_images),
                "seconds": seconds,
                f"times_as_fast_as_{against}": asdict(self.ratio(name, against)),
            }
            for name, seconds in self.seconds.items()
        }


def rates(seconds: Iterable[float], n_images: int) -> dict[str, float]:
    """Compute images/s at the median, and percentiles of the seconds that `n_images` took."""
    p50, p90, p99 = (float(value) for value in np.percentile(list(seconds), [50, 90, 99]))
    return {
        "images_per_second": n_images / p50,
        "p50_seconds": p50,
        "p90_seconds": p90,
        "p99_seconds": p99,
    }
