"""The compiled kernel that moves non-zeros together."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from sparsefeat_kernels._jit import intrinsic, ir, kernel, types

BLOCK = 1024  # elements: 4 KiB read and at most 8 KiB written between two looks at the room left
LANES = 16  # a multiple of it fits in BLOCK
MAGNITUDE = 0x7FFFFFFF  # all of a float32's bits but its sign

_INT32 = ir.IntType(32)
_VECTOR = ir.VectorType(_INT32, LANES)
_MASK = ir.VectorType(ir.IntType(1), LANES)
_ZEROS = ir.Constant(_VECTOR, [0] * LANES)
_ANYTHING = ir.Constant(_VECTOR, ir.Undefined)


def _type_pack_lanes(
    typing_context: Any, bits: Any, source: Any, column: Any, indices: Any, values: Any, nnz: Any
) -> Any:
    signature = types.int64(bits, types.int64, types.int64, indices, values, types.int64)
    return signature, _emit_pack_lanes


def _emit_pack_lanes(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Write the non-zeros among ``bits[source:source + LANES]`` from `nnz` on; give their number.

    `bits` is flat, its first lane lies in `column`. LANES elements of `indices` and `values` are
    overwritten whatever the number. Nothing is checked.

    Written in LLVM's vector operations because no loop makes the compiler use the processor's
    compress instruction. Where there is none (before AVX-512, not x86), LLVM expands the same
    operation into a branchless sequence as fast as the scalar loop.
    """
    bits, source, column, indices, values, nnz = arguments
    bits_type, _, _, indices_type, values_type, _ = signature.args

    def address(array_type: Any, array: Any, offset: Any) -> Any:
        data = context.make_array(array_type)(context, builder, array).data
        return builder.bitcast(builder.gep(data, [offset]), _VECTOR.as_pointer())

    elements = builder.load(address(bits_type, bits, source), align=4)
    magnitudes = builder.and_(elements, ir.Constant(_VECTOR, [MAGNITUDE] * LANES))
    kept = builder.icmp_unsigned("!=", magnitudes, _ZEROS)

    first = builder.insert_element(_ANYTHING, builder.trunc(column, _INT32), _INT32(0))
    columns = builder.shuffle_vector(first, _ANYTHING, _ZEROS)
    columns = builder.add(columns, ir.Constant(_VECTOR, list(range(LANES))))

    # Not the masked store that compresses: it is reported slow on AMD's processors, and where
    # there is no such instruction it becomes a branch per element.
    compress = builder.module.declare_intrinsic(
        f"llvm.experimental.vector.compress.v{LANES}i32",
        fnty=ir.FunctionType(_VECTOR, [_VECTOR, _MASK, _VECTOR]),
    )
    for array_type, array, lanes in (
        (values_type, values, elements),
        (indices_type, indices, columns),
    ):
        packed = builder.call(compress, [lanes, kept, _ANYTHING])
        builder.store(packed, address(array_type, array, nnz), align=4)

    return builder.zext(builder.ctpop(builder.bitcast(kept, ir.IntType(LANES))), ir.IntType(64))


pack_lanes = cast(Callable[..., int], intrinsic(_type_pack_lanes))


@kernel
def pack(
    bits: npt.NDArray[np.int32],
    first_row: int,
    indptr: npt.NDArray[np.int64],
    indices: npt.NDArray[np.int32],
    values: npt.NDArray[np.int32],
) -> int:
    """Append the rows of `bits` (rows, features) from `first_row` on; give the first without room.

    A row starts where ``indptr[row]`` says. There is room while BLOCK elements, whatever they
    hold, can be written within `indices` and `values`.
    """
    n_rows, n_features = len(bits), bits.shape[1]
    capacity = min(len(indices), len(values))
    flat = bits.reshape(-1)
    for row in range(first_row, n_rows):
        nnz = indptr[row]
        for start in range(0, n_features, BLOCK):
            if nnz + BLOCK > capacity:
                return row
            stop = min(start + BLOCK, n_features)
            tail = stop - (stop - start) % LANES
            for column in range(start, tail, LANES):
                source = row * n_features + column
                nnz += pack_lanes(flat, source, column, indices, values, nnz)
            for column in range(tail, stop):
                # Written always, kept by moving on: a branch would be guessed wrong too often.
                element = bits[row, column]
                indices[nnz] = column
                values[nnz] = element
                nnz += (element & MAGNITUDE) != 0
        indptr[row + 1] = nnz
    return n_rows
