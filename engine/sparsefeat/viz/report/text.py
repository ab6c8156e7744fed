"""Writes a report as sentences and as rows of text."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from sparsefeat.analysis import LayerZeros
from sparsefeat.model import PRE
from sparsefeat.system import counted, format_bytes, percent, ranges
from sparsefeat.viz.report.images import FAR, MIN_ROWS
from sparsefeat.viz.report.report import Report
from sparsefeat.viz.report.sizes import MIN_VALUES, SAMPLE_ROWS

FEW_IMAGES = 100  # with fewer, a channel may be dead only because no image shows its feature
LISTED_RANGES = 200

# The settings that are listed first, in this order, and their labels.
_MAIN = {
    "model.architecture": "network",
    "weights_source": "weights",
    "model.weights_sha256": "SHA-256 of the weights",
    "preprocess.name": "preprocessing",
    "size": "height and width of images",
    "pool": "global pooling",
    "model.precision": "precision",
    "provider": "provider",
    "onnxruntime": "ONNX Runtime",
    "exported_with.sparsefeat": "exported with sparsefeat",
    "probe_error": "probe error (relative, L2)",
}


def title(report: Report) -> str:
    """Return the title of the report."""
    return f"Zeros in {PurePath(report.folder).name or report.folder}"


def heading(report: Report) -> str:
    """Return the numbers of images and layers, and the bytes of the store, in one line."""
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
    """Return the main results as sentences."""
    if not report.n_rows:
        return [_no_rows(report)]
    said = [_sparsity(report), *_range(report), _channels(report), _size(report)]
    if report.outliers:
        said.append(
            f"{counted(len(report.outliers), 'image')} "
            f"{'is' if len(report.outliers) == 1 else 'are'} unusual: the share of zeros in some "
            "layer differs much from that of the other images."
        )
    if report.rejects.count:
        said.append(f"{counted(report.rejects.count, 'file')} could not be read as an image.")
    return said


def channel_sentences(report: Report) -> list[str]:
    """List the channels that are dead or always on, for each layer that has any."""
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
    """Describe how the floor is estimated."""
    return (
        "The floor estimates the bytes that lossless compression needs. It is the sum of two "
        "terms. The positions of the non-zeros: in each channel, log2 of the number of ways to "
        "choose the active elements. The values of the non-zeros: the entropy of the upper 16 "
        "bits of each float32 plus that of each lower byte (or of whole values, if they repeat "
        f"often; or of codes, if the store has codes), sampled from up to {SAMPLE_ROWS} random "
        f"rows. With fewer than {MIN_VALUES:,} values there is no estimate. The floor is not a "
        "lower bound: the model ignores what neighbouring positions and channels have in common."
    )


def outlier_method(report: Report) -> str:
    """Describe when an image is unusual."""
    if report.n_rows < MIN_ROWS:
        return f"The store has fewer than {MIN_ROWS} images, too few to say which ones are unusual."
    return (
        "An image is unusual if its share of zeros in some layer has a robust z score of "
        f"{FAR:g} or more: 0.6745 times its distance from the median, divided by the median "
        "distance of all images. Look at these images; they need not be wrong."
    )


def main_rows(
    settings: list[tuple[str, str]], provenance: list[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Return the most important settings and provenance, in the order of `_MAIN`."""
    known = dict(settings) | dict(provenance)
    return [(label, known[key]) for key, label in _MAIN.items() if key in known]


def settings_rows(report: Report) -> list[tuple[str, str]]:
    """Return the settings, which all parts have in common."""
    return list(flat(report.settings))


def provenance_rows(report: Report) -> list[tuple[str, str]]:
    """Return the provenance: each recorded value once, with how many parts recorded it."""
    records = len(report.provenance)
    values: dict[str, Counter[str]] = {}
    for provenance in report.provenance:
        for key, value in flat(provenance):
            values.setdefault(key, Counter())[value] += 1
    rows = []
    for key, counts in values.items():
        said = next(iter(counts))
        if counts[said] < records:
            first = list(counts.items())[:5]
            said = "; ".join(f"{value} ({count:,} of {records:,})" for value, count in first)
            said += f"; and {len(counts) - 5} more" if len(counts) > 5 else ""
        rows.append((key, said))
    return rows


def flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested keys joined by dots, and their values as text.

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
    return f"The store has no rows{why}."


def _sparsity(report: Report) -> str:
    zeros = report.zeros[report.ranked_by]
    spread = zeros.spread
    said = f"{percent(zeros.sparsity)} of {zeros.name} is zero"
    if report.n_rows == 1:
        return f"{said} in the only image."
    return (
        f"{said}: {percent(spread.min)} to {percent(spread.max)} by image, and "
        f"{percent(spread.lower_quartile)} to {percent(spread.upper_quartile)} in the middle half "
        "of the images."
    )


def _range(report: Report) -> list[str]:
    rectified = {n: z for n, z in report.zeros.items() if not n.endswith(PRE)}
    if len(rectified) < 2:
        return []

    def share(zeros: LayerZeros) -> float:
        return zeros.sparsity or 0.0

    least, most = min(rectified.values(), key=share), max(rectified.values(), key=share)
    if least is most:
        return []
    fewest = f"{least.name} has the fewest zeros ({percent(least.sparsity)})"
    return [f"{fewest}, {most.name} the most ({percent(most.sparsity)})."]


def _channels(report: Report) -> str:
    zeros = report.zeros[report.ranked_by]
    dead = len(zeros.dead)
    of = f"{zeros.layer.n_channels:,} channels of {zeros.name}"
    said = f"{dead:,} of the {of} {'is' if dead == 1 else 'are'} dead"
    said = said if dead else f"None of the {of} is dead"
    if zeros.always_on is not None:
        on = len(zeros.always_on)
        said += f"; {on:,} {'is' if on == 1 else 'are'} always on"
    if dead and report.n_rows < FEW_IMAGES:
        said += (
            f". With only {counted(report.n_rows, 'image')} this says little: "
            "another image may activate them"
        )
    return said + "."


def _size(report: Report) -> str:
    layers = report.sizes.layers
    dense, stored = sum(size.dense for size in layers), sum(size.stored for size in layers)
    said = (
        f"The layers take {format_bytes(stored)} on disk, {percent(stored / dense)} of the "
        f"{format_bytes(dense)} of dense float32"
    )
    floors = [size.floor.n_bytes for size in layers if size.floor.n_bytes is not None]
    if len(floors) == len(layers):
        said += f"; the estimated floor is {format_bytes(sum(floors))}"
    return said + "."
