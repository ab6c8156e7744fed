"""Weights beside the graph, written one after the other."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

# ONNX Runtime maps weights into memory where they start on a page; Windows maps at 64 KiB.
PAGE = 4096
GRANULARITY = 65536


def write_external(
    path: Path, arrays: Iterable[tuple[str, npt.NDArray[Any]]], *, location: str
) -> Iterator[TensorProto]:
    """Write arrays to `path` and yield, for each, the initializer that points there.

    Parameters
    ----------
    arrays
        (name, array) pairs, taken one at a time.
    location
        What the file will be called, beside the graph.
    """
    with path.open("wb") as file:
        for name, array in arrays:
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            alignment = GRANULARITY if array.nbytes >= GRANULARITY else PAGE
            offset = -(-file.tell() // alignment) * alignment
            file.write(bytes(offset - file.tell()))
            file.write(array.data)
            tensor = TensorProto(name=name, data_type=kind, dims=array.shape)
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (
                ("location", location),
                ("offset", offset),
                ("length", array.nbytes),
            ):
                tensor.external_data.add(key=key, value=str(value))
            yield tensor
