"""Made-up comparisons."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sparsefeat.bench import ENGINES, Agreement, Measurement, Result
from sparsefeat.system.environment import describe_environment


def measurement(
    engine: str,
    rates: Sequence[float],
    *,
    batch_size: int = 1,
    reference: str = "keras-predict",
    delayed: float = 0.0,
    others: float | None = 0.0,
    settled: bool = True,
    repeats_timed: Sequence[float] = (),
) -> Measurement:
    """Make one from images/s, a turn of three batches each; `repeats_timed` are second turns."""
    return Measurement(
        engine=engine,
        batch_size=batch_size,
        images=batch_size,
        agreement=Agreement(reference=reference, relative_l2=0.0, zeros_agree=1.0),
        warm_up_seconds=(1.0,),
        settled=settled,
        rounds=tuple((batch_size / rate,) * 3 for rate in rates),
        repeats_timed=tuple((batch_size / rate,) * 3 for rate in repeats_timed),
        threads_used=1.9,
        idle_threads=0.0,
        delayed=delayed,
        others=others,
        peak_bytes=10**8,
    )


def noisy(rate: float, *, rounds: int = 15, sigma: float = 0.02, seed: int = 0) -> list[float]:
    """Draw random rates around a given one."""
    drawn = np.random.default_rng(seed).normal(0, sigma, rounds)
    return [float(one) for one in rate * np.exp(drawn)]


def result(*measurements: Measurement, **changes: Any) -> Result:
    settings: Mapping[str, Any] = {
        "model": "vgg16.onnx",
        "weights": "random:0",
        "layers": ["block5_pool"],
        "size": [224, 224],
        "preprocess": "keras",
        "from_files": False,
        "images": max(one.batch_size for one in measurements),
        "image_paths": ["cat.jpg"],
        "own_images": True,
        "threads": 1,
        "baseline": None,
        "seed": 0,
    }
    facts = {
        one.engine: {
            "label": ENGINES[one.engine].label,
            "framework": ENGINES[one.engine].framework,
            "runs_on": "a test",
            "device": "cpu",
            "precision": ENGINES[one.engine].precision,
        }
        for one in measurements
    }
    machine = describe_environment() | {"load_average": [0.0, 0.0, 0.0]}
    made: dict[str, Any] = {
        "settings": {**settings, **changes.pop("settings", {})},
        "engines": facts,
        "left_out": {},
        "measurements": measurements,
        "environment": machine,
        "started": "2025-01-02T03:04:05+00:00",
        "seconds": 1.0,
        "stopped": False,
    }
    return Result(**(made | changes))
