"""Codes that were read back into values, in several threads."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from sparsefeat.store.pool import in_threads
from sparsefeat.store.segments import Segments
from sparsefeat_kernels import scale_numbers

T = TypeVar("T")

Float32 = npt.NDArray[np.float32]

_AT_ONCE = 1 << 18  # elements: a thread's share, still in its cache when it is done


def scale_stretches(
    segments: Segments, values: Float32, indices: npt.NDArray[Any], steps: Float32, *, squared: bool
) -> None:
    """Replace codes of a layer stored as CSR by their values.

    Parameters
    ----------
    segments
        Whose targets are those codes.
    values, indices
        float32 and int32 or int64, of all that was read: the codes, and their columns.
    steps
        float32 (C,).
    squared
        Whether a value is the square of its code in steps.
    """

    def scale(stretch: tuple[int, int]) -> None:
        place = slice(*stretch)
        columns = indices[place].astype(np.int32, copy=False)
        scale_numbers(values[place], columns, steps, squared=squared)

    stretches = [
        (start, min(start + _AT_ONCE, begin + length))
        for begin, length in zip(segments.target.tolist(), segments.length.tolist(), strict=True)
        for start in range(begin, begin + length, _AT_ONCE)
    ]
    _each(scale, stretches)


def scale_rows(
    places: npt.NDArray[np.int64], out: Float32, steps: Float32, *, squared: bool
) -> None:
    """Replace codes in some rows of `out`, (rows, features), by their values."""

    def scale(place: int) -> None:
        row = out[place].reshape(-1, len(steps))
        if squared:
            np.multiply(row, row, out=row)
        np.multiply(row, steps, out=row)

    _each(scale, places.tolist())


def _each(task: Callable[[T], None], items: list[T]) -> None:
    if len(items) == 1:  # a row of a few thousand elements isn't worth a thread
        task(items[0])
        return
    for _ in in_threads(task, items):
        pass
