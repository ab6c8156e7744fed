"""Groups have the same layers in a model, by their kinds, and in a store, by their names."""

from pathlib import Path

import pytest

from sparsefeat.model import ModelFile, choose_layers
from sparsefeat.model.layer_names import GROUPS
from sparsefeat.store.dataset.view import choose_stored_layers


@pytest.mark.parametrize("word", GROUPS)
def test_a_group_has_the_same_layers_by_kind_and_by_name(small_vgg16_top: Path, word: str) -> None:
    layers = ModelFile.open(small_vgg16_top).metadata.layers
    names = [layer.name for layer in layers]
    chosen = choose_layers(word, layers)
    assert chosen == choose_stored_layers(word, names)
    assert len(chosen) == {"all": len(names), "pools": 5, "convs": 13, "stages": 7}[word]
