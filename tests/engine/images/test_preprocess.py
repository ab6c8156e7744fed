import numpy as np
import numpy.typing as npt
import pytest

from sparsefeat.errors import InputError
from sparsefeat.images import normalize


def reference(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Keras' order of operations, channel by channel."""
    bgr = pixels.astype(np.float32)[..., ::-1].copy()
    for channel, mean in enumerate((103.939, 116.779, 123.68)):
        bgr[..., channel] -= mean
    return bgr


@pytest.mark.parametrize("shape", [(224, 224, 3), (2, 5, 7, 3), (1, 3), (0, 4, 4, 3), (3, 0, 3)])
def test_normalizing_equals_the_reference_bit_for_bit(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    result = normalize(pixels)
    assert result.dtype == np.float32
    assert result.tobytes() == reference(pixels).tobytes()


def test_every_level_of_every_channel_is_normalized() -> None:
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    assert normalize(pixels).tobytes() == reference(pixels).tobytes()


def test_strided_and_read_only_pixels_are_accepted() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (9, 8, 6), np.uint8)[::2, ::-1, ::2]
    pixels.flags.writeable = False
    assert normalize(pixels).tobytes() == reference(pixels).tobytes()


def test_out_is_filled_and_returned() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (2, 4, 4, 3), np.uint8)
    out = np.full(pixels.shape, np.nan, np.float32)
    assert normalize(pixels, out=out) is out
    assert out.tobytes() == reference(pixels).tobytes()


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 4), np.uint8), np.zeros(3, np.uint8)],
)
def test_wrong_pixels_are_refused(pixels: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(InputError, match="uint8"):
        normalize(pixels)


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((4, 4, 3), np.float64),
        np.zeros((4, 5, 3), np.float32),
        np.zeros((3, 4, 4), np.float32).transpose(1, 2, 0),
    ],
)
def test_a_wrong_out_is_refused(out: npt.NDArray[np.float32]) -> None:
    with pytest.raises(InputError, match="C-contiguous"):
        normalize(np.zeros((4, 4, 3), np.uint8), out=out)
