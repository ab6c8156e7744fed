"""The compiled kernels that encode and expand CSR, and count non-zero elements."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from sparsefeat_kernels._jit import intrinsic, ir, kernel, types

# Elements per block. Capacity and columns are checked once per block. A block reads 4 KiB and
# writes at most 8 KiB, so that the elements that were checked or cleared are still in the
# first-level cache when they are used.
PACK_BLOCK, READ_BLOCK = 1024, 512
LANES = 16  # elements of a vector; PACK_BLOCK is a multiple
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
    """Emit code that appends the non-zeros of ``bits[source:source + LANES]`` and counts them.

    `bits` is flat; `column` is the column of its first lane. The code always overwrites LANES
    elements of `indices` and `values`, from `nnz` on. It checks no bounds.

    It is written with LLVM's vector operations because the compiler does not turn a loop into the
    processor's compress instruction. On processors without it (x86 before AVX-512, other
    architectures), LLVM expands the operation into a branchless sequence that is as fast as the
    scalar loop.
    """
    bits, source, column, indices, values, nnz = arguments
    bits_type, _, _, indices_type, values_type, _ = signature.args

    def address(array_type: Any, array: Any, offset: Any) -> Any:
        data = context.make_array(array_type)(context, builder, array).data
        return builder.bitcast(builder.gep(data, [offset]), _VECTOR.as_pointer())

    elements = builder.load(address(bits_type, bits, source), align=4)
    magnitudes = builder.and_(elements, ir.Constant(_VECTOR, [MAGNITUDE] * LANES))
    nonzero = builder.icmp_unsigned("!=", magnitudes, _ZEROS)

    first = builder.insert_element(_ANYTHING, builder.trunc(column, _INT32), _INT32(0))
    columns = builder.shuffle_vector(first, _ANYTHING, _ZEROS)
    columns = builder.add(columns, ir.Constant(_VECTOR, list(range(LANES))))

    # LLVM's compressing store would do both steps at once, but it is reported to be slow on AMD
    # processors, and without that instruction LLVM expands it to a branch per element.
    compress = builder.module.declare_intrinsic(
        f"llvm.experimental.vector.compress.v{LANES}i32",
        fnty=ir.FunctionType(_VECTOR, [_VECTOR, _MASK, _VECTOR]),
    )
    for array_type, array, lanes in (
        (values_type, values, elements),
        (indices_type, indices, columns),
    ):
        packed = builder.call(compress, [lanes, nonzero, _ANYTHING])
        builder.store(packed, address(array_type, array, nnz), align=4)

    return builder.zext(builder.ctpop(builder.bitcast(nonzero, ir.IntType(LANES))), ir.IntType(64))


pack_lanes = cast(Callable[..., int], intrinsic(_type_pack_lanes))


@kernel
def pack(
    bits: npt.NDArray[np.int32],
    first_row: int,
    indptr: npt.NDArray[np.int64],
    indices: npt.NDArray[np.int32],
    values: npt.NDArray[np.int32],
) -> int:
    """Append the rows of `bits` (rows, features) from `first_row` on; return the next row's number.

    A row is written from ``indptr[row]`` on. The function stops at the first row with a block for
    which fewer than PACK_BLOCK elements are free in `indices` or `values`.
    """
    n_rows, n_features = len(bits), bits.shape[1]
    capacity = min(len(indices), len(values))
    flat = bits.reshape(-1)
    for row in range(first_row, n_rows):
        nnz = indptr[row]
        for start in range(0, n_features, PACK_BLOCK):
            if nnz + PACK_BLOCK > capacity:
                return row
            stop = min(start + PACK_BLOCK, n_features)
            tail = stop - (stop - start) % LANES
            for column in range(start, tail, LANES):
                source = row * n_features + column
                nnz += pack_lanes(flat, source, column, indices, values, nnz)
            for column in range(tail, stop):
                # Always write, and advance only for a non-zero: a branch would be mispredicted.
                element = bits[row, column]
                indices[nnz] = column
                values[nnz] = element
                nnz += (element & MAGNITUDE) != 0
        indptr[row + 1] = nnz
    return n_rows


@kernel
def row_is_within(indptr: npt.NDArray[np.int64], nnz: int, row: int) -> bool:
    """Return whether the row's start and end are in order and within the stored elements."""
    return bool(0 <= indptr[row] <= indptr[row + 1] <= nnz)


@kernel
def block_is_valid(block: npt.NDArray[np.uint32], floor: int, n_columns: int) -> bool:
    """Return whether the columns strictly increase, from at least `floor` to below `n_columns`.

    Columns are read as unsigned numbers, so that a negative one counts as too large.
    """
    disorder = np.uint32(0)  # no early exit, because that would prevent vectorisation
    for i in range(1, len(block)):
        disorder |= np.uint32(block[i] <= block[i - 1])
    return bool(disorder == 0 and block[0] >= floor and block[-1] < n_columns)


@kernel
def unpack(
    indptr: npt.NDArray[np.int64],
    indices: npt.NDArray[np.uint32],
    values: npt.NDArray[np.int32],
    dense: npt.NDArray[np.int32],
) -> int:
    """Overwrite `dense` (rows, columns) with the rows; return the number of the first invalid one.

    If all rows are valid, it returns the number of rows.
    """
    n_rows, n_columns = len(dense), dense.shape[1]
    for row in range(n_rows):
        if not row_is_within(indptr, len(indices), row):
            return row
        target = dense[row]
        cleared = 0
        for start in range(indptr[row], indptr[row + 1], READ_BLOCK):
            stop = min(start + READ_BLOCK, indptr[row + 1])
            columns, elements = indices[start:stop], values[start:stop]
            if not block_is_valid(columns, cleared, n_columns):
                return row
            end = int(columns[-1]) + 1
            target[cleared:end] = 0
            cleared = end
            for i in range(len(columns)):
                target[columns[i]] = elements[i]
        target[cleared:] = 0
    return n_rows


@kernel
def stored_per_channel(
    indptr: npt.NDArray[np.int64],
    indices: npt.NDArray[np.uint32],
    n_columns: int,
    counts: npt.NDArray[np.int64],
) -> int:
    """Add the number of stored elements of each channel to `counts` (channels,).

    It returns the number of the first invalid row, as `unpack` does.
    """
    n_rows, n_channels = len(indptr) - 1, np.uint32(len(counts))
    for row in range(n_rows):
        if not row_is_within(indptr, len(indices), row):
            return row
        floor = 0
        base = np.uint32(0)  # column of the first channel at the current position
        for start in range(indptr[row], indptr[row + 1], READ_BLOCK):
            columns = indices[start : min(start + READ_BLOCK, indptr[row + 1])]
            if not block_is_valid(columns, floor, n_columns):
                return row
            floor = int(columns[-1]) + 1
            for i in range(len(columns)):
                # Columns increase, so counting positions is faster than a division for each.
                while columns[i] - base >= n_channels:
                    base += n_channels
                counts[columns[i] - base] += 1
    return n_rows


@kernel
def stored_per_position(
    indptr: npt.NDArray[np.int64],
    indices: npt.NDArray[np.uint32],
    n_columns: int,
    n_channels: int,
    counts: npt.NDArray[np.int64],
) -> int:
    """Add the number of stored elements of each position to `counts` (positions,).

    It returns the number of the first invalid row, as `unpack` does.
    """
    n_rows, extent = len(indptr) - 1, np.uint32(n_channels)
    for row in range(n_rows):
        if not row_is_within(indptr, len(indices), row):
            return row
        floor = 0
        position, base, count = 0, np.uint32(0), 0
        for start in range(indptr[row], indptr[row + 1], READ_BLOCK):
            columns = indices[start : min(start + READ_BLOCK, indptr[row + 1])]
            if not block_is_valid(columns, floor, n_columns):
                return row
            floor = int(columns[-1]) + 1
            for i in range(len(columns)):
                while columns[i] - base >= extent:
                    counts[position] += count  # not per element: a register is faster than memory
                    position, base, count = position + 1, base + extent, 0
                count += 1
        if count:
            counts[position] += count
    return n_rows


@kernel
def rows_per_channel(
    indptr: npt.NDArray[np.int64],
    indices: npt.NDArray[np.uint32],
    n_columns: int,
    counts: npt.NDArray[np.int64],
) -> int:
    """Add the number of rows that store an element of each channel to `counts` (channels,).

    It returns the number of the first invalid row, as `unpack` does.
    """
    n_rows, n_channels = len(indptr) - 1, np.uint32(len(counts))
    latest = np.full(len(counts), -1)  # the last row in which each channel occurred
    for row in range(n_rows):
        if not row_is_within(indptr, len(indices), row):
            return row
        floor = 0
        base = np.uint32(0)
        for start in range(indptr[row], indptr[row + 1], READ_BLOCK):
            columns = indices[start : min(start + READ_BLOCK, indptr[row + 1])]
            if not block_is_valid(columns, floor, n_columns):
                return row
            floor = int(columns[-1]) + 1
            for i in range(len(columns)):
                while columns[i] - base >= n_channels:
                    base += n_channels
                channel = columns[i] - base
                counts[channel] += latest[channel] != row
                latest[channel] = row
    return n_rows


@kernel
def nonzeros_per_row(bits: npt.NDArray[np.int32], counts: npt.NDArray[np.int64]) -> None:
    """Write the number of elements other than 0 and -0 of each row to `counts` (rows,)."""
    for row in range(len(bits)):
        features = bits[row]  # with a slice numba knows that no index is negative, and vectorises
        count = 0
        for feature in range(len(features)):
            count += (features[feature] & MAGNITUDE) != 0
        counts[row] = count


@kernel
def nonzeros_per_channel(bits: npt.NDArray[np.int32], counts: npt.NDArray[np.int64]) -> None:
    """Add the number of elements other than 0 and -0 of each channel to `counts` (channels,)."""
    n_channels = len(counts)
    for row in range(len(bits)):
        for start in range(0, bits.shape[1], n_channels):
            base = bits[row, start : start + n_channels]
            for channel in range(n_channels):
                counts[channel] += (base[channel] & MAGNITUDE) != 0
