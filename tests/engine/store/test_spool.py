from pathlib import Path

import numpy as np
from sparsefeat.store.spool import Spool

from sparsefeat_kernels import encode


def test_rows_come_back_as_they_went(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "rows", 30)
    assert list(spool) == []
    rng = np.random.default_rng(0)
    batches = []
    for count in (3, 0, 1, 5):
        x = rng.normal(size=(count, 30)).astype(np.float32)
        x[rng.random(x.shape) < 0.5] = 0
        batches.append(encode(x))
        spool.append(batches[-1].rows(0, count))
    for _ in range(2):  # as often as wanted
        back = list(spool)
        assert len(back) == 4
        for got, expected in zip(back, batches, strict=True):
            np.testing.assert_array_equal(got.indptr, expected.indptr, strict=True)
            np.testing.assert_array_equal(got.indices, expected.indices, strict=True)
            np.testing.assert_array_equal(got.values, expected.values, strict=True)
            assert got.n_columns == 30
    spool.clear()
    assert not list(tmp_path.iterdir())
    assert list(spool) == []
