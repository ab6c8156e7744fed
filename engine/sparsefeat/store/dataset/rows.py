"""Which rows were asked for, and in which pieces to read them."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError

RowIndex: TypeAlias = (
    int | slice | Sequence[int] | Sequence[bool] | npt.NDArray[np.integer[Any] | np.bool_]
)


def row_numbers(rows: RowIndex, n_rows: int) -> npt.NDArray[np.int64]:
    """Turn an index as NumPy takes it into row numbers from 0 to `n_rows` - 1.

    Raises
    ------
    InputError
        It is out of range, or no index of one axis.

    Examples
    --------
    >>> row_numbers([-1, 0, 0], 10).tolist()
    [9, 0, 0]
    """
    if isinstance(rows, slice):
        return np.arange(*rows.indices(n_rows), dtype=np.int64)
    try:
        index = np.asarray(rows)
    except (TypeError, ValueError) as exc:
        raise InputError(
            f"got rows as a {type(rows).__name__} ({exc}), expected a number, a slice, a list of "
            "numbers, or a mask: convert it"
        ) from exc
    if index.size == 0 and index.ndim == 1 and index.dtype != np.bool_:
        return np.empty(0, np.int64)
    if index.dtype == np.bool_ and index.shape == (n_rows,):
        return np.flatnonzero(index)
    if index.dtype.kind not in "iu" or index.ndim > 1:
        raise InputError(
            f"got rows of type {index.dtype} and shape {index.shape}, expected a number, a slice, "
            f"a list of numbers, or a mask of shape ({n_rows},): convert it"
        )
    numbers = np.atleast_1d(index).astype(np.int64)
    outside = numbers[(numbers < -n_rows) | (numbers >= n_rows)]
    if len(outside):
        raise InputError(
            f"row {outside[0]} is out of range, expected {-n_rows} to {n_rows - 1}: "
            "the store has no more rows"
        )
    return np.where(numbers < 0, numbers + n_rows, numbers)


def spans(
    rows: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64], *, gap: int, most: int
) -> Iterator[tuple[int, int]]:
    """Cut wanted rows into stretches that are worth reading at once.

    Parameters
    ----------
    rows
        Wanted rows in ascending order.
    offsets
        int64 (all rows + 1,), where each row's elements start.
    gap
        Elements between two wanted rows up to which it is cheaper to read on.
    most
        Elements in a stretch, unless a single row has more.

    Yields
    ------
    The first row of a stretch, and the one after its last.
    """
    if not len(rows):
        return
    skipped = offsets[rows[1:]] - offsets[np.minimum(rows[:-1] + 1, rows[1:])]
    breaks = np.flatnonzero(skipped > gap) + 1
    firsts, lasts = rows[np.append(0, breaks)], rows[np.append(breaks, len(rows)) - 1]
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        start, stop = first, last + 1
        while start < stop:
            end = int(np.searchsorted(offsets, offsets[start] + most, side="right")) - 1
            end = min(stop, max(end, start + 1))
            yield start, end
            start = end


def runs(
    rows: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64], *, most: int
) -> Iterator[tuple[int, int]]:
    """Cut wanted rows, ascending, into stretches without any others: see `spans`."""
    for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
        # One by one, for a stretch would bridge rows without elements.
        yield from spans(run, offsets, gap=0, most=most)
