"""The named ways from a picture to pixels of the model's size."""

import difflib
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal

from sparsefeat.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """What makes pixels of the model's size of a picture; the model's `Scaling` follows.

    `version` rises when the same picture would give other pixels.
    """

    name: str
    version: int
    resample: Literal["nearest", "bilinear", "bicubic"]
    fit: Literal["stretch", "crop"]
    orient: bool  # turn the picture as its EXIF orientation says
    full_depth: bool  # scale 16-bit and float samples to 8 bits; False saturates at 255
    background: tuple[int, int, int] | None  # RGB under transparency; None drops the alpha
    crop_share: float = 1.0  # with fit "crop": side of the cut, in parts of the short side
    # A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where so many times the pixels needed
    # along each side are left; None decodes all of it.
    jpeg_margin: float | None = None

    def recipe(self) -> dict[str, Any]:
        """Describe all that is done, in JSON's types; stored beside the features.

        >>> PRESETS["keras"].recipe()["resample"]
        'nearest'
        """
        recipe = asdict(self) | {
            "background": None if self.background is None else list(self.background),
        }
        if self.jpeg_margin is None:  # as it was written before there was such a choice
            del recipe["jpeg_margin"]
        return recipe


_WHITE = (255, 255, 255)
_HONEST: dict[str, Any] = {
    "version": 2,
    "orient": True,
    "full_depth": True,
    "background": _WHITE,
    "jpeg_margin": 2.0,
}

PRESETS = MappingProxyType(
    {
        each.name: each
        for each in (
            Preset(
                name="keras",
                version=1,
                resample="nearest",
                fit="stretch",
                orient=False,
                full_depth=False,
                background=None,
            ),
            Preset(name="bilinear", resample="bilinear", fit="stretch", **_HONEST),
            Preset(name="bicubic", resample="bicubic", fit="stretch", **_HONEST),
            Preset(name="crop", resample="bilinear", fit="crop", crop_share=224 / 256, **_HONEST),
        )
    }
)


def preset(name: str | Preset) -> Preset:
    """Look a preset up by name; one that is a preset already is given back.

    Raises
    ------
    InputError
        If there is none of that name; the message gives the nearest one.

    >>> preset("bilinear").orient
    True
    """
    if isinstance(name, Preset):
        return name
    if isinstance(name, str) and (found := PRESETS.get(name)):
        return found
    nearest = difflib.get_close_matches(name, PRESETS, n=1) if isinstance(name, str) else []
    meant = f"; did you mean {nearest[0]}?" if nearest else ""
    raise InputError(f"got preprocess {name!r}, expected one of {', '.join(PRESETS)}{meant}")
