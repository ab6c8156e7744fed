import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from scipy import ndimage
from skimage import data

import sparsefeat
from sparsefeat import ScalingWarning, check_scaling, normalize
from sparsefeat.errors import InputError
from sparsefeat.images import MEAN_BGR

Float32 = npt.NDArray[np.float32]
MEAN = np.array(MEAN_BGR, np.float32)
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")


def pixels(name: str) -> npt.NDArray[np.uint8]:
    image = Image.fromarray(getattr(data, name)())
    return np.asarray(image.resize((96, 96), Image.Resampling.BILINEAR))[np.newaxis]


def floats(x: npt.NDArray[np.uint8]) -> Float32:
    return x.astype(np.float32)


WRONG: dict[str, Callable[[Float32], Float32]] = {
    "0..255": lambda x: x,
    "0..1": lambda x: x / np.float32(255),
    "-1..1": lambda x: x / np.float32(127.5) - 1,
    "unit variance": lambda x: (x / np.float32(255) - np.float32(0.45)) / np.float32(0.225),
    "twice": lambda x: x[..., ::-1] - 2 * MEAN,
}


def interpolated(name: str) -> Float32:
    """Resize in floats by cubic splines, which overshoot, so that no pixel is a whole number."""
    image = getattr(data, name)().astype(np.float32)
    resized: Float32 = ndimage.zoom(image[::3, ::3], (0.7, 0.6, 1), order=3)
    return np.clip(resized[np.newaxis], -12, 267)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize("scaling", WRONG)
def test_wrong_scalings_are_recognized(name: str, scaling: str) -> None:
    for x in (floats(pixels(name)), interpolated(name)):
        finding = check_scaling(WRONG[scaling](x).astype(np.float32))
        assert finding is not None
        assert finding.scaling == scaling
        assert "got " in str(finding)
        assert "expected blue, green, red" in str(finding)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_preprocessing_twice_and_means_in_the_wrong_order_are_recognized(name: str) -> None:
    once = normalize(pixels(name))
    twice = check_scaling(once[..., ::-1] - MEAN)
    assert twice is not None
    assert twice.scaling == "twice"
    red_first = check_scaling(floats(pixels(name)) - MEAN[::-1])
    assert red_first is not None
    assert red_first.scaling == "means of RGB"


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize("gain", [1.0, 0.3, 0.02])
def test_dark_and_bright_photographs_give_no_warning(name: str, gain: float) -> None:
    x = pixels(name) * gain
    for image in (x, 255 - x):
        assert check_scaling(normalize(image.astype(np.uint8))) is None
    y = interpolated(name) * np.float32(gain)
    for image in (y, 255 - y):
        assert check_scaling(image[..., ::-1] - MEAN) is None


@pytest.mark.parametrize("level", [0, 1, 103, 104, 105, 117, 124, 128, 254, 255])
def test_images_of_one_grey_level_give_no_warning(level: int) -> None:
    assert check_scaling(normalize(np.full((1, 32, 32, 3), level, np.uint8))) is None


def test_unusual_but_correct_arrays_give_no_warning() -> None:
    rng = np.random.default_rng(0)
    mean = np.broadcast_to(np.array([124, 117, 104], np.uint8), (1, 32, 32, 3))
    assert check_scaling(normalize(mean)) is None
    noise = normalize(rng.integers(0, 256, (2, 40, 40, 3)).astype(np.uint8))
    assert check_scaling(noise) is None
    padded = np.zeros((1, 96, 200, 3), np.float32)
    padded[:, :, :96] = normalize(pixels("coffee"))
    assert check_scaling(padded) is None, "0 is what Keras pads with"
    assert check_scaling(np.zeros((1, 32, 32, 3), np.float32)) is None
    assert check_scaling(np.zeros((0, 32, 32, 3), np.float32)) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_is_found(value: float) -> None:
    x = np.concatenate([normalize(pixels(name)) for name in PHOTOGRAPHS * 3])
    x[-1, -1, -2, 1] = value
    for images in (x, np.full_like(x, value)):
        finding = check_scaling(images)
        assert finding is not None
        assert finding.scaling == "not finite"
        assert "got values that are not finite, expected blue, green, red" in str(finding)


def test_a_single_image_is_checked_and_other_shapes_are_refused() -> None:
    assert check_scaling(floats(pixels("coffee"))[0]) is not None
    for shape in ((32, 32), (1, 3, 32, 32)):
        with pytest.raises(InputError, match="expected an array"):
            check_scaling(np.zeros(shape, np.float32))


def test_an_extractor_warns_once_of_each_mistake(small_vgg16: Path) -> None:
    extractor = sparsefeat.Extractor(small_vgg16)
    raw = floats(pixels("coffee"))
    with pytest.warns(ScalingWarning, match=r"0 to 255.* \(.* seen\), expected blue"):
        extractor.run(raw)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        extractor.run(raw)
        extractor.run(normalize(pixels("coffee")))
        sparsefeat.Extractor(small_vgg16).run(raw, check=False)
    with pytest.warns(ScalingWarning, match="0 to 1"):
        extractor.run(raw / np.float32(255))
    with pytest.warns(ScalingWarning, match="values that are not finite"):
        extractor.run(np.full_like(raw, np.nan))
