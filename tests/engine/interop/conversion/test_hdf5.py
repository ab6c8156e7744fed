from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from sparsefeat.interop.conversion.hdf5 import CHUNK, ArrayStream


@pytest.mark.parametrize("length", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
@pytest.mark.parametrize("step", [1000, CHUNK, 5 * CHUNK])
def test_one_axis(tmp_path: Path, length: int, step: int) -> None:
    values = np.random.default_rng(0).integers(0, 1 << 20, length, np.int32)
    with ThreadPoolExecutor(2) as pool, h5py.File(tmp_path / "x", "w") as file:
        stream = ArrayStream(file, "a", values.shape, "<i4", pool)
        for start in range(0, length, step):
            stream.append(values[start : start + step])
        stream.finish()
        assert (stream.n_bytes > 0) == (length > 0)
    with h5py.File(tmp_path / "x") as file:
        np.testing.assert_array_equal(file["a"][:], values)


@pytest.mark.parametrize("shape", [(0, 7), (1, 7), (50, 3000), (3, 2 * CHUNK + 1)])
def test_two_axes(tmp_path: Path, shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).random(shape, np.float32)
    with ThreadPoolExecutor(2) as pool, h5py.File(tmp_path / "x", "w") as file:
        stream = ArrayStream(file, "a", shape, "<f4", pool)
        for row in values:
            stream.append(row)
        stream.finish()
    with h5py.File(tmp_path / "x") as file:
        np.testing.assert_array_equal(file["a"][:], values)
