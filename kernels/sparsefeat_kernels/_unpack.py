"""The compiled kernels that read compressed rows, and check them block by block as they go."""

import numpy as np
import numpy.typing as npt

from sparsefeat_kernels._jit import kernel

BLOCK = 512  # elements: what was checked, or cleared, is still in the nearest cache when used


@kernel
def row_lies_within(indptr: npt.NDArray[np.int64], nnz: int, row: int) -> bool:
    """Say whether the row's ends are in order and inside the stored elements."""
    return bool(0 <= indptr[row] <= indptr[row + 1] <= nnz)


@kernel
def block_is_sound(block: npt.NDArray[np.uint32], floor: int, n_columns: int) -> bool:
    """Say whether the columns strictly increase from `floor` at least to under `n_columns`.

    They are seen as unsigned, so that a negative one is too large.
    """
    disorder = np.uint32(0)  # no early exit: that couldn't be vectorised
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
    """Overwrite `dense` (rows, columns) with all rows; stop at the first unsound one and give it.

    Gives the number of rows where all are sound.
    """
    n_rows, n_columns = len(dense), dense.shape[1]
    for row in range(n_rows):
        if not row_lies_within(indptr, len(indices), row):
            return row
        target = dense[row]
        cleared = 0
        for start in range(indptr[row], indptr[row + 1], BLOCK):
            stop = min(start + BLOCK, indptr[row + 1])
            columns, elements = indices[start:stop], values[start:stop]
            if not block_is_sound(columns, cleared, n_columns):
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
    """Add each channel's stored elements to `counts` (channels,); stop and give as `unpack`."""
    n_rows, n_channels = len(indptr) - 1, np.uint32(len(counts))
    for row in range(n_rows):
        if not row_lies_within(indptr, len(indices), row):
            return row
        floor = 0
        place = np.uint32(0)  # column of the current place's first channel
        for start in range(indptr[row], indptr[row + 1], BLOCK):
            columns = indices[start : min(start + BLOCK, indptr[row + 1])]
            if not block_is_sound(columns, floor, n_columns):
                return row
            floor = int(columns[-1]) + 1
            for i in range(len(columns)):
                # Columns increase, so walking the places beats a division each.
                while columns[i] - place >= n_channels:
                    place += n_channels
                counts[columns[i] - place] += 1
    return n_rows


@kernel
def stored_per_position(
    indptr: npt.NDArray[np.int64],
    indices: npt.NDArray[np.uint32],
    n_columns: int,
    n_channels: int,
    counts: npt.NDArray[np.int64],
) -> int:
    """Add each position's stored elements to `counts` (positions,); stop and give as `unpack`."""
    n_rows, extent = len(indptr) - 1, np.uint32(n_channels)
    for row in range(n_rows):
        if not row_lies_within(indptr, len(indices), row):
            return row
        floor = 0
        position, place, count = 0, np.uint32(0), 0
        for start in range(indptr[row], indptr[row + 1], BLOCK):
            columns = indices[start : min(start + BLOCK, indptr[row + 1])]
            if not block_is_sound(columns, floor, n_columns):
                return row
            floor = int(columns[-1]) + 1
            for i in range(len(columns)):
                while columns[i] - place >= extent:
                    counts[position] += count  # seldom: memory is slower than a register
                    position, place, count = position + 1, place + extent, 0
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
    """Add 1 to `counts` (channels,) for each row that stores any of a channel; as `unpack`."""
    n_rows, n_channels = len(indptr) - 1, np.uint32(len(counts))
    latest = np.full(len(counts), -1)  # row that each channel was last met in
    for row in range(n_rows):
        if not row_lies_within(indptr, len(indices), row):
            return row
        floor = 0
        place = np.uint32(0)
        for start in range(indptr[row], indptr[row + 1], BLOCK):
            columns = indices[start : min(start + BLOCK, indptr[row + 1])]
            if not block_is_sound(columns, floor, n_columns):
                return row
            floor = int(columns[-1]) + 1
            for i in range(len(columns)):
                while columns[i] - place >= n_channels:
                    place += n_channels
                channel = columns[i] - place
                counts[channel] += latest[channel] != row
                latest[channel] = row
    return n_rows
