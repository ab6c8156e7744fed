"""Quantize an exported model to 8-bit integers, with weights rounded to compensate errors.

=============  ==========================================================
`quantizer`    the whole quantization: calibrate, write, measure, commit
`images`       choose calibration and validation images, and make views
`stack`        read the convolutions and poolings from the graph
`calibration`  quantize layer by layer: weights, biases, activations
`scales`       choose the scales of activations, and split channels
`rounding`     round weights with compensation (GPTQ)
`graph`        write the quantized graph
`agreement`    measure the error on held-out images
=============  ==========================================================
"""

from sparsefeat_export.quantization.agreement import Agreement
from sparsefeat_export.quantization.quantizer import QuantizeResult, quantize

__all__ = ["Agreement", "QuantizeResult", "quantize"]
