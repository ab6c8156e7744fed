"""What a preset makes of an unusual picture, in one warning of each kind."""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from sparsefeat.images.presets import PRESETS, Preset


class QuirkWarning(UserWarning):
    """The features are Keras' own, but of a picture that Keras itself reads badly."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Quirk:
    subject: str  # "got a picture {subject}"
    effect: str
    cure: str
    honoured: Callable[[Preset], bool]


QUIRKS = MappingProxyType(
    {
        "exif-orientation": _Quirk(
            subject="with an EXIF orientation",
            effect="ignores it",
            cure="turns such pictures upright",
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
            effect="takes them as 0 to 255, so that 0 to 1 is black",
            cure="scales 0 to 1 as well",
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
"""What `Decoded.notes` can hold."""


def quirk_message(note: str, preset: Preset) -> str | None:
    """Say what `preset` makes of the pictures that gave `note`, and which preset does better.

    None where the preset does right by them. To warn once per kind and run::

        for note in decoded.notes - seen:
            if message := quirk_message(note, preset):
                warnings.warn(message, QuirkWarning)
        seen |= decoded.notes

    >>> quirk_message("exif-orientation", PRESETS["keras"]).split(":")[0]
    "got a picture with an EXIF orientation; preset 'keras' ignores it, as Keras does"
    >>> quirk_message("exif-orientation", PRESETS["bilinear"]) is None
    True
    """
    quirk = QUIRKS[note]
    if quirk.honoured(preset):
        return None
    better = next(each.name for each in PRESETS.values() if quirk.honoured(each))
    return (
        f"got a picture {quirk.subject}; preset {preset.name!r} {quirk.effect}, as Keras does:"
        f" --preprocess {better} {quirk.cure}"
    )
