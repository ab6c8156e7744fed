import numpy as np
import numpy.typing as npt
import pytest

from sparsefeat.viz.maps.criteria import contrast, energy, selectivity, variance

MAPS = np.random.default_rng(3).gamma(0.3, 50.0, (5, 7, 4)).astype(np.float32)
EXACT = MAPS.astype(np.float64)


def test_energy_and_variance() -> None:
    np.testing.assert_allclose(energy(MAPS), np.mean(EXACT**2, axis=(0, 1)), rtol=1e-12)
    mean = EXACT.mean(axis=(0, 1))
    expected = np.mean((EXACT - mean) ** 2, axis=(0, 1))
    np.testing.assert_allclose(variance(MAPS), expected, rtol=1e-12)


def test_contrast() -> None:
    for channel in range(4):
        one = EXACT[..., channel]
        steps = [abs(one[r, c] - one[r + 1, c]) for r in range(4) for c in range(7)]
        steps += [abs(one[r, c] - one[r, c + 1]) for r in range(5) for c in range(6)]
        assert contrast(MAPS)[channel] == pytest.approx(np.mean(steps), rel=1e-12)
    assert contrast(MAPS[:1, :1]).tolist() == [0.0] * 4


def test_an_edge_has_contrast_and_a_slope_little() -> None:
    ramp = np.linspace(0, 1, 8, dtype=np.float32) * np.ones((8, 1), np.float32)
    stripes = np.tile(np.array([0, 1], np.float32), (8, 4))
    there = contrast(np.stack([ramp, stripes], axis=-1))
    assert there[1] > 5 * there[0]


def test_selectivity() -> None:
    reference: npt.NDArray[np.float64] = np.array([10.0, 0.0, 20.0, 5.0])
    got = selectivity(MAPS, reference)
    for channel in range(4):
        here = EXACT[..., channel].mean()
        there = reference[channel]
        assert got[channel] == pytest.approx((here - there) / (here + there + 35 / 4), rel=1e-12)
    silent = np.zeros((2, 2, 4), np.float32)
    assert selectivity(silent, np.zeros(4)).tolist() == [0.0] * 4
    # Damped: a whisper that is nowhere else isn't more selective than a shout that is rare.
    both = np.array([[[1e-3, 100.0]]], np.float32)
    whisper, shout = selectivity(both, np.array([0.0, 20.0]))
    assert whisper < 0.001 < shout
