"""Choosing among the layers that a store holds."""

import difflib
import fnmatch
from collections.abc import Sequence

from sparsefeat.errors import LayerError
from sparsefeat.model import DENSE_OF_WALK, PRE, WALK

POOLS = tuple(f"block{block}_pool" for block in range(1, 6))
SUFFIXES = {"pools": "_pool", "convs": "_conv"}
THE_WALK = (*POOLS, *DENSE_OF_WALK)


def choose_stored(wanted: str | Sequence[str] | None, held: Sequence[str]) -> list[str]:
    """Resolve what a user wrote to the names of stored layers, in the store's order.

    Parameters
    ----------
    wanted
        As for a model: names, ``all``, ``pools``, ``convs``, ``walk``, patterns; None is all.
    held
        The layers of the store.

    Raises
    ------
    LayerError
        A name or pattern matches nothing that is stored.

    Examples
    --------
    >>> choose_stored("walk", ["block4_pool", "block5_conv3/pre", "fc1"])
    ['block4_pool', 'fc1']
    """
    if wanted is None:
        return list(held)
    words = wanted.split(",") if isinstance(wanted, str) else list(wanted)
    chosen: set[str] = set()
    for word in filter(None, (word.strip() for word in words)):
        found = [name for name in held if _matches(name, word)]
        if not found:
            near = difflib.get_close_matches(word, held, cutoff=0.5) or held
            raise LayerError(
                f"the store has no layer {word!r}, expected one it holds ({', '.join(near)}): "
                "extract that layer into another store, or name one of these"
            )
        chosen.update(found)
    if not chosen:
        raise LayerError("no layer was named, expected at least one, for example block5_pool")
    return [name for name in held if name in chosen]


def missing_of_walk(names: Sequence[str]) -> list[str]:
    """Say which of the walk's seven layers aren't among these."""
    return [name for name in THE_WALK if name not in names]


def _matches(name: str, word: str) -> bool:
    base, is_pre = name.removesuffix(PRE), name.endswith(PRE)
    if word in ("all", WALK, *SUFFIXES):
        if is_pre:
            return word == "all"
        if word == WALK:
            return name in THE_WALK
        return word == "all" or SUFFIXES[word] in base
    return name == word or (is_pre == word.endswith(PRE) and fnmatch.fnmatchcase(name, word))
