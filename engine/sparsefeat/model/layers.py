"""Choosing layers by name, group or pattern."""

import difflib
import fnmatch
from collections.abc import Iterable, Sequence

from sparsefeat.errors import LayerError
from sparsefeat.layer_names import GROUPS, PRE, layer_words
from sparsefeat.model.metadata import ModelLayer

TOP = ("flatten", "fc1", "fc2", "predictions")


def choose(wanted: str | Iterable[str], layers: Sequence[ModelLayer]) -> tuple[str, ...]:
    """Resolve what a user wrote to tensor names, in network order and each once.

    Parameters
    ----------
    wanted
        Names separated by commas, or a sequence of them. A name is a Keras layer's
        (``block5_pool``), its pre-activation's (``block5_conv3/pre``), ``all``, ``pools``,
        ``convs``, ``walk`` (the pools, and ``fc1`` and ``fc2`` where the model has them), or a
        pattern (``block[45]_*``, ``*/pre``).
    layers
        The model's layers, in network order.

    Raises
    ------
    LayerError
        A name or pattern matches nothing; the message has the nearest names.
    """
    names = [
        name
        for layer in layers
        for name in ((layer.name + PRE, layer.name) if layer.rectified else (layer.name,))
    ]
    chosen: set[str] = set()
    for word in layer_words(wanted):
        found = _matching(word, names, layers)
        if not found:
            raise LayerError(_unknown(word, names))
        chosen.update(found)
    return tuple(name for name in names if name in chosen)


def layer_of(name: str, layers: Sequence[ModelLayer]) -> ModelLayer:
    """Find the layer whose output or pre-activation `name` is, one that `choose` returned."""
    base = name.removesuffix(PRE)
    return next(layer for layer in layers if layer.name == base)


def _matching(word: str, names: Sequence[str], layers: Sequence[ModelLayer]) -> list[str]:
    if word in GROUPS:
        group = GROUPS[word]
        return [
            layer.name
            for layer in layers
            if group.kind in (None, layer.kind) or layer.name in group.also
        ]
    # A pattern means layers, unless it says /pre itself: `block5_*` isn't half pre-activations.
    candidates = [name for name in names if name.endswith(PRE) == word.endswith(PRE)]
    return [name for name in candidates if name == word or fnmatch.fnmatchcase(name, word)]


def _unknown(word: str, names: Sequence[str]) -> str:
    base = word.removesuffix(PRE)
    if word.endswith(PRE) and base in names:
        return f"{base} is not rectified, so it has no pre-activation; ask for {base}"
    if base in TOP:
        return f"the model has no layer {word!r}: it was exported without its top"
    if any(sign in word for sign in "*?["):
        return f"no layer matches {word!r}; all of them: {', '.join(names)}"
    near = difflib.get_close_matches(word.lower(), [*names, *GROUPS], n=3, cutoff=0.5)
    hint = f"nearest: {', '.join(near)}" if near else "all of them: " + ", ".join(names)
    return f"the model has no layer {word!r}; {hint}"
