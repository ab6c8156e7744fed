"""Compiled kernels for sparse activations: CSR encoding, zero counts, quantization, compression.

=============  ==================================================================
`csr`          encode dense rows as CSR, and expand CSR to dense rows
`zeros`        count zeros by row, channel and position
`values`       round values to fewer bits, quantize them, measure the error
`planes`       split numbers into byte planes, take and sum differences
`zstandard`    compress bytes to Zstandard frames
`winograd`     3x3 convolutions with a quarter of the multiplications
`reference`    the same functions in plain numpy, which the tests compare with
=============  ==================================================================

The compiled code of a module is in the module of the same name with a leading underscore. It is
imported, and numba with it, when a kernel is first called.
"""

from sparsefeat_kernels.csr import Csr, CsrBuffers, encode, to_dense
from sparsefeat_kernels.planes import byte_planes, sum_differences
from sparsefeat_kernels.values import (
    dequantize,
    quantize_linear,
    quantize_squared,
    round_half,
    round_mantissa,
    sum_errors,
    update_maxima,
)
from sparsefeat_kernels.winograd import (
    WinogradConvolution,
    choose_variant,
    compile_winograd,
    fits_winograd,
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
    "choose_variant",
    "compile_winograd",
    "count_zeros_per_channel",
    "count_zeros_per_row",
    "csr_active_rows_per_channel",
    "csr_zeros_per_channel",
    "csr_zeros_per_position",
    "csr_zeros_per_row",
    "dequantize",
    "encode",
    "fits_winograd",
    "literals_frame",
    "quantize_linear",
    "quantize_squared",
    "round_half",
    "round_mantissa",
    "sampled_literal_bits",
    "sum_differences",
    "sum_errors",
    "to_dense",
    "update_maxima",
]
