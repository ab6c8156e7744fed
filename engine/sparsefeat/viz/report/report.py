"""Computes the numbers of a report on a store."""

import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparsefeat.analysis import LayerZeros, count_store, layer_facts
from sparsefeat.errors import InputError
from sparsefeat.store import JSON, Store, choose_stored_layers
from sparsefeat.viz.report.images import (
    Outlier,
    Thumbnail,
    choose_ranking_layer,
    find_outliers,
    make_thumbnail,
    rank_rows,
)
from sparsefeat.viz.report.sizes import Sizes, measure_sizes

EXTREMES = 6  # of each kind
SHOWN_OUTLIERS = 12
SHOWN_REJECTS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportedImage:
    """An image that the report shows; `width` and `height` are those of its file."""

    row: int
    path: str
    width: int
    height: int
    thumbnail: Thumbnail


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejects:
    """The rejected images: how many for each reason, and the first ones as (path, reason)."""

    reasons: dict[str, int]
    first: tuple[tuple[str, str], ...]

    @property
    def count(self) -> int:
        """Number of rejected images."""
        return sum(self.reasons.values())


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Report:
    """All numbers of a report on a store; `build_report` returns it.

    Attributes
    ----------
    folder
        The store's folder or URL.
    n_rows, n_parts
        Number of rows and of parts.
    zeros
        The counts of each layer, over all rows.
    sizes
        The bytes of each layer.
    ranked_by
        The layer whose share of zeros ranks the images.
    sparsest, densest
        Numbers of the rows with the most and the fewest zeros, the most extreme first.
    outliers
        Unusual images, the most unusual first.
    rejects
        Images that have no row, because they could not be read.
    images
        The images that the page shows, by row number.
    settings, provenance
        The store's settings, and the provenance of each part or range of its rows.
    seed
        Seed of the rows drawn for the floor estimate.
    """

    folder: str
    n_rows: int
    n_parts: int
    zeros: dict[str, LayerZeros]
    sizes: Sizes
    ranked_by: str
    sparsest: tuple[int, ...]
    densest: tuple[int, ...]
    outliers: tuple[Outlier, ...]
    rejects: Rejects
    images: dict[int, ReportedImage]
    settings: dict[str, JSON]
    provenance: tuple[dict[str, JSON], ...]
    seed: int

    def to_json(self) -> dict[str, Any]:
        """Return all numbers as values that JSON can hold, except zeros per row and thumbnails.

        ``sparsefeat sparsity --by image`` prints the zeros of every row.
        """
        return {
            "store": self.folder,
            "n_images": self.n_rows,
            "n_parts": self.n_parts,
            "layers": {name: layer_facts(zeros) for name, zeros in self.zeros.items()},
            "sizes": dataclasses.asdict(self.sizes) | {"tables": self.sizes.tables},
            "ranked_by": self.ranked_by,
            "sparsest": [self._ranked(row) for row in self.sparsest],
            "densest": [self._ranked(row) for row in self.densest],
            "outliers": [dataclasses.asdict(outlier) for outlier in self.outliers],
            "rejects": {"count": self.rejects.count, "reasons": self.rejects.reasons},
            "settings": self.settings,
            "provenance": list(self.provenance),
            "seed": self.seed,
        }

    def _ranked(self, row: int) -> dict[str, Any]:
        zeros = self.zeros[self.ranked_by]
        return {
            "row": row,
            "path": self.images[row].path,
            "zeros": int(zeros.per_row[row]) / zeros.layer.n_features,
        }


def build_report(
    folder: str | os.PathLike[str],
    *,
    layers: str | Sequence[str] | None = None,
    images: str | os.PathLike[str] | None = None,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> Report:
    """Compute the numbers of a report on a store.

    It reads the indices of each layer, 64 MiB at a time, and the values of up to 64 rows.

    Parameters
    ----------
    folder
        The store's folder or URL.
    layers
        Names and patterns, separated by commas or as a sequence; by default all layers.
    images
        The folder where the original images are now, if they were moved. Used for thumbnails.
    seed
        Seed of the rows drawn for the floor estimate, at least 0.
    progress
        Called with the number of rows counted, their total, and the layer's name.

    Raises
    ------
    StoreNotFoundError, StoreMismatchError, StoreCorruptError, StoreError
        As `sparsefeat.open` does.
    LayerError
        The store doesn't have one of the layers.
    InputError
        The seed is negative.

    Examples
    --------
    >>> import sparsefeat
    >>> found = sparsefeat.build_report("features/")  # doctest: +SKIP
    >>> found.zeros["block5_pool"].sparsity  # doctest: +SKIP
    0.883...
    """
    if seed < 0:
        raise InputError(f"got seed {seed}, expected a whole number of at least 0")
    store = Store(folder)
    names = choose_stored_layers(layers, list(store.layers))
    zeros = count_store(store, names, progress=progress)
    obs = store.obs
    ranked_by = choose_ranking_layer(zeros)
    sparsest, densest = rank_rows(zeros[ranked_by], EXTREMES)
    outliers = find_outliers(zeros, obs["path"].tolist())
    far = [outlier.row for outlier in outliers[:SHOWN_OUTLIERS]]
    shown = list(dict.fromkeys([*sparsest, *densest, *far]))
    return Report(
        folder=os.fspath(folder),
        n_rows=store.n_rows,
        n_parts=len(store.snapshot.parts),
        zeros=zeros,
        sizes=measure_sizes(store, names, seed=seed),
        ranked_by=ranked_by,
        sparsest=tuple(sparsest),
        densest=tuple(densest),
        outliers=outliers,
        rejects=_rejects(store),
        images={
            row: _image(row, line, images)
            for row, line in zip(shown, obs.iloc[shown].to_dict("records"), strict=True)
        },
        settings=store.settings,
        provenance=tuple(store.provenance),
        seed=seed,
    )


def _image(
    row: int, line: Mapping[Hashable, Any], images: str | os.PathLike[str] | None
) -> ReportedImage:
    return ReportedImage(
        row=row,
        path=line["path"],
        width=line["width"],
        height=line["height"],
        thumbnail=make_thumbnail(line["path"], line["root"], line["sha256"], images),
    )


def _rejects(store: Store) -> Rejects:
    rejected = store.rejected
    first = rejected.head(SHOWN_REJECTS)
    return Rejects(
        reasons=dict(Counter(rejected["reason"].tolist()).most_common()),
        first=tuple(zip(first["path"].tolist(), first["reason"].tolist(), strict=True)),
    )
