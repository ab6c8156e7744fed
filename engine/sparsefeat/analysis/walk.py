"""The walk through the network: from the first pool to the last hidden layer."""

from collections.abc import Collection, Sequence

from sparsefeat.model import ModelLayer, behind_base, choose

POOLS = tuple(f"block{block}_pool" for block in range(1, 6))


def missing_of_walk(names: Collection[str]) -> list[str]:
    """Say what of the walk isn't among the layers that a store holds.

    Examples
    --------
    >>> missing_of_walk(["block2_pool", "block3_pool", "block4_pool", "block5_pool"])
    ['block1_pool', 'layers behind block5_pool']
    """
    missing = [name for name in POOLS if name not in names]
    behind = [name for name in names if name not in POOLS]
    return missing if behind else [*missing, "layers behind block5_pool"]


def end_of_walk(layers: Sequence[ModelLayer]) -> str | None:
    """Say why the walk through a model ends with its last pool; None where it goes on."""
    top = [layer.name for layer in behind_base(layers)]
    if set(top).intersection(choose("walk", layers)):
        return None
    if not top:
        return "the model was exported without its top"
    return f"behind it the model has {', '.join(top)}, none of them a hidden layer"
