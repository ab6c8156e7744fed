"""A report in sentences, and in rows of text."""

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from sparsefeat.analysis import LayerZeros
from sparsefeat.model import PRE
from sparsefeat.system import counted, format_bytes, percent, ranges
from sparsefeat.viz.report.images import FAR, MIN_ROWS
from sparsefeat.viz.report.report import Report
from sparsefeat.viz.report.sizes import MIN_VALUES, SAMPLE_ROWS

FEW_IMAGES = 100  # of which "dead" says little
LISTED_RANGES = 200

# What stands first, in this order, and what it is called there.
_MAIN = {
    "model.architecture": "network",
    "weights_source": "weights",
    "model.weights_sha256": "SHA-256 of the weights",
    "preprocess.name": "preprocessing",
    "size": "height and width of the images",
    "pool": "global pooling",
    "model.precision": "precision",
    "provider": "provider",
    "onnxruntime": "ONNX Runtime",
    "exported_with.sparsefeat": "exported with sparsefeat",
    "probe_error": "probe error (relative, L2)",
}


def title(report: Report) -> str:
    """Name the report."""
    return f"Zeros in {PurePath(report.folder).name or report.folder}"


def heading(report: Report) -> str:
    """Say in one line what the report is on."""
    model = report.settings.get("model")
    architecture = model.get("architecture") if isinstance(model, dict) else None
    return ", ".join(
        [
            counted(report.n_rows, "image"),
            counted(len(report.zeros), "layer"),
            f"{format_bytes(report.sizes.total)} on disk",
            *([architecture] if isinstance(architecture, str) else []),
        ]
    )


def findings(report: Report) -> list[str]:
    """Say in sentences what the figures amount to, and no more."""
    if not report.n_rows:
        return [_no_rows(report)]
    said = [_sparsity(report), *_range(report), _channels(report), _size(report)]
    if report.outliers:
        said.append(
            f"{counted(len(report.outliers), 'image')} "
            f"{'differs' if len(report.outliers) == 1 else 'differ'} much from the others in how "
            "much of some layer is zero."
        )
    if report.rejects.count:
        said.append(f"{counted(report.rejects.count, 'file')} could not be read as an image.")
    return said


def channel_sentences(report: Report) -> list[str]:
    """List the dead channels, and those always on, of each layer that has some."""
    said = []
    for name, zeros in report.zeros.items():
        if len(zeros.dead):
            said.append(f"{name}, dead: {ranges(zeros.dead.tolist(), LISTED_RANGES)}")
    for name, zeros in report.zeros.items():
        on = zeros.always_on
        if on is not None and len(on):
            said.append(f"{name}, always on: {ranges(on.tolist(), LISTED_RANGES)}")
    return said


def floor_method() -> str:
    """Say how the floor is estimated."""
    return (
        "The floor is an estimate of what lossless coding needs, under a simple model. Where the "
        "non-zeros are costs, channel by channel, log2 of the number of ways in which so many can "
        "lie there. What they are costs, for each, the entropy of the upper 16 bits of its float32 "
        "and that of each lower byte (or of whole values, where they repeat often, or of codes, "
        "where those are stored), from up to "
        f"{SAMPLE_ROWS} rows drawn at random; of fewer than {MIN_VALUES:,} values no estimate is "
        "made. It is no bound: neighbours have more in common than this model knows."
    )


def outlier_method(report: Report) -> str:
    """Say what an outlier is, and why there may be none."""
    if report.n_rows < MIN_ROWS:
        return f"Of fewer than {MIN_ROWS} images, none can be said to be unusual."
    return (
        "An image is listed here if in some layer its share of zeros is far from the median of "
        "all images: 0.6745 times the distance, over the median of all distances (the robust z "
        f"score), is {FAR:g} or more. This says that it is worth a look, not that it is wrong."
    )


def main_rows(
    settings: list[tuple[str, str]], provenance: list[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Pick what most want to know of the two below."""
    known = dict(settings) | dict(provenance)
    return [(label, known[key]) for key, label in _MAIN.items() if key in known]


def settings_rows(report: Report) -> list[tuple[str, str]]:
    """Give what decided the numbers, the same for all parts."""
    return list(flat(report.settings))


def provenance_rows(report: Report) -> list[tuple[str, str]]:
    """Give what else is recorded, each value once, with how often it was recorded."""
    records = len(report.provenance)
    values: dict[str, dict[str, int]] = {}
    for provenance in report.provenance:
        for key, value in flat(provenance):
            counts = values.setdefault(key, {})
            counts[value] = counts.get(value, 0) + 1
    rows = []
    for key, counts in values.items():
        if counts == {next(iter(counts)): records}:
            said = next(iter(counts))
        else:
            first = list(counts.items())[:5]
            said = "; ".join(f"{value} ({count:,} of {records:,})" for value, count in first)
            said += f"; and {len(counts) - 5} more" if len(counts) > 5 else ""
        rows.append((key, said))
    return rows


def flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Give nested keys joined by dots, and their values as text.

    Examples
    --------
    >>> list(flat({"size": [224, 224], "model": {"precision": "fp32"}, "options": {}}))
    [('size', '224, 224'), ('model.precision', 'fp32'), ('options', 'none')]
    """
    for key, value in mapping.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _text(value)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None or value == {} else str(value)


def _no_rows(report: Report) -> str:
    rejected = report.rejects.count
    why = f": {counted(rejected, 'file')} could not be read as an image" if rejected else ""
    return f"The store holds no rows{why}."


def _sparsity(report: Report) -> str:
    zeros = report.zeros[report.ranked_by]
    spread = zeros.spread
    said = f"{percent(zeros.share)} of {zeros.name} is zero"
    if report.n_rows == 1:
        return f"{said} in this one image."
    return (
        f"{said}: in half of the images between {percent(spread.lower_quartile)} and "
        f"{percent(spread.upper_quartile)}, at least {percent(spread.min)}, at most "
        f"{percent(spread.max)}."
    )


def _range(report: Report) -> list[str]:
    rectified = {n: z for n, z in report.zeros.items() if not n.endswith(PRE)}
    if len(rectified) < 2:
        return []

    def share(zeros: LayerZeros) -> float:
        return zeros.share or 0.0

    least, most = min(rectified.values(), key=share), max(rectified.values(), key=share)
    if least is most:
        return []
    said = f"from {percent(least.share)} zeros in {least.name} to {percent(most.share)}"
    return [f"Layers differ: {said} in {most.name}."]


def _channels(report: Report) -> str:
    zeros = report.zeros[report.ranked_by]
    dead = len(zeros.dead)
    of = f"{zeros.layer.n_channels:,} channels of {zeros.name}"
    said = f"{dead:,} of the {of} {'is' if dead == 1 else 'are'} dead"
    said = said if dead else f"None of the {of} is dead: each is active somewhere"
    if zeros.always_on is not None:
        on = len(zeros.always_on)
        said += f"; {on:,} {'is' if on == 1 else 'are'} always on"
    if dead and report.n_rows < FEW_IMAGES:
        said += f". Of {counted(report.n_rows, 'image')} that says little: others may wake them"
    return said + "."


def _size(report: Report) -> str:
    layers = report.sizes.layers
    dense, stored = sum(size.dense for size in layers), sum(size.stored for size in layers)
    said = (
        f"Stored, the layers take {format_bytes(stored)}, {percent(stored / dense)} of the "
        f"{format_bytes(dense)} that they take as dense float32"
    )
    floors = [size.floor.n_bytes for size in layers if size.floor.n_bytes is not None]
    if len(floors) == len(layers):
        said += f"; the estimated floor is {format_bytes(sum(floors))}"
    return said + "."
