import numpy as np

from sparsefeat.viz.maps.words import heading, notes, printable

from .made import made, noise


def test_heading() -> None:
    assert heading(made(best="energy", scores=np.arange(5.0))).startswith(
        "cat.jpg · 5 of 22 channels of 6×8, best energy first · VGG16 fp32, weights 000000000000 · "
    )
    assert heading(made(noise(2, 3, 4), n_channels=4, picture="")).startswith(
        "a picture · all 4 channels of 2×3 · "
    )
    assert heading(made(picture="a\nb\x1b.jpg")).startswith(r"a\nb\x1b.jpg · ")


def test_notes_say_what_is_shown() -> None:
    both = made()
    said = " ".join(notes(both, both.panels()))
    assert "left to right: before ReLU and after ReLU." in said
    assert "Clipped is" in said
    output = made(stage="post")
    said = " ".join(notes(output, output.panels()))
    assert "Clipped is" not in said
    assert "left to right" not in said
    pool = made(stage="post", rectified=False)
    assert "no ReLU of its own" in " ".join(notes(pool, pool.panels()))


def test_what_prints_is_left_as_it_is() -> None:
    assert printable("été \u732b & <b>") == "été \u732b & <b>"
    assert printable("a\u202eb\r") == r"a\u202eb\r"
