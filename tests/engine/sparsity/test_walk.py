from pathlib import Path

from sparsefeat.model import ModelFile, choose
from sparsefeat.sparsity import missing_of_walk


def test_the_walk_is_what_a_model_gives_for_it(small_vgg16: Path, small_vgg16_top: Path) -> None:
    whole = choose("walk", ModelFile.open(small_vgg16_top).metadata.layers)
    assert len(whole) == 7
    assert missing_of_walk(whole) == []
    without_top = choose("walk", ModelFile.open(small_vgg16).metadata.layers)
    assert missing_of_walk(without_top) == ["fc1", "fc2"]
    assert without_top == whole[:5]
