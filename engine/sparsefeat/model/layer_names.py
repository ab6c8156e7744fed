"""What layers are called: before ReLU, and in groups."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from sparsefeat.errors import LayerError
from sparsefeat.system import one_line

PRE = "/pre"
"""How the name of a layer's pre-activation ends."""

PENULTIMATE = "penultimate"
"""The word for the layer before a model's classifier."""


def parse_layer_names(wanted: object) -> list[str]:
    """Take apart what names layers: text separated by commas, or several texts.

    Raises
    ------
    LayerError
        It is neither, or names none.

    >>> parse_layer_names("block5_pool, fc1"), parse_layer_names(["pools"])
    (['block5_pool', 'fc1'], ['pools'])
    """
    words = wanted.split(",") if isinstance(wanted, str) else wanted
    named = []
    for word in words if isinstance(words, Iterable) else [words]:
        if not isinstance(word, str):
            raise LayerError(
                f"got {type(word).__name__} {one_line(repr(word), most=60)} as a layer, expected"
                " names, for example block5_pool"
            )
        if word.strip():
            named.append(word.strip())
    if not named:
        raise LayerError("no layer was named, expected at least one, for example block5_pool")
    return named


class Group(NamedTuple):
    """Layers that one word stands for.

    `kind` is theirs in a model's metadata, None for every kind. `pattern` says the same by name,
    since a store doesn't record the kind of a layer; `but` are names that are not meant. With
    `hidden`, hidden layers behind the last pool of VGG16 are among them.
    """

    kind: str | None
    pattern: str
    but: tuple[str, ...] = ()
    hidden: bool = False


GROUPS: Mapping[str, Group] = MappingProxyType(
    {
        "all": Group(None, "*"),
        "pools": Group("pool", "*_pool"),
        "convs": Group("conv", "*_conv?"),
        "stages": Group("pool", "*", ("*_conv?", "flatten", "predictions"), hidden=True),
    }
)
