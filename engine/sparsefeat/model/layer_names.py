"""Names of layers: the suffix of pre-activations, and words for groups of layers."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from sparsefeat.errors import LayerError
from sparsefeat.system import one_line

PRE = "/pre"
"""The suffix of the name of a layer's pre-activation."""

PENULTIMATE = "penultimate"
"""The word for the layer before a model's classifier."""


def parse_layer_names(wanted: object) -> list[str]:
    """Split a selection of layers, text separated by commas or several texts, into names.

    Raises
    ------
    LayerError
        The selection is neither, or it contains no name.

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
    """The layers that a word such as ``pools`` stands for.

    Attributes
    ----------
    kind
        The kind of the layers in a model's metadata; None for every kind.
    pattern, exceptions
        For stores, which don't record kinds: a pattern of the layers' names, and patterns of names
        that don't belong to the group.
    hidden
        Whether the hidden layers after VGG16's last pool belong to the group.
    """

    kind: str | None
    pattern: str
    exceptions: tuple[str, ...] = ()
    hidden: bool = False


GROUPS: Mapping[str, Group] = MappingProxyType(
    {
        "all": Group(None, "*"),
        "pools": Group("pool", "*_pool"),
        "convs": Group("conv", "*_conv?"),
        "stages": Group("pool", "*", ("*_conv?", "flatten", "predictions"), hidden=True),
    }
)
