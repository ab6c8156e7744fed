"""The walk through the network: from the first pool to the last hidden layer."""

from collections.abc import Collection

from sparsefeat.layer_names import DENSE_OF_WALK

LAYERS_OF_WALK = (*(f"block{block}_pool" for block in range(1, 6)), *DENSE_OF_WALK)


def missing_of_walk(names: Collection[str]) -> list[str]:
    """Say which of the walk's seven layers aren't among these.

    Examples
    --------
    >>> missing_of_walk([f"block{block}_pool" for block in range(1, 6)])
    ['fc1', 'fc2']
    """
    return [name for name in LAYERS_OF_WALK if name not in names]
