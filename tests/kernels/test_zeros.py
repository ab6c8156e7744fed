from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsefeat_kernels import (
    Csr,
    count_zeros_per_channel,
    count_zeros_per_row,
    csr_active_rows_per_channel,
    csr_zeros_per_channel,
    csr_zeros_per_position,
    csr_zeros_per_row,
    encode,
    reference,
)

from .common import SPECIAL_BITS, dense_rows, property_settings, random_rows

PER_POSITION = (csr_zeros_per_channel, csr_zeros_per_position, csr_active_rows_per_channel)


def same(got: npt.NDArray[np.int64], expected: npt.NDArray[np.int64]) -> None:
    np.testing.assert_array_equal(got, expected, strict=True)


@given(dense_rows())
@property_settings
def test_zeros_per_row_equal_the_reference(x: npt.NDArray[np.float32]) -> None:
    csr = encode(x)
    same(count_zeros_per_row(x), reference.count_zeros_per_row(x))
    same(csr_zeros_per_row(csr), reference.csr_zeros_per_row(csr))
    same(csr_zeros_per_row(csr), count_zeros_per_row(x))


@given(dense_rows(), st.data())
@property_settings
def test_zeros_per_channel_equal_the_reference(
    x: npt.NDArray[np.float32], data: st.DataObject
) -> None:
    width = x.shape[1]
    divisors = [n for n in range(1, width + 1) if width % n == 0] or [1, 7]
    n_channels = data.draw(st.sampled_from(divisors))
    csr = encode(x)
    same(count_zeros_per_channel(x, n_channels), reference.count_zeros_per_channel(x, n_channels))
    same(csr_zeros_per_channel(csr, n_channels), reference.csr_zeros_per_channel(csr, n_channels))
    same(csr_zeros_per_channel(csr, n_channels), count_zeros_per_channel(x, n_channels))


@given(dense_rows(), st.data())
@property_settings
def test_positions_and_active_images_equal_numpy_s(
    x: npt.NDArray[np.float32], data: st.DataObject
) -> None:
    width = x.shape[1]
    divisors = [n for n in range(1, width + 1) if width % n == 0] or [1, 7]
    n_channels = data.draw(st.sampled_from(divisors))
    csr = encode(x)
    per_position = csr_zeros_per_position(csr, n_channels)
    active = csr_active_rows_per_channel(csr, n_channels)
    same(per_position, reference.csr_zeros_per_position(csr, n_channels))
    same(active, reference.csr_active_rows_per_channel(csr, n_channels))
    positions = x.reshape(len(x), width // n_channels, n_channels)
    same(per_position, (positions == 0).sum(axis=(0, 2), dtype=np.int64))
    same(active, (positions != 0).any(axis=1).sum(axis=0, dtype=np.int64))


def test_the_share_of_zeros_equals_numpy_s() -> None:
    x = random_rows(3, 25088, 0.2)
    assert count_zeros_per_row(x).sum() / x.size == np.mean(x == 0)
    assert count_zeros_per_channel(x, 512).sum() / x.size == np.mean(x == 0)


def test_only_zero_and_negative_zero_count_as_zeros() -> None:
    x = SPECIAL_BITS.view(np.float32)[:, np.newaxis]
    assert count_zeros_per_row(x).tolist() == [1, 1] + [0] * (len(x) - 2)
    assert count_zeros_per_channel(x, 1).tolist() == [2]


@pytest.mark.parametrize("n_channels", [0, -1, 4, 7])
def test_features_must_be_a_multiple_of_the_channels(n_channels: int) -> None:
    x = random_rows(2, 6, 0.5)
    message = f"6 features are not a multiple of {n_channels} channels"
    with pytest.raises(ValueError, match=message):
        count_zeros_per_channel(x, n_channels)
    for count in PER_POSITION:
        with pytest.raises(ValueError, match=message):
            count(encode(x), n_channels)


@pytest.mark.parametrize("count", [count_zeros_per_row, lambda x: count_zeros_per_channel(x, 1)])
def test_wrong_arrays_are_refused(
    count: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.int64]],
) -> None:
    with pytest.raises(TypeError, match="got float64"):
        count(np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("indptr", "indices"),
    [
        ([0, 2], [0, 6]),
        ([0, 2], [-1, 0]),
        ([0, 2], [3, 3]),
        ([0, 2], [4, 1]),
        ([0, 3, 2], [0, 1]),
        ([0, -1, 2], [0, 1]),
    ],
)
def test_a_damaged_csr_is_refused(indptr: list[int], indices: list[int]) -> None:
    csr = Csr(np.array(indptr), np.array(indices, np.int32), np.ones(2, np.float32), 6)
    row = reference.first_invalid_row(csr)
    for count in PER_POSITION:
        with pytest.raises(ValueError, match=f"row {row} of the Csr"):
            count(csr, 3)
