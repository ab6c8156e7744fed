import numpy as np

from sparsefeat_kernels import CsrBuffers, encode

from .laws import random_rows


def test_memory_grows_by_a_quarter_at_least_and_keeps_what_it_should() -> None:
    buffers = CsrBuffers()
    buffers.reserve_elements(1000, keep=0)
    assert len(buffers.values) == len(buffers.indices) == 1000
    buffers.indices[:3] = [5, 6, 7]
    buffers.values[:3] = [1, 2, 3]
    buffers.reserve_elements(1001, keep=3)
    assert len(buffers.values) == len(buffers.indices) == 1250
    assert buffers.indices[:3].tolist() == [5, 6, 7]
    assert buffers.values[:3].tolist() == [1, 2, 3]


def test_memory_never_shrinks() -> None:
    buffers = CsrBuffers()
    encode(random_rows(4, 3000, 0.9), out=buffers)
    held = len(buffers.indptr), len(buffers.values)
    encode(np.zeros((1, 1), np.float32), out=buffers)
    assert (len(buffers.indptr), len(buffers.values)) == held


def test_the_first_batch_gets_little_more_than_it_needs() -> None:
    buffers, x = CsrBuffers(), random_rows(4, 100_000, 0.2)
    encode(x, out=buffers)
    assert len(buffers.values) - int(np.count_nonzero(x)) < 2000
