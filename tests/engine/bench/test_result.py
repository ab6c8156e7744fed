import json
import math

import numpy as np
import pytest

from .results import measurement, noisy, result


def test_noise_comes_from_the_engine_with_two_turns_at_that_batch_size() -> None:
    drift = np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.3, 15)))
    turns = {name: list(rate * drift) for name, rate in (("tf-jit", 10), ("onnxruntime-cpu", 11.5))}
    steady = result(
        measurement("tf-jit", turns["tf-jit"], repeats_timed=turns["tf-jit"]),
        measurement("onnxruntime-cpu", turns["onnxruntime-cpu"]),
        measurement("tf-jit", noisy(10, seed=1), repeats_timed=noisy(10, sigma=0.5), batch_size=8),
        measurement("onnxruntime-cpu", noisy(11.5, seed=2), batch_size=8),
    )
    _, alone, _, batched = steady.rows()
    assert alone.ratio is not None
    assert batched.ratio is not None
    assert (alone.ratio.noise, alone.ratio.verdict) == (0, "faster")
    assert batched.ratio.noise > 0.15
    assert batched.ratio.verdict == "no difference"


def test_numbers_that_are_not_finite_are_null_in_json() -> None:
    """With one round and no second turn, the noise is unknown."""
    found = result(measurement("tf-jit", [10.0]), measurement("onnxruntime-cpu", [15.0]))
    (ratio,) = (row.ratio for row in found.rows() if row.ratio)
    assert math.isinf(ratio.noise)
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert [row["noise"] for row in document["rows"]] == [None, None]
    span = [document["rows"][1][name] for name in ("ratio_low", "ratio_high")]
    assert span == pytest.approx([1.5, 1.5])
