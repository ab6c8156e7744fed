import numpy as np
import pytest
from skimage import data

from sparsefeat.analysis import compute_flatness
from sparsefeat.errors import InputError


def test_blocks_of_little_variance_are_flat() -> None:
    pixels = np.full((16, 24, 3), 90, np.uint8)
    pixels[0, 0:8:2] += 100  # one of six blocks
    pixels[8:, 16:] = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)  # another one
    measured = compute_flatness(pixels)
    assert measured.flat_share == 4 / 6
    grey = pixels[..., 0].astype(np.float64)
    blocks = [grey[y : y + 8, x : x + 8] for y in (0, 8) for x in (0, 8, 16)]
    expected = np.mean([np.log10(1 + block.var()) for block in blocks])
    assert measured.log_variance == pytest.approx(expected, rel=1e-5)


def test_the_variance_is_that_of_the_luminance() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, ::2] = (59, 0, 0)
    pixels[:, 1::2] = (0, 30, 0)  # as bright, in another colour
    assert compute_flatness(pixels).flat_share == 1


def test_pixels_that_fill_no_block_are_ignored() -> None:
    pixels = np.zeros((9, 15, 3), np.uint8)
    pixels[8:] = 255
    pixels[:, 8:] = 255
    assert compute_flatness(pixels).log_variance == 0


def test_white_is_flatter_than_a_photograph_and_a_photograph_than_noise() -> None:
    rng = np.random.default_rng(0)
    noise = compute_flatness(rng.integers(0, 256, (224, 224, 3)).astype(np.uint8))
    photograph = compute_flatness(data.rocket()[:224, :224])
    white = compute_flatness(np.full((224, 224, 3), 255, np.uint8))
    assert noise.flat_share == 0 < photograph.flat_share < white.flat_share == 1
    assert noise.log_variance > photograph.log_variance > white.log_variance == 0


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8), np.uint8),
        np.zeros((1, 8, 8, 3), np.uint8),
        np.zeros((7, 80, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(InputError, match="expected"):
        compute_flatness(pixels)
