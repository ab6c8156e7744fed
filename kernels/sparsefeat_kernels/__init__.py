"""Dense activations to compressed sparse rows and back, counting their zeros, packing columns."""

from sparsefeat_kernels.buffers import CsrBuffers
from sparsefeat_kernels.csr import Csr
from sparsefeat_kernels.decode import to_dense
from sparsefeat_kernels.differences import sum_differences
from sparsefeat_kernels.encode import encode
from sparsefeat_kernels.zeros import (
    count_zeros_per_channel,
    count_zeros_per_row,
    csr_active_rows_per_channel,
    csr_zeros_per_channel,
    csr_zeros_per_position,
    csr_zeros_per_row,
)

__all__ = [
    "Csr",
    "CsrBuffers",
    "count_zeros_per_channel",
    "count_zeros_per_row",
    "csr_active_rows_per_channel",
    "csr_zeros_per_channel",
    "csr_zeros_per_position",
    "csr_zeros_per_row",
    "encode",
    "sum_differences",
    "to_dense",
]
