"""Running a single ONNX node on arrays, to fold what depends on weights alone."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx


def evaluate(node: onnx.NodeProto, feeds: dict[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """Compute the outputs of `node` by ONNX' own reference implementation.

    Examples
    --------
    >>> node = onnx.helper.make_node("Transpose", ["x"], ["y"], perm=[1, 0])
    >>> evaluate(node, {"x": np.zeros((2, 3))})[0].shape
    (3, 2)
    """
    from onnx.reference import ReferenceEvaluator

    outputs = ReferenceEvaluator(node).run(None, feeds)
    return [np.asarray(output) for output in outputs]
