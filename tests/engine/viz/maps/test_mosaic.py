import io
import sys

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from sparsefeat.errors import DependencyError, InputError
from sparsefeat.viz.maps.colours import ZERO, paint, rgb

from .made import made, noise


def image(content: bytes) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def colours(pixels: npt.NDArray[np.uint8]) -> set[int]:
    """Return the colour of each pixel as one number."""
    red, green, blue = pixels.reshape(-1, 3).astype(np.int64).T
    return set(np.flatnonzero(np.bincount((red << 16) + (green << 8) + blue)).tolist())


def test_a_mosaic_has_the_colours_of_its_maps() -> None:
    maps = made(noise(14, 14, 1), stage="post")
    pixels = image(maps.png())
    panel = maps.panels()[0]
    painted = paint(panel.values[..., 0], panel.colours, panel.shared_limit)
    assert colours(painted) <= colours(pixels)
    share = np.mean((pixels[60:, 330:] == rgb(ZERO)).all(axis=-1))
    assert share > 0.2


@pytest.mark.parametrize(
    ("shape", "n"), [((6, 8), 5), ((1, 1), 512), ((28, 28), 512), ((300, 100), 3)]
)
def test_any_number_and_shape_of_maps_is_drawn(shape: tuple[int, int], n: int) -> None:
    for relu_split in (False, True):
        pixels = image(made(noise(*shape, n)).png(scale="channel", relu_split=relu_split))
        assert max(pixels.shape) < 6000
        assert len(colours(pixels)) > 100


def test_dollars_in_names_are_not_formulas() -> None:
    assert made(image="price $5 $x_").png()


def test_letters_missing_in_the_font_give_no_warning() -> None:
    assert made(image="\u732b.jpg").png()  # warnings are errors here


@pytest.mark.parametrize("shape", [(2048, 32), (3000, 1), (1, 3000)])
def test_maps_of_any_aspect_ratio_are_drawn(shape: tuple[int, int]) -> None:
    pixels = image(made(noise(*shape, 1), stage="post").png())
    assert max(pixels.shape) < 6000
    assert len(colours(pixels)) > 100


def test_too_large_mosaics_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"2000 channels of 1x3000.*at most 60000.*--channels top:16"
    ):
        made(noise(1, 3000, 2000)).png()


def test_missing_matplotlib_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(DependencyError, match=r"sparsefeat\[viz\]"):
        made().png()
    assert list(made()._repr_mimebundle_()) == ["text/plain"]
