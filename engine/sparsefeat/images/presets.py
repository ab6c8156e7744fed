"""Presets, the named ways to turn an image into pixels, and their quirks."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal

from sparsefeat.errors import InputError
from sparsefeat.system import unknown_choice


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """A way to turn an image into RGB pixels of the model's size, before `Scaling` is applied.

    `version` changes whenever the same image would give other pixels.
    """

    name: str
    version: int
    resample: Literal["nearest", "bilinear", "bicubic"]
    fit: Literal["stretch", "crop"]
    orient: bool  # rotate the image by its EXIF orientation
    full_depth: bool  # scale 16-bit and float samples to 8 bits; False saturates at 255
    background: tuple[int, int, int] | None  # RGB under transparency; None drops the alpha
    crop_share: float = 1.0  # with fit "crop": side of the crop relative to the shorter side
    # A JPEG is decoded at 1/2, 1/4 or 1/8 of its size if each side keeps at least this many times
    # the needed pixels; None decodes it in full.
    jpeg_margin: float | None = None

    def recipe(self) -> dict[str, Any]:
        """Describe the preset in JSON's types, for the settings of a store.

        >>> PRESETS["keras"].recipe()["resample"]
        'nearest'
        """
        recipe = asdict(self) | {
            "background": None if self.background is None else list(self.background),
        }
        if self.jpeg_margin is None:  # version 1 of a preset has no such field
            del recipe["jpeg_margin"]
        return recipe


_WHITE = (255, 255, 255)
_CORRECT: dict[str, Any] = {
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
            Preset(name="bilinear", resample="bilinear", fit="stretch", **_CORRECT),
            Preset(name="bicubic", resample="bicubic", fit="stretch", **_CORRECT),
            Preset(name="crop", resample="bilinear", fit="crop", crop_share=224 / 256, **_CORRECT),
        )
    }
)


def preset(name: str | Preset) -> Preset:
    """Return the preset of a name; a `Preset` is returned unchanged.

    Raises
    ------
    InputError
        `name` is not that of a preset; the message suggests the nearest one.

    >>> preset("bilinear").orient
    True
    """
    if isinstance(name, Preset):
        return name
    if isinstance(name, str) and (found := PRESETS.get(name)):
        return found
    raise InputError(unknown_choice(name, PRESETS, "preprocess"))


class QuirkWarning(UserWarning):
    """The features equal Keras' features, but Keras itself misreads the image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Quirk:
    subject: str  # "got an image {subject}"
    effect: str
    cure: str
    honoured: Callable[[Preset], bool]


QUIRKS = MappingProxyType(
    {
        "exif-orientation": _Quirk(
            subject="with an EXIF orientation",
            effect="ignores it",
            cure="turns such images upright",
            honoured=lambda preset: preset.orient,
        ),
        "sixteen-bit": _Quirk(
            subject="with 16-bit grey levels",
            effect="saturates them, mostly to white",
            cure="scales them to 8 bits",
            honoured=lambda preset: preset.full_depth,
        ),
        "float": _Quirk(
            subject="with floating-point samples",
            effect="assumes 0 to 255, so that 0 to 1 becomes black",
            cure="also scales 0 to 1",
            honoured=lambda preset: preset.full_depth,
        ),
        "transparency": _Quirk(
            subject="with transparent parts",
            effect="shows the colours hidden under them",
            cure="puts them on white",
            honoured=lambda preset: preset.background is not None,
        ),
    }
)
"""The quirks that images can have, by the keys in `Decoded.notes`."""


def quirk_message(note: str, preset: Preset) -> str | None:
    """Return the warning for images with the quirk `note`, which names a better preset.

    It is None if `preset` treats such images correctly. To warn once per kind and run::

        for note in decoded.notes - seen:
            if message := quirk_message(note, preset):
                warnings.warn(message, QuirkWarning)
        seen |= decoded.notes

    >>> quirk_message("exif-orientation", PRESETS["keras"]).split(":")[0]
    "got an image with an EXIF orientation; preset 'keras' ignores it, as Keras does"
    >>> quirk_message("exif-orientation", PRESETS["bilinear"]) is None
    True
    """
    quirk = QUIRKS[note]
    if quirk.honoured(preset):
        return None
    better = next(each.name for each in PRESETS.values() if quirk.honoured(each))
    return (
        f"got an image {quirk.subject}; preset {preset.name!r} {quirk.effect}, as Keras does:"
        f" --preprocess {better} {quirk.cure}"
    )
