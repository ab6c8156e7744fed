"""What was found out, in JSON's types."""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefeat.analysis.counts import LayerZeros
from sparsefeat.types import failures_apart

if TYPE_CHECKING:
    from sparsefeat.analysis.result import Sparsity


def to_json(sparsity: "Sparsity", *, channels: bool, positions: bool) -> dict[str, Any]:
    """See `Sparsity.to_json`."""
    correlations = sparsity.correlations()
    rejected, failed = failures_apart(sparsity.rejects)
    layers = {}
    for name, zeros in sparsity.counts.items():
        facts = layer_facts(zeros, channels=channels, positions=positions)
        if name in correlations:
            facts["with_flatness"] = {
                measure: dataclasses.asdict(found) for measure, found in correlations[name].items()
            }
        layers[name] = facts
    return {
        "source": sparsity.source,
        "n_pictures": sparsity.n_pictures,
        "settings": sparsity.settings,
        "layers": layers,
        "pictures": [_picture(line) for line in sparsity.pictures.to_dict("records")],
        "flatness_unmeasured": sparsity.unmeasured,
        "rejected": [{"path": each.path, "reason": each.reason} for each in rejected],
        "failed": [{"path": each.path, "reason": each.reason} for each in failed],
    }


def layer_facts(
    zeros: LayerZeros, *, channels: bool = True, positions: bool = True
) -> dict[str, Any]:
    """Give one layer's figures; channels by their numbers from 0.

    Parameters
    ----------
    zeros
        What was counted.
    channels, positions
        Whether to give the zeros of every channel and at every position; None where they weren't
        counted.
    """
    facts = {
        "shape": list(zeros.shape),
        "n_elements": zeros.n_elements,
        "n_zeros": zeros.n_zeros,
        "zeros": zeros.share,
        "over_pictures": dataclasses.asdict(zeros.spread),
        "dead": zeros.dead.tolist(),
        "always_on": _listed(zeros.always_on),
        "never_zero": zeros.never_zero.tolist(),
    }
    if channels:
        facts["zeros_per_channel"] = zeros.per_channel.tolist()
        facts["active_pictures_per_channel"] = _listed(zeros.active_rows)
    if positions:
        facts["zeros_per_position"] = _listed(zeros.per_position)
    return facts


def _picture(line: dict[Any, Any]) -> dict[str, Any]:
    """Put the layers' shares below one key; JSON has no NaN."""
    from sparsefeat.analysis.result import FLATNESS

    plain = {
        str(key): None if isinstance(value, float) and math.isnan(value) else value
        for key, value in line.items()
    }
    known = [key for key in ("path", "label", *FLATNESS) if key in plain]
    named = {key: plain.pop(key) for key in known}
    return {**named, "zeros": plain}


def _listed(counts: "np.ndarray[Any, Any] | None") -> Any:
    return None if counts is None else counts.tolist()
