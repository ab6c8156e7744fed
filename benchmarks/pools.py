"""Rows shaped like VGG16's pools, at densities of real images."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from sparsefeat_kernels import Csr

SHAPES = {  # density: layer, rows, (H, W, C)
    0.78: ("block1_pool", 2, (112, 112, 64)),
    0.39: ("block3_pool", 8, (28, 28, 256)),
    0.20: ("block4_pool", 16, (14, 14, 512)),
    0.09: ("block5_pool", 64, (7, 7, 512)),
}


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Activations of a pool for some images, at a density, and the expected results."""

    layer: str
    density: float
    x: npt.NDArray[np.float32]  # (rows, features)
    n_channels: int
    csr: Csr

    @property
    def scipy(self) -> "csr_array[np.float32]":
        return csr_array(
            (self.csr.data, self.csr.indices, self.csr.indptr.astype(np.int32)),
            shape=self.x.shape,
        )


def make_pool(density: float) -> Pool:
    """Draw non-zeros independently; scipy computes the expected result."""
    layer, n_rows, shape = SHAPES[density]
    rng = np.random.default_rng(16)
    x = rng.random((n_rows, int(np.prod(shape))), np.float32) + np.float32(1)
    x[rng.random(x.shape, np.float32) >= density] = 0
    theirs = csr_array(x)
    csr = Csr(theirs.indptr.astype(np.int64), theirs.indices, theirs.data, x.shape[1])
    return Pool(layer=layer, density=density, x=x, n_channels=shape[-1], csr=csr)


def same_rows(got: Csr, expected: Csr) -> bool:
    return (
        np.array_equal(got.indptr, expected.indptr)
        and np.array_equal(got.indices, expected.indices)
        and np.array_equal(got.data.view(np.int32), expected.data.view(np.int32))
    )
