"""Dense activations to compressed sparse rows and back; their zeros, columns and values.

=============  ==================================================================
`csr`          compressed sparse rows: from dense ones, and back
`zeros`        how many elements are zero, where
`values`       values of fewer bits, or as whole numbers of steps
`planes`       numbers to byte planes, and differences of neighbours
`zstandard`    bytes to Zstandard frames
`winograd`     3x3 convolutions with a quarter of the multiplications
`reference`    the same in plain numpy, to compare with
=============  ==================================================================

What is compiled lies in the module of the same name that begins with an underscore, and is
imported, numba with it, when it is first called.
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
