"""What a report says, before it is a page."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from sparsefeat.analysis import LayerZeros, layer_facts
from sparsefeat.store import JSON
from sparsefeat.viz.report.outliers import Outlier
from sparsefeat.viz.report.sizes import Sizes
from sparsefeat.viz.report.thumbnails import Thumbnail


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A picture that is shown: `width` and `height` as stored in its file."""

    row: int
    path: str
    width: int
    height: int
    thumbnail: Thumbnail


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejects:
    """What gave no row: how many for each reason, and the first of them as (path, reason)."""

    reasons: dict[str, int]
    first: tuple[tuple[str, str], ...]

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.reasons.values())


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Report:
    """All figures of a report on a store.

    Attributes
    ----------
    folder
        The store's.
    n_rows, n_parts
        Its rows and parts.
    zeros
        For each layer what was counted, over all rows.
    sizes
        What layers take.
    ranked_by
        The layer by whose share of zeros pictures are ranked.
    sparsest, densest
        Rows with the most and the fewest zeros there, the furthest first.
    outliers
        Pictures far from the others in any layer, the furthest first.
    rejects
        What gave no row.
    pictures
        Those rows of these that are shown, by number.
    settings, provenance
        As the store has them: the provenance of each part, or of each stretch of its rows.
    seed
        Of the rows drawn for the floor estimate.
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
    pictures: dict[int, Picture]
    settings: dict[str, JSON]
    provenance: tuple[dict[str, JSON], ...]
    seed: int

    def to_json(self) -> dict[str, Any]:
        """Give all figures in JSON's types, but for zeros per row and thumbnails.

        ``sparsefeat sparsity`` gives the zeros of every row.
        """
        return {
            "store": self.folder,
            "n_pictures": self.n_rows,
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
            "path": self.pictures[row].path,
            "zeros": int(zeros.per_row[row]) / zeros.layer.n_features,
        }
