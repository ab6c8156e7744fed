from collections.abc import Sequence

import numpy as np
import pytest

from sparsefeat.errors import InputError
from sparsefeat.store import Store

from ..data import make_batch, write_store

ROWS = 23


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("where") / "features"
    write_store(folder, [make_batch(range(ROWS))], rows_per_part=5)
    return Store(folder)


CONDITIONS = {
    "width > 500": range(ROWS),
    "height >= 485 and label == 'folder 1'": range(7, ROWS, 3),
    "height >= 485 & label == 'folder 1'": range(7, ROWS, 3),
    "(height < 482) | ~(label != 'folder 1')": [0, *range(1, ROWS, 3)],
    "not label == 'folder 0' and height < 485": [1, 2, 4],
    "481 < height <= 484": [2, 3, 4],
    "label in ['folder 2', 'x'] & height < 490": [2, 5, 8],
    "label not in ('folder 0', 'folder 1')": range(2, ROWS, 3),
    "bytes % 2 == 0 and width * height / 1000 > 320": range(22, ROWS, 2),
    "mtime_ns - bytes == 1699999999999999000 and -height < -500": [21, 22],
    "path.str.startswith('folder 1/') and path.str.contains('-4-')": [4],
    "path.str.contains(r'-1\\d?-')": [1, *range(10, 20)],
    "format.str.lower() == 'jpeg' and path.str.len() > 21 and height < 491": [10],
    "width > 1000": [],
    "label == ['folder 1', 'folder 2'] and height < 483": [1, 2],
    "height in [-5, 480 + 1, 490.0]": [1, 10],
    "label in [] or height == 481": [1],
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_condition_gives_row_numbers(store: Store, condition: str) -> None:
    expected: Sequence[int] = CONDITIONS[condition]
    found = store.where(condition)
    assert found.dtype == np.int64
    assert found.tolist() == [*expected]
    read = store["block5_pool"][found]
    np.testing.assert_array_equal(read.toarray(), store["block5_pool"][[*expected]].toarray())


def test_a_row_is_found_by_its_id(store: Store) -> None:
    assert store.where(f"index == {store.obs.index[5]!r}").tolist() == [5]


REFUSED = {
    "widht > 5": "no column 'widht': try width",
    "qqq.str.len() > 5": "no column 'qqq': try index, path, root",
    "width > @ROWS": "no column 'ROWS'",
    "@np.abs(width) > 5": "no column 'np'",
    "width": "int64",
    "True": "not True or False a row",
    "wide = width > 5": "not True or False a row",
    "width > '5'": "TypeError",
    "path.str.contains('(')": "unterminated subpattern",
    "width >": "invalid syntax",
    "width > 5; height > 3": "single expression",
    "width > 5\nheight > 3": "Multi-line",
    "width > 1 / 0": "division by zero",
    "width > 5 and 1": "scalar",
    "open('features') == 1": "not a supported function",
    "": "got ''",
    "-" * 9000 + "1": "",
    "not " * 2000 + "width > 5": "",
}


@pytest.mark.parametrize("condition", REFUSED, ids=range(len(REFUSED)))
def test_invalid_conditions_are_refused_in_one_line(store: Store, condition: str) -> None:
    with pytest.raises(InputError) as raised:
        store.where(condition)
    message = str(raised.value)
    assert REFUSED[condition] in message
    assert "\n" not in message
    assert len(message) < 500


def test_conditions_do_not_change_the_table(store: Store) -> None:
    before = store.obs
    store.where("width > 500")
    with pytest.raises(InputError):
        store.where("width = 1")
    assert store.obs.equals(before)
