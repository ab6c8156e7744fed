"""Chooses the images that a report shows: the sparsest, the densest and the unusual ones."""

import base64
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from sparsefeat.analysis import LayerZeros
from sparsefeat.images import (
    MAX_PIXELS,
    PRESETS,
    UnreadableError,
    open_image,
    pillow_errors,
    read_original,
    render,
    upright_size,
)
from sparsefeat.model import PRE

MIN_ROWS = 10  # with fewer rows, none counts as unusual
FAR = 3.5  # robust z score from which an image is unusual
MIN_SPREAD = 0.001  # of a layer's elements: a smaller difference isn't unusual

LONG_SIDE = 200  # pixels
_QUALITY = 75


def choose_ranking_layer(counts: Mapping[str, LayerZeros]) -> str:
    """Choose the layer by which images are ranked: the deepest one in which images differ.

    Pre-activations are used only if the store has no other layers. The deeper a layer, the more its
    zeros depend on what an image shows.
    """
    after = [name for name in counts if not name.endswith(PRE)] or list(counts)
    differing = [name for name in after if len(np.unique(counts[name].per_row)) > 1]
    return (differing or after)[-1]


def rank_rows(zeros: LayerZeros, most: int) -> tuple[list[int], list[int]]:
    """Return the rows with the most zeros and those with the fewest, the most extreme first.

    No row is in both lists.
    """
    count = min(most, zeros.n_rows // 2)
    order = np.argsort(zeros.per_row, kind="stable")
    return order[::-1][:count].tolist(), order[:count].tolist()


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlier:
    """An unusual image, and the layer in which it differs most from the others."""

    row: int
    path: str
    layer: str
    zeros: float  # share of zeros in that layer
    z: float  # robust z score; negative: fewer zeros than the others
    layers: tuple[str, ...]  # all layers in which it is unusual


def find_outliers(counts: Mapping[str, LayerZeros], paths: Sequence[str]) -> tuple[Outlier, ...]:
    """Find images whose share of zeros differs much from that of the others.

    In each layer, the robust z score of an image is 0.6745 (x - median) / MAD, where x is its
    share of zeros and MAD the median absolute deviation. For normally distributed values it is
    the distance from the mean in standard deviations. An image with |z| of 3.5 or more is unusual
    (Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993). The MAD is at least one
    element and a thousandth of the layer's elements, so that an unusual image differs by half a
    percentage point or more.

    Layers are left out if there are fewer than 10 images, if more than half of the images have
    the same share, or if the layer is a pre-activation, whose few zeros are accidental.

    Parameters
    ----------
    counts
        The counts of each layer.
    paths
        The paths of the N images.

    Returns
    -------
    tuple
        The unusual images, the most unusual first.
    """
    found: dict[int, list[tuple[float, str]]] = {}
    for layer, zeros in counts.items():
        if layer.endswith(PRE):
            continue
        scores = robust_z(zeros.per_row, floor=max(1.0, MIN_SPREAD * zeros.layer.n_features))
        for row in np.flatnonzero(np.abs(scores) >= FAR).tolist():
            found.setdefault(row, []).append((float(scores[row]), layer))
    outliers = []
    for row, entries in found.items():
        z, layer = max(entries, key=lambda entry: abs(entry[0]))
        outliers.append(
            Outlier(
                row=row,
                path=paths[row],
                layer=layer,
                zeros=float(counts[layer].row_sparsity[row]),
                z=z,
                layers=tuple(name for _, name in entries),
            )
        )
    return tuple(sorted(outliers, key=lambda outlier: (-abs(outlier.z), outlier.row)))


def robust_z(numbers: npt.NDArray[np.int64], *, floor: float = 0.0) -> npt.NDArray[np.float64]:
    """Return the robust z score of each number; see `find_outliers`.

    The MAD counts as at least `floor`, unless it is 0.

    Examples
    --------
    >>> robust_z(np.array([3, 4, 5, 6, 7, 4, 5, 6, 5, 50])).round(1).tolist()[-2:]
    [0.0, 30.4]
    """
    if len(numbers) < MIN_ROWS:
        return np.zeros(len(numbers))
    away = numbers - np.median(numbers)
    mad = float(np.median(np.abs(away)))
    return 0.6745 * away / max(mad, floor) if mad else np.zeros(len(numbers))


@dataclass(frozen=True, kw_only=True, slots=True)
class Thumbnail:
    """A small image as a data URL, or the reason why there is none."""

    src: str = ""
    missing: str = ""


def make_thumbnail(
    path: str, root: str, sha256: str, images: str | os.PathLike[str] | None = None
) -> Thumbnail:
    """Make a small JPEG of a row's original image.

    Parameters
    ----------
    path, root, sha256, images
        As `sparsefeat.images.read_original` takes them.

    Returns
    -------
    Thumbnail
        At most 200 pixels wide and high, upright, 5 to 10 kB. It has no image if the file is
        missing, can't be read, or differs from the one that was extracted.
    """
    content = read_original(path, root, sha256, images)
    if isinstance(content, str):
        return Thumbnail(missing=content)
    try:
        with pillow_errors():
            return Thumbnail(src=_data_url(content))
    except UnreadableError as exc:
        return Thumbnail(missing=str(exc.reason))


def _data_url(content: bytes) -> str:
    image = open_image(io.BytesIO(content), MAX_PIXELS)
    width, height = upright_size(image)
    scale = min(1.0, LONG_SIDE / max(width, height))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    pixels, _ = render(image, PRESETS["bilinear"], size)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
