from pathlib import Path

from sparsefeat.analysis import end_of_walk, missing_of_walk
from sparsefeat.model import ModelFile, ModelLayer, choose


def test_the_walk_is_what_a_model_gives_for_it(small_vgg16: Path, small_vgg16_top: Path) -> None:
    layers = ModelFile.open(small_vgg16_top).metadata.layers
    whole = choose("walk", layers)
    assert whole[5:] == ("fc1", "fc2")
    assert missing_of_walk(whole) == []
    assert end_of_walk(layers) is None
    base = ModelFile.open(small_vgg16).metadata.layers
    assert choose("walk", base) == whole[:5]
    assert missing_of_walk(whole[:5]) == ["layers behind block5_pool"]
    assert missing_of_walk(whole[1:]) == ["block1_pool"]
    assert end_of_walk(base) == "the model was exported without its top"


def test_the_hidden_layers_of_another_top_are_walked(small_vgg16: Path) -> None:
    base = ModelFile.open(small_vgg16).metadata.layers

    def layer(name: str, kind: str, *, rectified: bool = False) -> ModelLayer:
        return ModelLayer(name=name, kind=kind, shape=(8,), rectified=rectified)

    gap, classes = layer("gap", "global_average_pooling2d"), layer("classes", "dense")
    hidden = layer("hidden", "dense"), layer("rectify", "re_lu", rectified=True)
    layers = (*base, gap, *hidden, layer("drop", "dropout"), classes)
    assert choose("walk", layers)[5:] == ("hidden", "rectify")
    assert end_of_walk(layers) is None
    said = end_of_walk((*base, gap, classes))
    assert said == "behind it the model has gap, classes, none of them a hidden layer"
