"""Which of a store's layers are meant."""

import difflib
import fnmatch
from collections.abc import Sequence

from sparsefeat.errors import LayerError
from sparsefeat.store import Store

PRE = "/pre"
# What an extraction calls so, as patterns: a store doesn't record the kind of a layer.
GROUPS = {"all": "*", "pools": "*_pool", "convs": "*_conv?"}


def chosen_layers(store: Store, wanted: str | Sequence[str] | None) -> tuple[str, ...]:
    """Resolve names, groups and patterns to names of layers that the store holds, in its order.

    As in an extraction, a pattern means layers after ReLU unless it ends in /pre itself; without
    any, all that the store holds are meant, those before ReLU among them.

    Raises
    ------
    LayerError
        A name or pattern matches nothing.
    """
    if wanted is None:
        return tuple(store.layers)
    words = wanted.split(",") if isinstance(wanted, str) else list(wanted)
    chosen: set[str] = set()
    for word in filter(None, (word.strip() for word in words)):
        pattern = GROUPS.get(word, word)
        found = [
            name
            for name in store.layers
            if name == word
            or (name.endswith(PRE) == word.endswith(PRE) and fnmatch.fnmatchcase(name, pattern))
        ]
        if not found:
            near = difflib.get_close_matches(word, store.layers, cutoff=0.5) or list(store.layers)
            raise LayerError(
                f"the store has no layer {word!r}, expected one it holds: try {', '.join(near)}"
            )
        chosen.update(found)
    if not chosen:
        raise LayerError("no layer was named, expected at least one, for example block5_pool")
    return tuple(name for name in store.layers if name in chosen)
