import json

import pytest

from sparsefeat.errors import InputError
from sparsefeat.images import PRESETS, QUIRKS, preset, quirk_message


@pytest.mark.parametrize("name", PRESETS)
def test_a_recipe_survives_json_and_names_its_preset(name: str) -> None:
    recipe = preset(name).recipe()
    assert json.loads(json.dumps(recipe)) == recipe
    assert recipe["name"] == name
    assert "mean" not in recipe  # scaling is the model's


def test_recipes_without_reduction_have_no_margin() -> None:
    assert "jpeg_margin" not in preset("keras").recipe()
    assert preset("keras").recipe()["version"] == 1
    assert preset("bilinear").recipe()["jpeg_margin"] == 2.0


def test_recipes_of_presets_differ() -> None:
    recipes = [json.dumps(each.recipe(), sort_keys=True) for each in PRESETS.values()]
    assert len(set(recipes)) == len(recipes)


@pytest.mark.parametrize(("typo", "meant"), [("kears", "keras"), ("bilinar", "bilinear")])
def test_an_unknown_name_gives_the_nearest(typo: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"unknown preprocess '{typo}'.*did you mean {meant}"):
        preset(typo)


@pytest.mark.parametrize("note", QUIRKS)
def test_messages_of_keras_quirks_name_a_better_preset(note: str) -> None:
    message = quirk_message(note, PRESETS["keras"])
    assert message is not None
    assert "as Keras does" in message
    assert "--preprocess bilinear" in message
    assert "\n" not in message


@pytest.mark.parametrize("note", QUIRKS)
@pytest.mark.parametrize("name", ["bilinear", "bicubic", "crop"])
def test_other_presets_have_no_quirks(note: str, name: str) -> None:
    assert quirk_message(note, PRESETS[name]) is None
