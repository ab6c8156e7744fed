"""A report's figures, gathered from a store."""

import os
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from sparsefeat.analysis import count_store
from sparsefeat.errors import InputError
from sparsefeat.store import Store, choose_stored
from sparsefeat.system.paths import checked_path
from sparsefeat.viz.report.extremes import rank_rows, telling_layer
from sparsefeat.viz.report.outliers import find_outliers
from sparsefeat.viz.report.result import Picture, Rejects, Report
from sparsefeat.viz.report.sizes import measure_sizes
from sparsefeat.viz.report.thumbnails import make_thumbnail

EXTREMES = 6  # of each kind
SHOWN_OUTLIERS = 12
SHOWN_REJECTS = 20


def build_report(
    folder: str | os.PathLike[str],
    *,
    layers: str | Sequence[str] | None = None,
    photos: str | os.PathLike[str] | None = None,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> Report:
    """Gather what a report on a store says.

    Of each layer the indices are read, 64 MiB at a time, and the values of a few rows.

    Parameters
    ----------
    folder
        The store.
    layers
        Names and patterns, separated by commas or as a sequence; by default all that it holds.
    photos
        Where the photographs are now, if they were moved. Only for thumbnails.
    seed
        Of the rows drawn for the floor estimate, 0 or more.
    progress
        Called with the rows counted, of how many, and the layer's name.

    Raises
    ------
    StoreNotFoundError, StoreMismatchError, StoreCorruptError, StoreError
        As `sparsefeat.open` does.
    LayerError
        The store has no such layer.
    InputError
        The seed is negative.

    Examples
    --------
    >>> import sparsefeat
    >>> found = sparsefeat.build_report("features/")  # doctest: +SKIP
    >>> found.zeros["block5_pool"].share  # doctest: +SKIP
    0.883...
    """
    if seed < 0:
        raise InputError(f"got seed {seed}, expected an integer from 0 on: name another one")
    store = Store(checked_path(folder, "a store"))
    names = choose_stored(layers, list(store.layers))
    zeros = count_store(store, names, report=progress)
    obs = store.obs
    ranked_by = telling_layer(zeros)
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
        pictures={
            row: _picture(row, line, photos)
            for row, line in zip(shown, obs.iloc[shown].to_dict("records"), strict=True)
        },
        settings=store.settings,
        provenance=tuple(store.provenance),
        seed=seed,
    )


def _picture(
    row: int, line: Mapping[Hashable, Any], photos: str | os.PathLike[str] | None
) -> Picture:
    return Picture(
        row=row,
        path=line["path"],
        width=line["width"],
        height=line["height"],
        thumbnail=make_thumbnail(line["path"], line["root"], line["sha256"], photos),
    )


def _rejects(store: Store) -> Rejects:
    rejected = store.rejected
    first = rejected.head(SHOWN_REJECTS)
    return Rejects(
        reasons=dict(Counter(rejected["reason"].tolist()).most_common()),
        first=tuple(zip(first["path"].tolist(), first["reason"].tolist(), strict=True)),
    )
