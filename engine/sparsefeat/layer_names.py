"""What layers are called: before ReLU, and in groups."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

PRE = "/pre"
"""How the name of a layer's pre-activation ends."""

DENSE_OF_WALK = ("fc1", "fc2")


class Group(NamedTuple):
    """Layers that one word stands for.

    `kind` is theirs in a model's metadata, None for every kind. `pattern` says the same by name,
    since a store doesn't record the kind of a layer. `also` names layers besides.
    """

    kind: str | None
    pattern: str
    also: tuple[str, ...] = ()


GROUPS: Mapping[str, Group] = MappingProxyType(
    {
        "all": Group(None, "*"),
        "pools": Group("pool", "*_pool"),
        "convs": Group("conv", "*_conv?"),
        "walk": Group("pool", "*_pool", DENSE_OF_WALK),
    }
)
