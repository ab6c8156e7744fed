"""Dense activations to compressed sparse rows and back, counting their zeros, packing columns."""

from sparsefeat_kernels.buffers import CsrBuffers
from sparsefeat_kernels.csr import Csr
from sparsefeat_kernels.decode import to_dense
from sparsefeat_kernels.differences import sum_differences
from sparsefeat_kernels.encode import encode
from sparsefeat_kernels.planes import byte_planes
from sparsefeat_kernels.zeros import (
    count_zeros_per_channel,
    count_zeros_per_row,
    csr_active_rows_per_channel,
    csr_zeros_per_channel,
    csr_zeros_per_position,
    csr_zeros_per_row,
)
from sparsefeat_kernels.zstandard import literals_frame, sampled_literal_bits

__all__ = [
    "Csr",
    "CsrBuffers",
    "byte_planes",
    "count_zeros_per_channel",
    "count_zeros_per_row",
    "csr_active_rows_per_channel",
    "csr_zeros_per_channel",
    "csr_zeros_per_position",
    "csr_zeros_per_row",
    "encode",
    "literals_frame",
    "sampled_literal_bits",
    "sum_differences",
    "to_dense",
]
