"""Choose the images for calibration and for validation, and make views of them."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sparsefeat_export.errors import ImagesError
from sparsefeat_export.images import SampleImage, find_readable_images
from sparsefeat_export.scaling import Scaling

MIN_CALIBRATION = 16
MIN_VALIDATION = 8
MAX_IMAGES = 64  # of a folder; more images take minutes and improve little
HELD_OUT_EVERY = 4


def split(
    calibration: str | Path, validation: str | Path | None
) -> tuple[list[SampleImage], list[SampleImage]]:
    """Choose the images for calibration and the images to hold out for validation.

    Without a `validation` folder, every fourth image by name is held out.

    Raises
    ------
    ImagesError
        There are too few readable images, or an image is in both folders.
    """
    purpose = "the ranges of activations are taken from them"
    if validation is None:
        purpose = "a quarter of them is held out to measure the result"
    seen = find_readable_images(calibration, MIN_CALIBRATION, purpose, most=MAX_IMAGES)
    if validation is None:
        held_out = seen[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]
        seen = [one for one in seen if one not in held_out]
    else:
        held_out = find_readable_images(
            validation, MIN_VALIDATION, "the result is measured on them", most=MAX_IMAGES
        )
    digests = {one.sha256 for one in seen}
    for one in held_out:
        if one.sha256 in digests:
            raise ImagesError(
                f"{one.path} is among the calibration images and among the validation images (the "
                "same bytes), so a measurement on it would be biased: remove one of the two"
            )
    return seen, held_out


def views_of(
    samples: Sequence[SampleImage],
    size: Sequence[int],
    scaling: Scaling,
    *,
    least: int,
    seed: int,
) -> npt.NDArray[np.float32]:
    """Make network input from images: each image whole, and random crops if there are too few.

    A whole image is resized to `size`, (height, width), with nearest neighbour, as Keras'
    ``load_img`` does. Crops are square and resized bilinearly.

    Returns
    -------
    float32 (n, H, W, 3)
        At least `least` views, scaled as the network's input.
    """
    from PIL import Image

    generator = np.random.default_rng(seed)
    n_cuts = max(0, -(-least // len(samples)) - 1)
    target = (size[1], size[0])  # Pillow's order
    prepared = []
    for sample in samples:
        with warnings.catch_warnings(action="ignore"), Image.open(sample.path) as opened:
            image = opened.convert("RGB")
        images = [image.resize(target, Image.Resampling.NEAREST)]
        for _ in range(n_cuts):
            side = max(1, int(generator.uniform(0.45, 1.0) * min(image.size)))
            left = int(generator.integers(image.width - side + 1))
            top = int(generator.integers(image.height - side + 1))
            box = (left, top, left + side, top + side)
            images.append(image.resize(target, Image.Resampling.BILINEAR, box=box))
        prepared += [np.asarray(one) for one in images]
    return scaling.apply(np.stack(prepared))


def with_mirrored(views: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Insert after each view its mirror image (left and right swapped): (2 n, H, W, 3)."""
    both = np.repeat(views, 2, axis=0)
    both[1::2] = views[:, :, ::-1]
    return both
