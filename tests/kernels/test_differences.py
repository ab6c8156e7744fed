import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sparsefeat_kernels import sum_differences

from .laws import property_settings


@pytest.mark.parametrize("repeats", [1, 20_000])
@given(values=arrays(np.int32, st.integers(0, 20)))
@property_settings
def test_sums_as_numpy_does(values: npt.NDArray[np.int32], repeats: int) -> None:
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
def test_refuses_what_it_cannot_sum(values: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="expected"):
        sum_differences(values)  # type: ignore[arg-type]
