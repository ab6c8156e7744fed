"""Stores of earlier versions are read for ever; tests/fixtures/store-N were written by format N.

``python -m tests.engine.store.test_format NAME FOLDER`` writes such a store: for the next format
only, a fixture is never written anew.
"""

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from sparsefeat.store.layout import FORMAT

from sparsefeat.store import Store, info, verify
from sparsefeat.types import ChannelSteps, Layer

from .data import make_batch, make_reject, make_row, write_store

FIXTURES = Path(__file__).parents[2] / "fixtures"
LAYERS = (Layer(name="block5_conv3/pre", shape=(4, 4, 16)), Layer(name="fc1", shape=(5,)))
RECTIFIED = (Layer(name="block1_pool", shape=(24, 24, 4)), LAYERS[1])
REJECTS = (make_reject(1), make_reject(2, reason="größer als erlaubt"))


def frozen_rows(layer: Layer, numbers: Sequence[int]) -> npt.NDArray[np.float32]:
    """Rows that follow from arithmetic alone, so that no library can change them."""
    rows, columns = np.array(numbers)[:, None], np.arange(layer.n_features)
    values = (7 * rows + columns**2) % 11 / 8
    if layer.name == "block1_pool":
        mixed = (7919 * columns**2 + 104_729 * (rows + 1) * columns) % 65_537
        values = np.where(mixed % 32 == 0, 1 + mixed % 400, 0) / 8
    return (values + 1 if layer.name == "fc1" else np.maximum(values - 1, 0)).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Fixture:
    """How a store was written; `sha256` of each layer's values is given where they are rounded."""

    version: int
    layers: tuple[Layer, ...] = LAYERS
    values: str = "float32"
    largest: dict[str, int] = field(default_factory=dict)
    stored: tuple[str, ...] = ("csr as None", "dense as None")
    sha256: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        steps = {
            layer.name: ChannelSteps(
                steps=np.full(layer.n_channels, 0.125, np.float32),
                largest=self.largest[layer.name],
            )
            for layer in self.layers
            if layer.name in self.largest
        }
        write_store(
            folder,
            [make_batch(range(3), self.layers, REJECTS, frozen_rows)],
            self.layers,
            settings={"pool": "none", "nested": {"size": [224, 224]}},
            provenance={"tool": "fixture"},
            values=self.values,
            steps=steps,
        )


STORES = {
    "store-1": Fixture(version=1),
    "store-2": Fixture(
        version=2,
        layers=RECTIFIED,
        largest={"block1_pool": 8415, "fc1": 255},
        stored=("csr as uint16 steps", "dense as uint8 steps"),
    ),
    "store-2-float16": Fixture(
        version=2, layers=RECTIFIED, values="float16", stored=("csr as float16", "dense as float16")
    ),
    "store-2-bits": Fixture(
        version=1,
        layers=RECTIFIED,
        values="bits:2",
        stored=("csr as bits:2", "dense as bits:2"),
        sha256=(
            "2b488e9ae71a2971aa8968a8e0b8503adc9df22cc1159b911b714d397cc12f0c",
            "c1cbecc0fcc9dbb06914e27c63d9b044f96b33881c275f5294abca123a88c566",
        ),
    ),
    "store-2-uint8": Fixture(
        version=2,
        layers=RECTIFIED,
        values="uint8",
        stored=("csr as uint8 roots", "dense as uint8 roots"),
        sha256=(
            "044c07fcf6f0f2eacd76b185ea400ce6654d509008a56ef4768b20ae366ef032",
            "3cd7350f5fa4a0bf7d97b6bd3fc2b52483d054b4be9619e69c22c7aa83d18d71",
        ),
    ),
}


def test_there_is_a_store_of_every_format() -> None:
    assert {fixture.version for fixture in STORES.values()} == set(range(1, FORMAT + 1))
    assert {path.name for path in FIXTURES.glob("store-*")} == STORES.keys()


@pytest.mark.parametrize("name", STORES)
def test_a_store_of_every_format(name: str) -> None:
    fixture, folder = STORES[name], FIXTURES / name
    assert verify(folder).findings == ()
    store = Store(folder)
    assert len(store) == 3
    assert store.settings == {"pool": "none", "nested": {"size": [224, 224]}}
    assert store.provenance == [{"tool": "fixture"}]
    (part,) = store.parts
    assert part.header.version == fixture.version
    assert part.header.values == fixture.values
    layers = part.header.layers
    assert fixture.stored == tuple(f"{one.encoding} as {one.values}" for one in layers)
    for number, layer in enumerate(fixture.layers):
        expected = frozen_rows(layer, range(3))
        assert store.layers[layer.name] == layer
        got = store[layer.name].toarray()
        if fixture.sha256:
            assert hashlib.sha256(got.tobytes()).hexdigest() == fixture.sha256[number]
            np.testing.assert_allclose(got, expected, rtol=0.13, atol=0.2)
        else:
            np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(store.dense(layer.name).reshape(3, -1), got)
        np.testing.assert_array_equal(store.zeros(layer.name).per_row, (expected == 0).sum(axis=1))
    for column in store.obs:
        assert list(store.obs[column]) == [getattr(make_row(n), str(column)) for n in range(3)]
    assert list(store.rejected["reason"]) == [reject.reason for reject in REJECTS]
    assert info(folder)["rejected"] == 2


@pytest.mark.parametrize("name", STORES)
def test_what_is_written_now_is_what_was_written_then(tmp_path: Path, name: str) -> None:
    """The same files and metadata; chunks may differ, as compressors come to."""
    STORES[name].write(tmp_path / "now")
    then = FIXTURES / name
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


if __name__ == "__main__":
    STORES[sys.argv[1]].write(Path(sys.argv[2]))
