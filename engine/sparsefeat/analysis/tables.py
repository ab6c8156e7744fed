"""What was found out as one long table: for CSV, and for whoever reads that."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from sparsefeat.analysis.comparison import Difference
from sparsefeat.analysis.result import Sparsity
from sparsefeat.analysis.wrong_scalings import ScalingZeros
from sparsefeat.errors import LayerError

if TYPE_CHECKING:
    import pandas as pd

By = Literal["layer", "picture", "channel", "position", "label"]


def long_table(sparsity: Sparsity, by: By) -> "pd.DataFrame":
    """Give one line for each layer, picture and layer, channel, position, or label and layer.

    Shares are 0 to 1. Layers without positions have no lines by position.

    Raises
    ------
    LayerError
        By position, and no layer has any.
    """
    import pandas as pd

    if by == "layer":
        return _with_correlations(sparsity)
    if by == "label":
        return sparsity.labels
    if by == "picture":
        named = [name for name in sparsity.pictures if name not in sparsity.counts]
        return sparsity.pictures.melt(id_vars=named, var_name="layer", value_name="zeros")
    frames = {}
    for name, zeros in sparsity.counts.items():
        if by == "channel":
            frames[name] = sparsity.channels(name).reset_index()
        elif zeros.per_position is not None:
            wide = sparsity.positions(name)
            frames[name] = wide.reset_index().melt(
                id_vars="row", var_name="column", value_name="zeros"
            )
    if not frames:
        raise LayerError("no layer has positions, expected one of shape (H, W, C): name one")
    return pd.concat(frames, names=["layer"]).reset_index("layer").reset_index(drop=True)


def _with_correlations(sparsity: Sparsity) -> "pd.DataFrame":
    frame = sparsity.layers.reset_index()
    for measure in ("flat_share", "log_variance"):
        for kind in ("spearman", "pearson"):
            found = [
                None if name not in all_found else getattr(all_found[name][measure], kind)
                for all_found in [sparsity.correlations()]
                for name in sparsity.counts
            ]
            if any(found):
                for end in ("value", "low", "high"):
                    name = f"{kind}_{measure}" + ("" if end == "value" else f"_{end}")
                    frame[name] = [None if each is None else getattr(each, end) for each in found]
    return frame


def difference_frame(differences: Sequence[Difference]) -> "pd.DataFrame":
    """Give one line for each difference."""
    import pandas as pd

    columns = [field.name for field in dataclasses.fields(Difference)]
    return pd.DataFrame([dataclasses.asdict(each) for each in differences], columns=columns)


def scaling_frame(found: Sequence[ScalingZeros]) -> "pd.DataFrame":
    """Give one line for each scaling and layer."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "input": each.scaling,
                "layer": name,
                "zeros": each.shares[name],
                "relative_error": each.relative_errors[name],
                "noticed_as": each.noticed,
            }
            for each in found
            for name in each.shares
        ]
    )
