"""JPEG images of 500 to 1,000 pixels, cut from images that are available on the machine.

They are cut from the images that scikit-image and scikit-learn ship, and from those that a
desktop has as backgrounds, if there are any.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from sparsefeat.cli.demo import copy_photographs

BACKGROUNDS = Path("/usr/share/backgrounds")
MAX_BACKGROUNDS = 40
SHARES = (0.5, 0.95)  # share of the original's width and height
LONG_SIDE = (500, 1000)  # pixels
QUALITY = 90


class Photographs:
    """Makes folders of images; image number i is always the same image.

    Parameters
    ----------
    folder
        For the images, and for those that they are cut from.
    backgrounds
        Whether to cut from backgrounds as well, which takes seconds to begin with.
    """

    def __init__(self, folder: Path, *, backgrounds: bool) -> None:
        self._folder = folder
        self._backgrounds = backgrounds
        self._made = folder / "made"
        self._made.mkdir()
        self._originals: list[Image.Image] = []

    def take(self, count: int) -> Path:
        """Return a folder with the first `count` images."""
        chosen = self._folder / str(count)
        if not chosen.exists():
            paths = [self._make(number) for number in range(count)]
            chosen.mkdir()
            for path in paths:
                (chosen / path.name).hardlink_to(path)
        return chosen

    def _make(self, number: int) -> Path:
        path = self._made / f"{number:05}.jpg"
        if path.exists():
            return path
        if not self._originals:
            self._originals = _originals(self._folder / "originals", self._backgrounds)
        rng = np.random.default_rng((16, number))
        original = self._originals[number % len(self._originals)]
        share = rng.uniform(*SHARES)
        width, height = (int(share * extent) for extent in original.size)
        left = int(rng.integers(original.width - width + 1))
        top = int(rng.integers(original.height - height + 1))
        scale = rng.integers(*LONG_SIDE, endpoint=True) / max(width, height)
        size = (round(scale * width), round(scale * height))
        box = (left, top, left + width, top + height)
        original.resize(size, Image.Resampling.BICUBIC, box).save(path, quality=QUALITY)
        return path


def _originals(folder: Path, backgrounds: bool) -> list[Image.Image]:
    paths = copy_photographs(folder)
    if backgrounds:
        paths += sorted(BACKGROUNDS.rglob("*.jpg"))[:MAX_BACKGROUNDS]
    originals = []
    for path in paths:
        with Image.open(path) as image:
            original = image.convert("RGB")
        original.thumbnail((2000, 2000))  # forty desktops would fill the memory
        originals.append(original)
    return originals
