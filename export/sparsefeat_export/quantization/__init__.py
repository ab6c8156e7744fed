"""An exported model in 8-bit integers, with weights rounded so that their errors cancel.

=============  ========================================================================
`quantizer`    from end to end: calibrate, write, measure, commit
`images`     the images, which of them are held out, and views of them
`stack`        the convolutions and poolings that are quantized, as the graph has them
`calibration`  layer after layer: rounded weights, biases and the scales of activations
`patches`      what a convolution sees of its input, and computes, at some positions
`scales`        how activations are counted: scales of channels, and channels split in two
`rounding`     weights to whole scales, each error made up for by the weights that follow
`graph`        the same graph with its stack in integers
`agreement`    how far the result is from float32, on images that were held out
=============  ========================================================================
"""

from sparsefeat_export.quantization.agreement import Agreement
from sparsefeat_export.quantization.quantizer import QuantizeResult, quantize

__all__ = ["Agreement", "QuantizeResult", "quantize"]
