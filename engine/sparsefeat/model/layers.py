"""Choosing layers by name, group or pattern."""

import fnmatch
from collections.abc import Iterable, Sequence

from sparsefeat.errors import LayerError
from sparsefeat.model.layer_names import GROUPS, PENULTIMATE, PRE, parse_layer_names
from sparsefeat.model.metadata import ModelLayer
from sparsefeat.system import close_matches

TOP = ("flatten", "fc1", "fc2", "predictions")
N_BASE_LAYERS = 18  # VGG16's convolutions and pools, which every model begins with


def choose(wanted: str | Iterable[str], layers: Sequence[ModelLayer]) -> tuple[str, ...]:
    """Resolve what a user wrote to tensor names, in network order and each once.

    Parameters
    ----------
    wanted
        Names separated by commas, or a sequence of them. A name is a Keras layer's
        (``block5_pool``), its pre-activation's (``block5_conv3/pre``), ``all``, ``pools``,
        ``convs``, ``penultimate`` (what the classifier is given: ``fc2``; of a model without a
        classifier its last layer), ``stages`` (the pools, and the hidden layers behind them:
        ``fc1`` and ``fc2``, or those of a model's own top), or a pattern (``block[45]_*``,
        ``*/pre``).
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
    for word in parse_layer_names(wanted):
        found = {penultimate(layers)} if word == PENULTIMATE else _matching(word, names, layers)
        if not found:
            raise LayerError(_unknown(word, names, layers_after_base(layers)))
        chosen.update(found)
    return tuple(name for name in names if name in chosen)


def penultimate(layers: Sequence[ModelLayer]) -> str:
    """Name the layer before the classifier, or the last one of a model that has none."""
    last = layers[-1]
    return layers[-2].name if last.kind == "dense" and len(layers) > 1 else last.name


def find_layer(name: str, layers: Sequence[ModelLayer]) -> ModelLayer:
    """Find the layer whose output or pre-activation `name` is, one that `choose` returned."""
    base = name.removesuffix(PRE)
    return next(layer for layer in layers if layer.name == base)


def layers_after_base(layers: Sequence[ModelLayer]) -> tuple[ModelLayer, ...]:
    """Give the layers behind VGG16's last pool: its own top, another, or none."""
    return tuple(layers[N_BASE_LAYERS:])


def _hidden(layers: Sequence[ModelLayer]) -> set[str]:
    """Name the rectified and the dense layers behind VGG16's last pool, but for the last dense."""
    top = layers_after_base(layers)
    dense = [layer.name for layer in top if layer.kind == "dense"]
    return {layer.name for layer in top if layer.rectified}.union(dense[:-1])


def _matching(word: str, names: Sequence[str], layers: Sequence[ModelLayer]) -> list[str]:
    if word in GROUPS:
        group = GROUPS[word]
        hidden = _hidden(layers) if group.hidden else ()
        return [
            layer.name
            for layer in layers
            if group.kind in (None, layer.kind) or layer.name in hidden
        ]
    # A pattern means layers, unless it says /pre itself: `block5_*` isn't half pre-activations.
    candidates = [name for name in names if name.endswith(PRE) == word.endswith(PRE)]
    return [name for name in candidates if name == word or fnmatch.fnmatchcase(name, word)]


def _unknown(word: str, names: Sequence[str], top: Sequence[ModelLayer]) -> str:
    base = word.removesuffix(PRE)
    if word.endswith(PRE) and base in names:
        return f"{base} is not rectified, so it has no pre-activation; ask for {base}"
    if base in TOP and top:
        own = ", ".join(layer.name for layer in top)
        return f"the model has no layer {word!r}: behind the last pool it has {own}"
    if base in TOP:
        return f"the model has no layer {word!r}: it was exported without its top"
    if any(sign in word for sign in "*?["):
        return f"no layer matches {word!r}; all of them: {', '.join(names)}"
    likely = close_matches(word, [*names, *GROUPS])
    hint = f"nearest: {', '.join(likely)}" if likely else "all of them: " + ", ".join(names)
    return f"the model has no layer {word!r}; {hint}"
