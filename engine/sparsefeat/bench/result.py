"""The result of a comparison."""

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefeat.bench.agreement import Agreement
from sparsefeat.bench.engines import choose_baseline
from sparsefeat.bench.ratios import (
    CONFIDENCE,
    Float64,
    Interval,
    Ratio,
    compare_rates,
    median_interval,
    noise,
)

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The measured times of one engine at one batch size.

    Attributes
    ----------
    images
        Number of images in one run: in a batch, or, from files, in a pass through the files.
    rounds
        For each round, the seconds of each run of the engine's turn.
    repeats_timed
        The same for the second turn, which one engine has to be compared with itself; empty for
        the others.
    settled
        Whether the times had become steady when the warm-up ended.
    threads_used
        Processor time divided by elapsed time during the engine's turns.
    idle_threads
        Processor time divided by elapsed time while other engines computed.
    delayed
        Share of the time in which the engine's threads were ready but had no processor; 0 if the
        system doesn't report it.
    others
        Number of processors that other programs used during the engine's turns; None if the
        system doesn't report it.
    """

    engine: str
    batch_size: int
    images: int
    agreement: Agreement
    warm_up_seconds: tuple[float, ...]
    settled: bool
    rounds: tuple[tuple[float, ...], ...]
    repeats_timed: tuple[tuple[float, ...], ...]
    threads_used: float
    idle_threads: float
    delayed: float
    others: float | None
    peak_bytes: int | None

    @property
    def rates(self) -> Float64:
        """Images/s of each round: float64 (rounds,)."""
        return self._rates(self.rounds)

    @property
    def repeat_rates(self) -> Float64:
        """Images/s of the second turns: float64 (rounds,) or (0,)."""
        return self._rates(self.repeats_timed)

    @property
    def seconds(self) -> Float64:
        """Seconds of every timed batch; from files, the mean over the batches of each pass."""
        runs = np.concatenate([np.asarray(turn, dtype=np.float64) for turn in self.rounds])
        return runs * (self.batch_size / self.images)

    def _rates(self, turns: tuple[tuple[float, ...], ...]) -> Float64:
        return np.array([self.images * len(turn) / sum(turn) for turn in turns])


@dataclass(frozen=True, kw_only=True)
class Speed:
    """The summary of one engine at one batch size.

    `seconds` are the 50th, 90th and 99th percentile of a batch's time. `ratio` is None for the
    baseline.
    """

    engine: str
    batch_size: int
    images_per_second: Interval
    seconds: tuple[float, float, float]
    baseline: str
    ratio: Ratio | None
    agreement: Agreement


@dataclass(frozen=True, kw_only=True)
class Result:
    """A comparison of engines on one machine.

    Attributes
    ----------
    settings
        The request: model, layers, size, images (and how many of them could not be read),
        threads, seed.
    engines
        What each engine reported: versions, device, precision, error on the probe.
    left_out
        The engines that aren't available here, with the reason.
    measurements
        By batch size and engine, in the order of `ENGINES`.
    environment
        The machine; see `sparsefeat.system.describe_environment`.
    stopped
        Whether the comparison was stopped early.
    """

    settings: dict[str, Any]
    engines: dict[str, dict[str, Any]]
    left_out: dict[str, str]
    measurements: tuple[Measurement, ...]
    environment: dict[str, Any]
    started: str
    seconds: float
    stopped: bool

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The batch sizes that were measured."""
        return tuple(dict.fromkeys(one.batch_size for one in self.measurements))

    def rows(self) -> tuple[Speed, ...]:
        """Summarize each engine at each batch size."""
        return tuple(row for size in self.batch_sizes for row in self._rows(size))

    def frame(self) -> "pd.DataFrame":
        """Return `rows` as a pandas frame."""
        import pandas as pd

        return pd.DataFrame([_flat(row) for row in self.rows()])

    def to_json(self) -> dict[str, Any]:
        """Return everything, raw times included, as values that JSON can hold."""
        return {
            "format": FORMAT,
            "started": self.started,
            "seconds": self.seconds,
            "stopped": self.stopped,
            "settings": self.settings,
            "confidence": CONFIDENCE,
            "engines": self.engines,
            "left_out": self.left_out,
            "rows": [_flat(row) for row in self.rows()],
            "measurements": [asdict(one) for one in self.measurements],
            "environment": self.environment,
        }

    def _rows(self, batch_size: int) -> list[Speed]:
        measured = {one.engine: one for one in self.measurements if one.batch_size == batch_size}
        medians = {name: float(np.median(one.rates)) for name, one in measured.items()}
        baseline = measured[choose_baseline(medians, self.settings["baseline"])]
        itself = self._noise(batch_size)
        return [
            Speed(
                engine=name,
                batch_size=batch_size,
                images_per_second=median_interval(one.rates),
                seconds=tuple(np.quantile(one.seconds, [0.5, 0.9, 0.99]).tolist()),
                baseline=baseline.engine,
                ratio=None
                if one is baseline
                else compare_rates(one.rates, baseline.rates, noise=itself),
                agreement=one.agreement,
            )
            for name, one in measured.items()
        ]

    def _noise(self, batch_size: int) -> float:
        """Estimate the noise at one batch size; infinity if no engine had second turns."""
        twice = [
            one
            for one in self.measurements
            if one.batch_size == batch_size and len(one.repeats_timed)
        ]
        found = [noise(one.rates, one.repeat_rates, seed=self.settings["seed"]) for one in twice]
        return max(found, default=math.inf)


def _flat(row: Speed) -> dict[str, Any]:
    p50, p90, p99 = row.seconds
    ratio = row.ratio
    return {
        "engine": row.engine,
        "batch_size": row.batch_size,
        "images_per_second": row.images_per_second.median,
        "images_per_second_low": row.images_per_second.low,
        "images_per_second_high": row.images_per_second.high,
        "seconds_p50": p50,
        "seconds_p90": p90,
        "seconds_p99": p99,
        "baseline": row.baseline,
        "ratio": 1.0 if ratio is None else ratio.interval.median,
        "ratio_low": None if ratio is None else ratio.interval.low,
        "ratio_high": None if ratio is None else ratio.interval.high,
        "noise": ratio.noise if ratio is not None and math.isfinite(ratio.noise) else None,
        "verdict": "baseline" if ratio is None else ratio.verdict,
        "relative_l2": row.agreement.relative_l2,
        "zeros_agree": row.agreement.zeros_agree,
    }
