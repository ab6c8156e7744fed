from pathlib import Path

import numpy as np
import pytest

from sparsefeat.interop.conversion.reader import StoreReader
from sparsefeat.store import Store
from sparsefeat.types import Layer

from ...store.data import SMALL, make_batch, write_store
from .stores import assert_same_matrix, odd_store

NAMES = [layer.name for layer in SMALL]


@pytest.mark.parametrize("stretch_bytes", [1, 300, 1000, 1 << 40])
@pytest.mark.parametrize("rows", [None, [10, 0, 0, 5]])
def test_stretches_cover_the_rows_within_bounds(
    tmp_path: Path, stretch_bytes: int, rows: list[int] | None
) -> None:
    store = odd_store(tmp_path / "store")
    found = StoreReader(store, NAMES, rows, stretch_bytes=stretch_bytes)
    stretches = list(found.stretches("block5_pool", "block5_conv3/pre"))
    assert [start for start, _ in stretches] == [0, *(stop for _, stop in stretches[:-1])]
    assert stretches[-1][1] == found.n_rows
    for start, stop in stretches:
        taken = sum(8 * found.nnz(name)[start:stop].sum() for name in NAMES[:2])
        assert stop == start + 1 or taken <= stretch_bytes
        expected = store["block5_pool"][list(range(11) if rows is None else rows)][start:stop]
        assert_same_matrix(found.csr("block5_pool", start, stop), expected)


def test_row_starts_are_int32_as_long_as_they_fit(tmp_path: Path) -> None:
    """The same row of 2**20 non-zeros, many times."""
    layer = Layer(name="wide", shape=(2**20,))
    batch = make_batch([0], [layer], make=lambda *_: np.ones((1, 2**20), np.float32))
    write_store(tmp_path, [batch], [layer])
    for count, dtype in ((2047, np.int32), (2048, np.int64)):
        found = StoreReader(Store(tmp_path), ["wide"], [0] * count, stretch_bytes=1 << 60)
        assert found.indptr("wide").dtype == dtype
        assert found.indptr("wide").tolist() == [2**20 * number for number in range(count + 1)]
        stretches = list(found.stretches("wide"))
        assert (stretches[0][0], stretches[-1][1]) == (0, count)
        assert max(stop - start for start, stop in stretches) * 2**20 < 2**31


def test_a_layer_that_is_dense_as_codes_may_be_csr_as_float32(tmp_path: Path) -> None:
    store = odd_store(tmp_path / "plain")
    found = StoreReader(store, NAMES, None, stretch_bytes=1)
    assert [found.is_dense(name) for name in NAMES] == [False, False, True]
    write_store(tmp_path / "codes", [make_batch(range(9), SMALL[::2])], SMALL[::2], values="uint8")
    store = Store(tmp_path / "codes")
    assert {layer.encoding for layer in store.parts[0].layers.values()} == {"dense"}
    found = StoreReader(store, ["block5_pool", "fc"], None, stretch_bytes=1)
    assert not found.is_dense("block5_pool")
    assert found.is_dense("fc")


def test_equal_provenance_is_written_once(tmp_path: Path) -> None:
    for number, tool in enumerate(("a", "a", "b")):
        write_store(tmp_path, [make_batch([number])], provenance={"tool": tool})
    header = StoreReader(Store(tmp_path), NAMES, None, stretch_bytes=1).header()
    assert '"provenance": [{"tool": "a"}, {"tool": "b"}]' in header
