"""Arrays with every special value, and assertions that tests of several kernels share."""

import numpy as np
import numpy.typing as npt
from hypothesis import settings
from hypothesis import strategies as st

from sparsefeat_kernels import Csr, encode, reference, to_dense

# The first call of a kernel compiles it: no deadline.
property_settings = settings(deadline=None, max_examples=150)

SPECIAL_BITS = np.array(
    [
        0x00000000,  # 0.0
        0x80000000,  # -0.0
        0x00000001,  # smallest denormal
        0x80000001,
        0x007FFFFF,  # largest denormal
        0x00800000,  # smallest normal
        0x7F7FFFFF,  # largest finite
        0x7F800000,  # inf
        0xFF800000,  # -inf
        0x7FC00000,  # quiet NaN
        0x7F800001,  # signalling NaN, smallest payload
        0xFFFFFFFF,  # NaN, negative, largest payload
        0x7FC0BEEF,
        0x3F800000,  # 1.0
    ],
    np.uint32,
)

# Around the kernels' vector (16), their blocks (512, 1024) and the flattened VGG16 shapes.
WIDTHS = (0, 1, 2, 7, 15, 16, 17, 31, 48, 100, 511, 512, 513, 1000, 1023, 1024, 1025, 2100)


@st.composite
def dense_rows(draw: st.DrawFn) -> npt.NDArray[np.float32]:
    """Draw float32 (rows, features) of any density, with special values among them."""
    shape = draw(st.integers(0, 6)), draw(st.sampled_from(WIDTHS))
    density = draw(st.sampled_from([0.0, 0.01, 0.09, 0.2, 0.5, 0.78, 1.0]))
    specials = draw(st.sampled_from([0.0, 0.2, 1.0]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = rng.standard_normal(shape, np.float32)
    x[rng.random(shape) >= density] = 0
    odd = rng.random(shape) < specials
    x[odd] = rng.choice(SPECIAL_BITS, odd.sum()).view(np.float32)
    return x


def bits(x: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
    """View bit patterns, in which NaN equals itself and 0.0 differs from -0.0."""
    return x.view(np.uint32)


def assert_same_dense(got: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(bits(got), bits(expected), strict=True)


def assert_same_csr(got: Csr, expected: Csr) -> None:
    np.testing.assert_array_equal(got.indptr, expected.indptr, strict=True)
    np.testing.assert_array_equal(got.indices, expected.indices, strict=True)
    assert_same_dense(got.data, expected.data)
    assert got.n_columns == expected.n_columns


def assert_round_trip(x: npt.NDArray[np.float32]) -> None:
    """Check that encoding equals the reference, and decoding gives `x` with -0.0 as 0.0."""
    before = x.copy()
    csr = encode(x)
    assert_same_dense(x, before)
    assert_same_csr(csr, reference.encode(x))
    assert_same_dense(to_dense(csr), np.where(x == 0, np.float32(0), x))


def random_rows(
    n_rows: int, n_features: int, density: float, seed: int = 0
) -> npt.NDArray[np.float32]:
    """Make positive numbers, of which a share of about `density` is not zero."""
    rng = np.random.default_rng(seed)
    x = rng.random((n_rows, n_features), np.float32) + np.float32(1)
    x[rng.random(x.shape, np.float32) >= density] = 0
    return x
