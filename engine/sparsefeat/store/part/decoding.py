"""What was read turned into what is wanted, in several threads: codes to values, CSR to dense."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from sparsefeat.store.format import in_threads
from sparsefeat.store.part.array import Segments
from sparsefeat_kernels import Csr, scale_numbers, to_dense

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


def expand_rows(csr: Csr, places: npt.NDArray[np.int64], out: Float32) -> None:
    """Write the rows of `csr` to their places among the rows of `out`.

    Raises
    ------
    ValueError
        The column numbers of a row don't strictly increase.
    """
    step = max(1, _AT_ONCE // max(1, csr.n_columns))
    breaks = np.flatnonzero(np.diff(places) != 1) + 1
    bounds = [0, *breaks.tolist(), len(places)]

    def expand(start: int, stop: int) -> None:
        place = int(places[start])
        to_dense(csr.rows(start, stop), out=out[place : place + stop - start])

    stretches = [
        (start, min(start + step, last))
        for first, last in pairwise(bounds)
        for start in range(first, last, step)
    ]
    _each(lambda stretch: expand(*stretch), stretches)


def _each(task: Callable[[T], None], items: list[T]) -> None:
    if len(items) == 1:  # a row of a few thousand elements isn't worth a thread
        task(items[0])
        return
    for _ in in_threads(task, items):
        pass
