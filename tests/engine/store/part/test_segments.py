import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from sparsefeat.store.part.array import Segments


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.data())
def test_rows_are_copied_to_their_places(lengths: list[int], data: st.DataObject) -> None:
    n_rows = len(lengths)
    numbers = np.array(data.draw(st.lists(st.integers(0, n_rows - 1), max_size=12)), np.int64)
    source = np.cumsum([0, *lengths])
    flat = np.arange(source[-1]) * 10
    order = np.argsort(numbers, kind="stable")
    target = np.cumsum([0, *np.diff(source)[numbers]])
    segments = Segments.rows(numbers[order], source, target, order)
    out = np.full(target[-1], -1)
    for start, place, length in zip(segments.source, segments.target, segments.length, strict=True):
        out[place : place + length] = flat[start : start + length]
    rows: list[npt.NDArray[np.int64]] = [flat[source[row] : source[row + 1]] for row in numbers]
    assert out.tolist() == np.concatenate([[], *rows]).tolist()
    for ascending in (segments.source, segments.stop):
        assert (np.diff(ascending) >= 0).all()


def test_neighbours_are_one_segment() -> None:
    source = np.array([0, 3, 3, 5, 9])
    rows = np.arange(4)
    segments = Segments.rows(rows, source, source, rows)
    assert (segments.source.tolist(), segments.length.tolist()) == ([0], [9])
