"""Which of a store's layers are meant."""

import fnmatch
from collections.abc import Collection, Sequence

from sparsefeat.errors import LayerError
from sparsefeat.model import GROUPS, PRE, layer_words
from sparsefeat.system import close_matches


def choose_stored(wanted: str | Sequence[str] | None, names: Collection[str]) -> tuple[str, ...]:
    """Resolve names, groups and patterns to names of layers that a store holds, in its order.

    As in an extraction, a pattern means layers after ReLU unless it ends in /pre itself. None
    means all that the store holds, those before ReLU among them.

    Raises
    ------
    LayerError
        A name or pattern matches nothing.

    Examples
    --------
    >>> choose_stored("pools,fc?", ["block4_pool", "block5_pool", "fc1", "fc1/pre"])
    ('block4_pool', 'block5_pool', 'fc1')
    """
    if wanted is None:
        return tuple(names)
    chosen: set[str] = set()
    for word in layer_words(wanted):
        found = [name for name in names if _is_meant(name, word)]
        if not found:
            likely = close_matches(word, names) or list(names)
            raise LayerError(
                f"the store has no layer {word!r}, expected one it holds: try {', '.join(likely)}"
            )
        chosen.update(found)
    return tuple(name for name in names if name in chosen)


def _is_meant(name: str, word: str) -> bool:
    if name.endswith(PRE) != word.endswith(PRE):
        return False
    group = GROUPS.get(word)
    if group is None:
        return fnmatch.fnmatchcase(name, word)
    excluded = any(fnmatch.fnmatchcase(name, pattern) for pattern in group.but)
    return fnmatch.fnmatchcase(name, group.pattern) and not excluded
