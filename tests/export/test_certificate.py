import numpy as np
import pytest

from sparsefeat_export.certificate import Certificate, Errors, LayerErrors
from sparsefeat_export.errors import CertificateError


def certificate(relative_l2: float = 1e-6, agreement: float = 1.0) -> Certificate:
    layers = (
        LayerErrors(layer="good", max_abs=0.0, relative_l2=0.0, agreement=1.0),
        LayerErrors(layer="other", max_abs=0.5, relative_l2=relative_l2, agreement=agreement),
    )
    return Certificate(layers=layers, images=(("cat.jpg", "00"),))


def test_errors_are_of_all_images_together() -> None:
    rng = np.random.default_rng(0)
    expected = np.maximum(rng.standard_normal((4, 1, 6, 5, 3)), 0).astype(np.float32)
    got = expected.copy()
    got[1, 0, 0, 0, 0] += 0.5
    got[2, 0, 3, 3] = 0
    summed, first, second = Errors(), Errors(), Errors()
    for index in range(4):
        summed.add(expected[index], got[index])
        (first if index < 2 else second).add(expected[index], got[index])
    first.merge(second)
    assert first == summed
    assert summed.max_abs == np.abs(got - expected).max()
    assert summed.relative_l2 == pytest.approx(
        np.linalg.norm(got - expected) / np.linalg.norm(expected), rel=1e-6
    )
    assert summed.agreement == np.mean((got == 0) == (expected == 0))
    assert summed.agreement < 1


def test_errors_within_the_limits_pass() -> None:
    certificate(relative_l2=1e-5, agreement=0.9999).check()


@pytest.mark.parametrize(
    ("relative_l2", "agreement"),
    [(1.01e-5, 1.0), (0.0, 0.99989), (float("nan"), 1.0), (0.0, float("nan"))],
)
def test_the_layer_beyond_a_limit_is_named(relative_l2: float, agreement: float) -> None:
    with pytest.raises(CertificateError, match=r"'other'.*relative L2.*1 images"):
        certificate(relative_l2, agreement).check()


def test_nan_exceeds_the_limits() -> None:
    errors = Errors()
    errors.add(np.ones((1, 4), np.float32), np.array([[1, np.nan, 1, 1]], np.float32))
    assert np.isnan(errors.relative_l2)
    assert np.isnan(errors.max_abs)


def test_a_layer_of_only_zeros_agrees_or_differs_infinitely() -> None:
    zeros = np.zeros((1, 4), np.float32)
    errors = Errors()
    errors.add(zeros, zeros)
    assert (errors.relative_l2, errors.agreement) == (0.0, 1.0)
    errors.add(zeros, zeros + 1)
    assert errors.relative_l2 == float("inf")


def test_subnormal_numbers_count_as_zeros() -> None:
    # A confident softmax gives 0 in one program, and a subnormal from exp(-100) in another.
    errors = Errors()
    errors.add(np.array([1, 0, 1e-40, 1e-37], np.float32), np.array([1, 1e-40, 0, 0], np.float32))
    assert errors.agreement == 0.75
