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
    """Pixels' colours, each as one number."""
    red, green, blue = pixels.reshape(-1, 3).astype(np.int64).T
    return set(np.flatnonzero(np.bincount((red << 16) + (green << 8) + blue)).tolist())


def test_the_colours_of_a_map_are_in_it() -> None:
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
def test_any_number_and_shape(shape: tuple[int, int], n: int) -> None:
    for relu_split in (False, True):
        pixels = image(made(noise(*shape, n)).png(scale="channel", relu_split=relu_split))
        assert max(pixels.shape) < 6000
        assert len(colours(pixels)) > 100


def test_a_name_is_no_formula() -> None:
    assert made(image="price $5 $x_").png()


def test_letters_that_the_font_lacks_are_no_warning() -> None:
    assert made(image="\u732b.jpg").png()  # warnings are errors here


@pytest.mark.parametrize("shape", [(2048, 32), (3000, 1), (1, 3000)])
def test_maps_of_any_ratio(shape: tuple[int, int]) -> None:
    pixels = image(made(noise(*shape, 1), stage="post").png())
    assert max(pixels.shape) < 6000
    assert len(colours(pixels)) > 100


def test_more_than_a_image_can_show() -> None:
    with pytest.raises(
        InputError, match=r"2000 channels of 1x3000.*at most 60000.*--channels top:16"
    ):
        made(noise(1, 3000, 2000)).png()


def test_matplotlib_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(DependencyError, match=r"sparsefeat\[viz\]"):
        made().png()
    assert list(made()._repr_mimebundle_()) == ["text/plain"]
