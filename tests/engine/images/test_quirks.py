import pytest

from sparsefeat.images.presets import PRESETS
from sparsefeat.images.quirks import QUIRKS, quirk_message


@pytest.mark.parametrize("note", QUIRKS)
def test_keras_has_every_quirk_and_the_message_names_a_better_preset(note: str) -> None:
    message = quirk_message(note, PRESETS["keras"])
    assert message is not None
    assert "as Keras does" in message
    assert "--preprocess bilinear" in message
    assert "\n" not in message


@pytest.mark.parametrize("note", QUIRKS)
@pytest.mark.parametrize("name", ["bilinear", "bicubic", "crop"])
def test_the_other_presets_honour_everything(note: str, name: str) -> None:
    assert quirk_message(note, PRESETS[name]) is None
