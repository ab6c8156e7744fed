"""Choosing layers by name, group or pattern."""

import fnmatch
from collections.abc import Iterable, Sequence

from sparsefeat.errors import LayerError
from sparsefeat.model.layer_names import GROUPS, PENULTIMATE, PRE, parse_layer_names
from sparsefeat.model.metadata import ModelLayer
from sparsefeat.system import close_matches

TOP = ("flatten", "fc1", "fc2", "predictions")
N_BASE_LAYERS = 18  # VGG16's convolutions and pools, with which every model starts


def choose_layers(wanted: str | Iterable[str], layers: Sequence[ModelLayer]) -> tuple[str, ...]:
    """Resolve a user's selection of layers to tensor names, in network order, without duplicates.

    Parameters
    ----------
    wanted
        Names separated by commas, or a sequence of names. A name is that of a Keras layer
        (``block5_pool``), of its pre-activation (``block5_conv3/pre``), a pattern (``block[45]_*``,
        ``*/pre``), or one of ``all``, ``pools``, ``convs``, ``penultimate`` (the input of the
        classifier, ``fc2`` for VGG16; the last layer of a model without a classifier) and
        ``stages`` (the pools and the hidden layers after them: ``fc1`` and ``fc2``, or those of a
        custom top).
    layers
        The model's layers, in network order.

    Raises
    ------
    LayerError
        A name or pattern matches no layer; the message lists similar names.
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
    """Return the name of the layer before the classifier, or of the last layer if there is none."""
    last = layers[-1]
    return layers[-2].name if last.kind == "dense" and len(layers) > 1 else last.name


def find_layer(name: str, layers: Sequence[ModelLayer]) -> ModelLayer:
    """Find the layer of an output or pre-activation that `choose_layers` returned."""
    base = name.removesuffix(PRE)
    return next(layer for layer in layers if layer.name == base)


def layers_after_base(layers: Sequence[ModelLayer]) -> tuple[ModelLayer, ...]:
    """Return the layers after VGG16's last pool: VGG16's top, a custom top, or none."""
    return tuple(layers[N_BASE_LAYERS:])


def _hidden(layers: Sequence[ModelLayer]) -> set[str]:
    """Return the names of the rectified and dense layers of the top, without the last dense."""
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
    # A pattern matches pre-activations only if it ends in /pre.
    candidates = [name for name in names if name.endswith(PRE) == word.endswith(PRE)]
    return [name for name in candidates if name == word or fnmatch.fnmatchcase(name, word)]


def _unknown(word: str, names: Sequence[str], top: Sequence[ModelLayer]) -> str:
    base = word.removesuffix(PRE)
    if word.endswith(PRE) and base in names:
        return f"{base} is not rectified, so it has no pre-activation; ask for {base}"
    if base in TOP and top:
        own = ", ".join(layer.name for layer in top)
        return f"the model has no layer {word!r}: after the last pool it has {own}"
    if base in TOP:
        return f"the model has no layer {word!r}: it was exported without its top"
    if any(sign in word for sign in "*?["):
        return f"no layer matches {word!r}; the model has: {', '.join(names)}"
    likely = close_matches(word, [*names, *GROUPS])
    hint = f"did you mean {', '.join(likely)}?" if likely else "it has: " + ", ".join(names)
    return f"the model has no layer {word!r}; {hint}"
