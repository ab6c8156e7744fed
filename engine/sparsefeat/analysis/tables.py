"""Writes results as rows of text for a terminal, and as long tables for CSV."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from sparsefeat.analysis.counts import Float64, Int64, LayerZeros, Spread
from sparsefeat.analysis.result import FLATNESS, Sparsity
from sparsefeat.analysis.statistics import Difference, Estimate
from sparsefeat.analysis.wrong_scalings import ScalingZeros
from sparsefeat.errors import LayerError
from sparsefeat.system import counted, percent
from sparsefeat.types import split_failures

if TYPE_CHECKING:
    import pandas as pd

TableRow = tuple[str, ...]

GRID = 14
"""The most rows and columns of positions that text shows; more are combined into cells."""

By = Literal["layer", "image", "channel", "position", "label"]


def points(difference: float) -> str:
    """Write a difference of shares in percentage points."""
    return f"{100 * difference:+.2f}"


def describe_images_read(n_images: int, n_rejected: int, n_failed: int) -> str:
    """Say how many images were read, and how many were not.

    >>> describe_images_read(2, 0, 0), describe_images_read(1, 3, 1)
    ('2 images, 0 rejected', '1 image, 3 rejected, 1 could not be read this time')
    """
    failed = f", {n_failed:,} could not be read this time" if n_failed else ""
    return f"{counted(n_images, 'image')}, {n_rejected:,} rejected{failed}"


def heading(sparsity: Sparsity) -> str:
    """Name the set and its number of images, in one line."""
    n = sparsity.n_images
    rejected, failed = split_failures(sparsity.rejects)
    said = f"{sparsity.source}: {describe_images_read(n, len(rejected), len(failed))}"
    if n == 1 and sparsity.has_flatness:
        flat = float(sparsity.obs[FLATNESS[0]].iloc[0])
        said += f"; {percent(flat)} of its 8x8 blocks are flat"
    return said


def layer_table(sparsity: Sparsity) -> tuple[TableRow, list[TableRow]]:
    """Return a line for each layer, with the spread if there is more than one image."""
    counted = any(zeros.always_on is not None for zeros in sparsity.counts.values())
    spread = sparsity.n_images > 1
    columns: TableRow = ("layer", "shape", "zeros")
    columns += ("std", "min", "25 %", "median", "75 %", "max") if spread else ()
    columns += ("dead", *(("always on",) if counted else ()), "never zero")
    rows = []
    for name, zeros in sparsity.counts.items():
        row: TableRow = (name, "x".join(map(str, zeros.shape)), percent(zeros.sparsity))
        row += _spread(zeros.spread) if spread else ()
        row += (f"{len(zeros.dead):,}",)
        if counted:
            row += ("-" if zeros.always_on is None else f"{len(zeros.always_on):,}",)
        rows.append((*row, f"{len(zeros.never_zero):,}"))
    return columns, rows


def _spread(spread: Spread) -> TableRow:
    shares = (spread.std, spread.min, spread.lower_quartile, spread.median)
    return tuple(map(percent, (*shares, spread.upper_quartile, spread.max)))


def correlation_table(sparsity: Sparsity) -> tuple[TableRow, list[TableRow]]:
    """Return a line for each layer: its zeros correlated with the share of flat blocks.

    There is no line for a layer without a correlation (see `Correlation`).
    """
    rows = []
    for name, measures in sparsity.correlations().items():
        found = measures[FLATNESS[0]]
        if found.spearman is not None:
            rows.append((name, *_estimate(found.spearman), *_estimate(found.pearson)))
    return ("layer", "Spearman", "95 % interval", "Pearson", "95 % interval"), rows


def _estimate(estimate: Estimate | None) -> TableRow:
    if estimate is None:
        return "-", "-"
    return f"{estimate.value:.2f}", f"{estimate.low:.2f} to {estimate.high:.2f}"


def image_table(sparsity: Sparsity) -> tuple[TableRow, list[TableRow]]:
    """Return a line for each image, in the order of the set."""
    measured = ("flat blocks",) if sparsity.has_flatness else ()
    frame = sparsity.images
    names = [*(FLATNESS[:1] if sparsity.has_flatness else ()), *sparsity.counts]
    shares = frame[names].to_numpy(np.float64).tolist()
    rows = [
        (path, *map(percent, line))
        for path, line in zip(frame["path"].tolist(), shares, strict=True)
    ]
    return ("image", *measured, *sparsity.counts), rows


def channel_table(sparsity: Sparsity) -> tuple[TableRow, list[TableRow]]:
    """Return a line for each channel: by layer, the channel with the most zeros first."""
    rows: list[TableRow] = []
    for name, zeros in sparsity.counts.items():
        shares, active, words = zeros.channel_sparsity, zeros.active_rows, channel_words(zeros)
        for channel in np.argsort(-shares, kind="stable").tolist():
            images = "-" if active is None else f"{active[channel]:,} of {zeros.n_rows:,}"
            state = words[channel]
            rows.append((name, str(channel), percent(shares[channel]), images, state))
    return ("layer", "channel", "zeros", "active in", ""), rows


def channel_words(zeros: LayerZeros) -> list[str]:
    """Return "dead", "always on", "never zero" or "" for each channel."""
    words = [""] * zeros.layer.n_channels
    always_on = np.empty(0, np.int64) if zeros.always_on is None else zeros.always_on
    for word, numbers in (
        ("always on", always_on),
        ("never zero", zeros.never_zero),  # replaces "always on", which it implies
        ("dead", zeros.dead),
    ):
        for channel in numbers.tolist():
            words[channel] = word
    return words


def position_grid(zeros: LayerZeros) -> list[TableRow]:
    """Return the share of zeros at each position in percent, as rows of text.

    A layer of more than 14x14 positions is averaged over 14x14 cells.
    """
    assert zeros.per_position is not None
    return [tuple(f"{100 * share:.0f}" for share in row) for row in _cells(zeros).tolist()]


def _cells(zeros: LayerZeros) -> Float64:
    assert zeros.per_position is not None
    counts: Int64 = zeros.per_position
    sizes = np.full(counts.shape, zeros.n_rows * zeros.layer.n_channels)
    for axis in (0, 1):
        extent = counts.shape[axis]
        starts = np.unique(np.arange(min(extent, GRID)) * extent // min(extent, GRID))
        counts = np.add.reduceat(counts, starts, axis=axis)
        sizes = np.add.reduceat(sizes, starts, axis=axis)
    shares: Float64 = counts / np.maximum(sizes, 1)
    return shares


def label_table(sparsity: Sparsity) -> tuple[TableRow, list[TableRow]]:
    """Return a line for each layer and label."""
    rows = [
        (
            str(line["layer"]),
            str(line["label"]),
            f"{line['images']:,}",
            *(percent(float(line[column])) for column in ("zeros", "std", "min", "max")),
        )
        for line in sparsity.labels.to_dict("records")
    ]
    return ("layer", "label", "images", "zeros", "std", "min", "max"), rows


def difference_table(differences: Sequence[Difference]) -> tuple[TableRow, list[TableRow]]:
    """Return a line for each layer and comparison; differences are in percentage points."""
    rows: list[TableRow] = []
    for found in differences:
        interval = (
            "-"
            if found.low is None or found.high is None
            else f"{points(found.low)} to {points(found.high)}"
        )
        rows.append(
            (
                found.layer,
                found.name,
                found.baseline,
                percent(found.mean),
                percent(found.baseline_mean),
                points(found.difference),
                interval,
                found.verdict,
            )
        )
    columns = (
        *("layer", "set", "baseline", "zeros", "zeros of baseline"),
        *("difference, points", "95 % interval", "verdict"),
    )
    return columns, rows


def scaling_table(found: Sequence[ScalingZeros]) -> tuple[TableRow, list[TableRow]]:
    """Return a line for each scaling: zeros by layer, and the error of the deepest layer."""
    layers = list(found[0].shares)
    deepest = layers[-1]
    rows = [
        (
            each.scaling,
            *(percent(each.shares[name]) for name in layers),
            percent(each.relative_errors[deepest]),
            each.noticed or "-",
        )
        for each in found
    ]
    return ("input", *layers, f"error of {deepest}", "detected as"), rows


def long_table(sparsity: Sparsity, by: By) -> "pd.DataFrame":
    """Return a long table for CSV; shares are 0 to 1.

    `by` says what a line describes: a "layer"; an "image" in a layer; a "channel" of a layer; a
    "position" of a layer; or a "label" in a layer. With "position", layers without positions are
    left out.

    Raises
    ------
    LayerError
        `by` is "position", and no layer has positions.
    """
    import pandas as pd

    if by == "layer":
        return _with_correlations(sparsity)
    if by == "label":
        return sparsity.labels
    if by == "image":
        named = [name for name in sparsity.images if name not in sparsity.counts]
        return sparsity.images.melt(id_vars=named, var_name="layer", value_name="zeros")
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
        raise LayerError("no layer has positions: name a layer of shape (H, W, C)")
    return pd.concat(frames, names=["layer"]).reset_index("layer").reset_index(drop=True)


def _with_correlations(sparsity: Sparsity) -> "pd.DataFrame":
    frame = sparsity.layers.reset_index()
    by_layer = sparsity.correlations().values()
    for measure in FLATNESS:
        for kind in ("spearman", "pearson"):
            found = [getattr(measures[measure], kind) for measures in by_layer]
            if any(found):
                for end in ("value", "low", "high"):
                    name = f"{kind}_{measure}" + ("" if end == "value" else f"_{end}")
                    frame[name] = [None if each is None else getattr(each, end) for each in found]
    return frame


def difference_frame(differences: Sequence[Difference]) -> "pd.DataFrame":
    """Return a table with a line for each difference."""
    import pandas as pd

    columns = [field.name for field in dataclasses.fields(Difference)]
    return pd.DataFrame([dataclasses.asdict(each) for each in differences], columns=columns)


def scaling_frame(found: Sequence[ScalingZeros]) -> "pd.DataFrame":
    """Return a table with a line for each scaling and layer."""
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
