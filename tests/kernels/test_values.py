import numcodecs
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsefeat_kernels import encode, error_sums, reference, round_half, round_mantissa

from .laws import SPECIAL_BITS, assert_same_dense, bits, dense_rows, property_settings

Float32 = npt.NDArray[np.float32]


@st.composite
def any_bits(draw: st.DrawFn) -> Float32:
    """Draw float32 (n,) of any bit patterns, many of them near a power of 2 or half-way."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    patterns = rng.integers(0, 2**32, draw(st.integers(0, 300)), np.uint32)
    dropped = rng.integers(0, 23, len(patterns), np.uint32)
    near = (patterns >> dropped << dropped) ^ (np.uint32(1) << dropped >> np.uint32(1))
    near += rng.integers(-1, 2, len(patterns)).astype(np.uint32)
    return np.concatenate([patterns, near, SPECIAL_BITS]).view(np.float32)


@given(any_bits(), st.integers(1, 23))
@property_settings
def test_mantissas(values: Float32, n_bits: int) -> None:
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
def test_mantissas_are_as_numcodecs_rounds_them(values: Float32, n_bits: int) -> None:
    usual = np.isfinite(values) & (np.abs(values) < 1e38) & (np.abs(values) > 1e-37)
    values = values[usual]
    theirs = numcodecs.BitRound(keepbits=n_bits).encode(values.copy()).view(np.float32)
    assert_same_dense(round_mantissa(values, n_bits), theirs)


@given(any_bits())
@property_settings
def test_halves(values: Float32) -> None:
    rounded = round_half(values)
    assert_same_dense(rounded, reference.round_half(values))
    assert_same_dense(round_half(rounded), rounded)
    np.testing.assert_array_equal(rounded != 0, values != 0)
    finite = np.isfinite(values)
    assert_same_dense(rounded[finite].astype(np.float16).astype(np.float32), rounded[finite])
    np.testing.assert_array_equal(np.isfinite(rounded), finite)


def test_halves_are_numpys_where_those_are_no_zeros() -> None:
    exponents = np.linspace(-24, 15.999, 100_001)
    values = (2.0**exponents).astype(np.float32)
    assert_same_dense(round_half(values), values.astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("n_bits", [1, 7, 10, 23])
def test_no_value_becomes_infinite_or_zero(n_bits: int) -> None:
    ends = np.array([0x7F7FFFFF, 0x00000001, 0xFF7FFFFF, 0x80000001], np.uint32)
    rounded = round_mantissa(ends.view(np.float32), n_bits)
    assert np.isfinite(rounded).all()
    assert (rounded != 0).all()
    assert (np.sign(rounded) == [1, 1, -1, -1]).all()


def test_in_place_and_into_memory_that_is_there() -> None:
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
def test_sums_of_errors(x: Float32) -> None:
    csr = encode(x)
    stored = round_mantissa(csr.values, 5)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(
            error_sums(csr, stored), reference.error_sums(csr, stored), rtol=1e-9
        )


def test_equal_values_have_no_error() -> None:
    csr = encode(np.array([[1, 2, 0], [0, 0, 0]], np.float32))
    assert error_sums(csr, csr.values).tolist() == [[0, 5, 5, 5], [0, 0, 0, 0]]


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
def test_what_is_refused(
    values: Float32, n_bits: int, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        round_mantissa(values, n_bits)


def test_memory_that_does_not_fit_is_refused() -> None:
    values = np.zeros(4, np.float32)
    with pytest.raises(ValueError, match="got 3 values, expected 4"):
        round_half(values, out=values[:3])
    fixed = np.zeros(4, np.float32)
    fixed.flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only"):
        round_half(values, out=fixed)
    assert bits(fixed).tolist() == [0] * 4
