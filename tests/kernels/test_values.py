from collections.abc import Callable

import numcodecs
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsefeat_kernels import (
    Csr,
    dequantize,
    encode,
    quantize_linear,
    quantize_squared,
    reference,
    round_half,
    round_mantissa,
    sum_errors,
    update_maxima,
)

from .common import (
    SPECIAL_BITS,
    assert_same_dense,
    bits,
    dense_rows,
    property_settings,
    random_rows,
)

Float32 = npt.NDArray[np.float32]


@st.composite
def any_bits(draw: st.DrawFn) -> Float32:
    """Draw float32 (n,) of any bits, many near a power of 2 or half-way between two values."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    patterns = rng.integers(0, 2**32, draw(st.integers(0, 300)), np.uint32)
    dropped = rng.integers(0, 23, len(patterns), np.uint32)
    near = (patterns >> dropped << dropped) ^ (np.uint32(1) << dropped >> np.uint32(1))
    near += rng.integers(-1, 2, len(patterns)).astype(np.uint32)
    return np.concatenate([patterns, near, SPECIAL_BITS]).view(np.float32)


@given(any_bits(), st.integers(1, 23))
@property_settings
def test_mantissas_are_rounded_to_the_nearest(values: Float32, n_bits: int) -> None:
    rounded = round_mantissa(values, n_bits)
    assert_same_dense(rounded, reference.round_mantissa(values, n_bits))
    assert_same_dense(round_mantissa(rounded, n_bits), rounded)
    np.testing.assert_array_equal(rounded != 0, values != 0)
    np.testing.assert_array_equal(np.isfinite(rounded), np.isfinite(values))
    normal = np.isfinite(values) & (np.abs(values) >= 2.0**-126) & (np.abs(values) < 2.0**126)
    error = np.abs(rounded[normal].astype(np.float64) - values[normal])
    assert (error <= np.abs(values[normal]) * 2.0 ** -(n_bits + 1)).all()


@given(any_bits(), st.integers(1, 22))
@property_settings
def test_mantissas_equal_those_of_numcodecs(values: Float32, n_bits: int) -> None:
    usual = np.isfinite(values) & (np.abs(values) < 1e38) & (np.abs(values) > 1e-37)
    values = values[usual]
    theirs = numcodecs.BitRound(keepbits=n_bits).encode(values.copy()).view(np.float32)
    assert_same_dense(round_mantissa(values, n_bits), theirs)


@given(any_bits())
@property_settings
def test_halves_are_rounded_without_new_zeros_or_infinities(values: Float32) -> None:
    rounded = round_half(values)
    assert_same_dense(rounded, reference.round_half(values))
    assert_same_dense(round_half(rounded), rounded)
    np.testing.assert_array_equal(rounded != 0, values != 0)
    finite = np.isfinite(values)
    assert_same_dense(rounded[finite].astype(np.float16).astype(np.float32), rounded[finite])
    np.testing.assert_array_equal(np.isfinite(rounded), finite)


def test_halves_equal_those_of_numpy_unless_those_are_zero() -> None:
    exponents = np.linspace(-24, 15.999, 100_001)
    values = (2.0**exponents).astype(np.float32)
    assert_same_dense(round_half(values), values.astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("n_bits", [1, 7, 10, 23])
def test_no_rounded_mantissa_becomes_infinite_or_zero(n_bits: int) -> None:
    ends = np.array([0x7F7FFFFF, 0x00000001, 0xFF7FFFFF, 0x80000001], np.uint32)
    rounded = round_mantissa(ends.view(np.float32), n_bits)
    assert np.isfinite(rounded).all()
    assert (rounded != 0).all()
    assert (np.sign(rounded) == [1, 1, -1, -1]).all()


def test_rounding_in_place_and_into_given_memory() -> None:
    values = np.linspace(-3, 3, 1000, dtype=np.float32)
    expected = round_mantissa(values, 3)
    out = np.empty_like(values)
    assert round_mantissa(values, 3, out=out) is out
    assert_same_dense(out, expected)
    copy = values.copy()
    assert_same_dense(round_mantissa(copy, 3, out=copy), expected)
    assert_same_dense(round_half(values.copy(), out=out), round_half(values))


@given(dense_rows())
@property_settings
def test_sums_of_errors_equal_the_reference(x: Float32) -> None:
    csr = encode(x)
    stored = round_mantissa(csr.data, 5)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(
            sum_errors(csr, stored), reference.sum_errors(csr, stored), rtol=1e-9
        )


def test_equal_values_have_no_error() -> None:
    csr = encode(np.array([[1, 2, 0], [0, 0, 0]], np.float32))
    assert sum_errors(csr, csr.data).tolist() == [[0, 5, 5, 5], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("values", "n_bits", "error", "message"),
    [
        (np.zeros(3), 7, TypeError, "got float64, expected an array of float32"),
        (np.zeros((2, 2), np.float32), 7, ValueError, "expected one contiguous"),
        (np.zeros(4, np.float32)[::2], 7, ValueError, "expected one contiguous"),
        (np.zeros(4, np.float32), 0, ValueError, "got 0 bits of mantissa, expected 1 to 23"),
        (np.zeros(4, np.float32), 24, ValueError, "got 24 bits of mantissa"),
    ],
)
def test_round_mantissa_refuses_wrong_arguments(
    values: Float32, n_bits: int, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        round_mantissa(values, n_bits)


def test_outputs_that_do_not_fit_are_refused() -> None:
    values = np.zeros(4, np.float32)
    with pytest.raises(ValueError, match="got 3 values, expected 4"):
        round_half(values, out=values[:3])
    fixed = np.zeros(4, np.float32)
    fixed.flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only"):
        round_half(values, out=fixed)
    assert bits(fixed).tolist() == [0] * 4


def some_scales(n_channels: int, seed: int) -> Float32:
    rng = np.random.default_rng(seed)
    return np.exp(rng.normal(0, 3, n_channels)).astype(np.float32)


@st.composite
def counted_rows(draw: st.DrawFn) -> tuple[Csr, Csr, Float32]:
    """Draw whole numbers, their products with the scales of their channels, and the scales."""
    n_channels = draw(st.sampled_from([1, 3, 8, 64]))
    seed, n_rows = draw(st.integers(0, 2**32)), draw(st.integers(0, 5))
    rng = np.random.default_rng(seed)
    scales = some_scales(n_channels, seed)
    numbers = rng.integers(0, draw(st.sampled_from([2, 256, 8416])), (n_rows, 5, n_channels))
    numbers[rng.random(numbers.shape) < 0.5] = 0
    whole = numbers.astype(np.float32)
    width = 5 * n_channels
    exact = (whole * scales).reshape(n_rows, width)
    return encode(whole.reshape(n_rows, width)), encode(exact), scales


@given(counted_rows())
@property_settings
def test_whole_numbers_survive_quantizing_and_dequantizing(drawn: tuple[Csr, Csr, Float32]) -> None:
    whole, exact, scales = drawn
    numbers, n_rows = quantize_linear(exact, scales, largest=65535)
    assert n_rows == exact.n_rows
    assert_same_dense(numbers, whole.data)
    dequantize(numbers, exact.indices, scales, squared=False)
    assert_same_dense(numbers, exact.data)


@given(counted_rows(), st.data())
@property_settings
def test_quantizing_stops_at_the_first_row_that_is_not_exact(
    drawn: tuple[Csr, Csr, Float32], data: st.DataObject
) -> None:
    _, exact, scales = drawn
    if not exact.nnz:
        return
    at = data.draw(st.integers(0, exact.nnz - 1))
    with np.errstate(over="ignore"):
        exact.data[at] = np.nextafter(exact.data[at], np.float32(np.inf))
    numbers, n_rows = quantize_linear(exact, scales, largest=65535)
    expected, n_expected = reference.quantize_linear(exact, scales, largest=65535)
    assert n_rows == n_expected
    assert_same_dense(numbers[: len(expected)], expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 256.0, 0.5, 1e-40, 3e38])
@pytest.mark.parametrize("n_channels", [3, 4])
def test_quantizing_stops_at_values_without_a_code(value: float, n_channels: int) -> None:
    x = np.ones((3, 12), np.float32)
    x[1, 7] = value
    _, n_rows = quantize_linear(encode(x), np.ones(n_channels, np.float32), largest=255)
    assert n_rows == 1


@given(dense_rows(), st.data())
@property_settings
def test_quantizing_any_rows_equals_the_reference(x: Float32, data: st.DataObject) -> None:
    width = max(1, x.shape[1])
    n_channels = data.draw(st.sampled_from([n for n in (1, 2, 5, 7, 64) if width % n == 0]))
    csr, scales = encode(x), some_scales(n_channels, len(x))
    with np.errstate(over="ignore", invalid="ignore"):
        expected, n_expected = reference.quantize_linear(csr, scales, largest=255)
        numbers, n_rows = quantize_linear(csr, scales, largest=255)
    assert n_rows == n_expected
    assert_same_dense(numbers[: len(expected)], expected)


@pytest.mark.parametrize("n_channels", [1, 3, 64])
def test_maxima_equal_the_reference(n_channels: int) -> None:
    ours, theirs = np.zeros(n_channels, np.float32), np.zeros(n_channels, np.float32)
    for seed in range(3):
        csr = encode(random_rows(4, 21 * n_channels, 0.3, seed))
        update_maxima(csr, ours)
        reference.update_maxima(csr, theirs)
        assert_same_dense(ours, theirs)
    assert ours.max() > 1


@pytest.mark.parametrize("largest", [1, 15, 255])
@pytest.mark.parametrize("n_channels", [1, 3, 64])
def test_square_codes_are_the_nearest(n_channels: int, largest: int) -> None:
    rng = np.random.default_rng(largest)
    csr = encode((rng.random((5, 7 * n_channels)) ** 4).astype(np.float32))
    maxima = np.zeros(n_channels, np.float32)
    update_maxima(csr, maxima)
    scales = (maxima / np.float32(largest**2)).astype(np.float32)
    numbers = quantize_squared(csr, scales, largest=largest)
    assert_same_dense(numbers, reference.quantize_squared(csr, scales, largest=largest))
    values = numbers.copy()
    dequantize(values, csr.indices, scales, squared=True)
    assert_same_dense(values, reference.dequantize(numbers, csr.indices, scales, squared=True))
    bound = scales[csr.indices % n_channels] * (numbers + 0.5)
    assert (np.abs(values.astype(np.float64) - csr.data) <= bound * (1 + 1e-6)).all()


def test_no_squared_code_is_zero() -> None:
    csr = encode(np.array([[1e-44, 1e-30, 1]], np.float32))
    assert quantize_squared(csr, np.array([1e-5], np.float32)).tolist() == [1, 1, 255]


@pytest.mark.parametrize("count", [quantize_squared, lambda *a: quantize_linear(*a, largest=3)])
def test_quantizing_refuses_wrong_arrays(count: Callable[..., object]) -> None:
    csr = encode(np.ones((1, 4), np.float32))
    with pytest.raises(TypeError, match="got float64"):
        count(csr, np.ones(2))
    with pytest.raises(ValueError, match="got no scales"):
        count(csr, np.ones(0, np.float32))
    with pytest.raises(ValueError, match="got 3 values, expected 4"):
        quantize_squared(csr, np.ones(2, np.float32), out=np.empty(3, np.float32))
    numbers = np.ones(4, np.float32)
    with pytest.raises(TypeError, match="got indices of int64"):
        dequantize(numbers, np.arange(4), np.ones(2, np.float32), squared=True)  # type: ignore[arg-type]
