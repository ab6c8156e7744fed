"""Dense activations to compressed sparse rows and back; their zeros, columns and values."""

from sparsefeat_kernels.buffers import CsrBuffers
from sparsefeat_kernels.codes import count_roots, count_steps, raise_maxima, scale_numbers
from sparsefeat_kernels.csr import Csr
from sparsefeat_kernels.decode import to_dense
from sparsefeat_kernels.differences import sum_differences
from sparsefeat_kernels.encode import encode
from sparsefeat_kernels.planes import byte_planes
from sparsefeat_kernels.values import error_sums, round_half, round_mantissa
from sparsefeat_kernels.winograd import (
    WinogradConvolution,
    compile_winograd,
    fits_winograd,
    suitable_variant,
)
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
    "WinogradConvolution",
    "byte_planes",
    "compile_winograd",
    "count_roots",
    "count_steps",
    "count_zeros_per_channel",
    "count_zeros_per_row",
    "csr_active_rows_per_channel",
    "csr_zeros_per_channel",
    "csr_zeros_per_position",
    "csr_zeros_per_row",
    "encode",
    "error_sums",
    "fits_winograd",
    "literals_frame",
    "raise_maxima",
    "round_half",
    "round_mantissa",
    "sampled_literal_bits",
    "scale_numbers",
    "suitable_variant",
    "sum_differences",
    "to_dense",
]
