import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from sparsefeat_kernels import byte_planes, sum_differences

from .common import property_settings

TYPES = (np.uint8, np.uint16, np.int32, np.float32, np.int64)


@given(
    numbers=st.sampled_from(TYPES).flatmap(
        lambda dtype: arrays(np.dtype(dtype), array_shapes(max_dims=1, min_side=0))
    )
)
@property_settings
def test_planes_are_blosc_s_byte_shuffle(numbers: npt.NDArray[np.generic]) -> None:
    planes = byte_planes(numbers)
    expected = numbers.view(np.uint8).reshape(len(numbers), numbers.itemsize).T
    assert np.array_equal(planes, expected)


@given(numbers=arrays(np.int32, array_shapes(max_dims=1, min_side=0)))
@property_settings
def test_planes_of_differences_equal_planes_of_numpy_s_differences(
    numbers: npt.NDArray[np.int32],
) -> None:
    differences = np.diff(numbers, prepend=np.int32(0))
    out = np.empty((4, len(numbers)), np.uint8)
    assert byte_planes(numbers, differences=True, out=out) is out
    assert np.array_equal(out, byte_planes(differences))


def test_byte_planes_refuses_wrong_arrays() -> None:
    numbers = np.zeros(6, np.int32)
    with pytest.raises(ValueError, match="contiguous axis"):
        byte_planes(numbers[::2])
    with pytest.raises(ValueError, match="contiguous axis"):
        byte_planes(numbers.reshape(2, 3))
    with pytest.raises(TypeError, match="expected int32"):
        byte_planes(numbers.astype(np.float32), differences=True)
    with pytest.raises(ValueError, match=r"expected contiguous uint8 \(4, 6\)"):
        byte_planes(numbers, out=np.empty((4, 5), np.uint8))


@pytest.mark.parametrize("repeats", [1, 20_000])
@given(values=arrays(np.int32, st.integers(0, 20)))
@property_settings
def test_sum_differences_equals_numpy_s_running_sum(
    values: npt.NDArray[np.int32], repeats: int
) -> None:
    differences = np.tile(values, repeats)
    expected = np.add.accumulate(differences, dtype=np.int32)
    sum_differences(differences)
    assert np.array_equal(differences, expected)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        (np.zeros(3, np.int64), TypeError),
        ([1, 2], TypeError),
        (np.zeros((2, 2), np.int32), ValueError),
        (np.zeros(6, np.int32)[::2], ValueError),
        (np.frombuffer(bytes(8), np.int32), ValueError),
    ],
)
def test_sum_differences_refuses_wrong_arrays(values: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="expected"):
        sum_differences(values)  # type: ignore[arg-type]
