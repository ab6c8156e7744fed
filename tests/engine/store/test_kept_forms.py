"""Parts written again hold the same values, and still say what those have lost."""

from pathlib import Path

import numpy as np
import pytest
from sparsefeat.store.part.forms import common_form
from sparsefeat.store.part.write import PartLimits, PartWriter

from sparsefeat.store import Store, verify
from sparsefeat.store.part.read import Part
from sparsefeat.store.values import Loss, Values
from sparsefeat.types import ChannelSteps
from sparsefeat_kernels import to_dense

from .data import assert_same_floats, make_row
from .test_forms import LAYERS, SPARSE, STEPS, activations, counted, write


def rewrite(store: Store, folder: Path, parts: list[Part]) -> Store:
    """Make one part of some."""
    folder.mkdir()
    forms = {}
    for layer in LAYERS:
        form = common_form(parts, layer.name)
        assert form is not None
        forms[layer.name] = form
    values = Values.parse(parts[0].header.values)
    limits = PartLimits(rows=1000, n_bytes=1 << 30)
    writer = PartWriter(folder, 0, LAYERS, limits, values, forms=forms)
    number = 0
    for part in parts:
        rows = part.header.rows
        layers = {layer.name: part.rows(layer.name, 0, rows) for layer in LAYERS}
        writer.append([make_row(number + n) for n in range(rows)], layers)
        number += rows
    writer.commit(store.settings, {})
    assert verify(folder).findings == ()
    return Store(folder)


@pytest.mark.parametrize("values", ["float32", "float16", "bits:3", "bits:20"])
def test_rounded_values(tmp_path: Path, values: str) -> None:
    store = write(tmp_path / "store", values)
    again = rewrite(store, tmp_path / "again", list(store.parts))
    for layer in LAYERS:
        assert_same_floats(again[layer.name].toarray(), store[layer.name].toarray())
        stored = [part.layers[layer.name].values for part in store.parts]
        losses = [one.loss for one in stored if one is not None and one.loss is not None]
        kept = again.parts[0].layers[layer.name].values
        assert (kept.loss if kept else None) == (sum(losses, Loss()) if losses else None)
    assert again.parts[0].header.values == values


@pytest.mark.parametrize("number", range(3))
def test_codes_of_one_part(tmp_path: Path, number: int) -> None:
    store = write(tmp_path / "store", "uint8")
    part = store.parts[number]
    again = rewrite(store, tmp_path / "again", [part]).parts[0]
    for layer in LAYERS:
        name = layer.name
        assert_same_floats(again.steps(name), part.steps(name))
        expected = to_dense(part.rows(name, 0, part.header.rows))
        assert_same_floats(to_dense(again.rows(name, 0, part.header.rows)), expected)
        assert again.layers[name].values == part.layers[name].values


def test_codes_with_other_steps_do_not_mix(tmp_path: Path) -> None:
    store = write(tmp_path, "uint8")
    assert common_form(store.parts, SPARSE.name) is None
    assert common_form([store.parts[0], store.parts[0]], SPARSE.name) is not None


def test_whole_numbers_stay_so(tmp_path: Path) -> None:
    store = write(tmp_path / "store", "float32", counted, steps={"sparse": STEPS})
    again = rewrite(store, tmp_path / "again", list(store.parts))
    assert again.parts[0].layers["sparse"].values == store.parts[0].layers["sparse"].values
    assert again.parts[0].array("obsm/sparse/data").metadata.dtype == np.uint8
    for layer in LAYERS:
        assert_same_floats(again[layer.name].toarray(), store[layer.name].toarray())


def test_whole_numbers_beside_others_are_float32(tmp_path: Path) -> None:
    twice = ChannelSteps(steps=STEPS.steps / np.float32(2), largest=510)
    stores = [
        write(tmp_path / "codes", "float32", counted, steps={"sparse": STEPS}),
        write(tmp_path / "finer", "float32", counted, steps={"sparse": twice}),
        write(tmp_path / "plain", "float32", activations),
    ]
    for number, other in enumerate(stores[1:]):
        parts = [stores[0].parts[0], other.parts[0]]
        again = rewrite(stores[0], tmp_path / str(number), parts)
        assert again.parts[0].layers["sparse"].values is None
        expected = np.concatenate([to_dense(part.rows("sparse", 0, 12)) for part in parts])
        assert_same_floats(again.dense("sparse").reshape(24, -1), expected)
