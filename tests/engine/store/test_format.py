"""Stores of earlier versions are read for ever; tests/fixtures/store-1 was written by format 1.

``python -m tests.engine.store.test_format FOLDER`` writes such a store: for the next format only,
a fixture is never written anew.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from sparsefeat.records import Layer
from sparsefeat.store import Store, info, verify
from sparsefeat.store.layout import FORMAT

from .data import make_batch, make_reject, make_row, write_store

FIXTURES = Path(__file__).parents[2] / "fixtures"
LAYERS = (Layer(name="block5_conv3/pre", shape=(4, 4, 16)), Layer(name="fc1", shape=(5,)))
REJECTS = (make_reject(1), make_reject(2, reason="größer als erlaubt"))


def frozen_rows(layer: Layer, numbers: Sequence[int]) -> npt.NDArray[np.float32]:
    """Rows that follow from arithmetic alone, so that no library can change them."""
    rows, columns = np.array(numbers)[:, None], np.arange(layer.n_features)
    values = (7 * rows + columns**2) % 11 / 8
    return (values + 1 if layer.name == "fc1" else np.maximum(values - 1, 0)).astype(np.float32)


@pytest.mark.parametrize("version", range(1, FORMAT + 1))
def test_a_store_of_every_format(version: int) -> None:
    folder = FIXTURES / f"store-{version}"
    assert verify(folder).findings == ()
    store = Store(folder)
    assert len(store) == 3
    assert store.settings == {"pool": "none", "nested": {"size": [224, 224]}}
    assert store.provenance == [{"tool": "fixture"}]
    for layer in LAYERS:
        expected = frozen_rows(layer, range(3))
        assert store.layers[layer.name] == layer
        np.testing.assert_array_equal(store[layer.name].toarray(), expected)
        np.testing.assert_array_equal(store.dense(layer.name).reshape(3, -1), expected)
        np.testing.assert_array_equal(store.zeros(layer.name).per_row, (expected == 0).sum(axis=1))
    for column in store.obs:
        assert list(store.obs[column]) == [getattr(make_row(n), str(column)) for n in range(3)]
    assert list(store.rejected["reason"]) == [reject.reason for reject in REJECTS]
    assert info(folder)["rejected"] == 2


def test_what_is_written_now_is_what_was_written_then(tmp_path: Path) -> None:
    """The same files and metadata; chunks may differ, as compressors come to."""
    write(tmp_path / "now")
    then = FIXTURES / "store-1"  # what needs no newer reader is written for the oldest one
    files = {str(f.relative_to(then)) for f in then.glob("part-*/**/*") if f.is_file()}
    assert {
        str(f.relative_to(tmp_path / "now"))
        for f in (tmp_path / "now").glob("part-*/**/*")
        if f.is_file()
    } == files
    for file in files:
        if file.endswith("zarr.json") and file.count("/") > 1:
            now = json.loads((tmp_path / "now" / file).read_bytes())
            assert now == json.loads((then / file).read_bytes()), file


def write(folder: Path) -> None:
    write_store(
        folder,
        [make_batch(range(3), LAYERS, REJECTS, frozen_rows)],
        LAYERS,
        settings={"pool": "none", "nested": {"size": [224, 224]}},
        provenance={"tool": "fixture"},
    )


if __name__ == "__main__":
    write(Path(sys.argv[1]))
