"""Counting the zeros of photographs, without a store."""

import os
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass

from sparsefeat.analysis.accumulator import Accumulator
from sparsefeat.analysis.counts import LayerZeros
from sparsefeat.analysis.flatness import Flatness, flatness_of
from sparsefeat.images.decode import Decoded, Picture
from sparsefeat.pipeline.extractor import Extractor
from sparsefeat.types import Reject, Row


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PictureZeros:
    """What was counted of some photographs.

    Attributes
    ----------
    counts
        The zeros of each layer.
    rows
        The pictures, in the order of `LayerZeros.per_row`.
    flatness
        As long as `rows`; empty where it wasn't measured.
    rejects
        What could not be read, and why.
    """

    counts: dict[str, LayerZeros]
    rows: tuple[Row, ...]
    flatness: tuple[Flatness, ...]
    rejects: tuple[Reject, ...]


def count_pictures(
    extractor: Extractor,
    pictures: str | os.PathLike[str] | Iterable[Picture | Reject],
    *,
    flatness: bool = True,
    report: Callable[[int], None] | None = None,
) -> PictureZeros:
    """Run photographs through the network and count their zeros, batch by batch.

    Activations are dropped as soon as they are counted; only figures are kept for each picture.

    Parameters
    ----------
    extractor
        Its layers are counted; pre-activations too, if it has any.
    pictures
        As `Extractor.extract` takes them.
    flatness
        Measure how flat each of them is.
    report
        Called after each batch with the number of pictures done.

    Raises
    ------
    InputError
        As `Extractor.extract` does.
    """
    accumulators = {name: Accumulator(layer) for name, layer in extractor.layers.items()}
    # By digest: a picture that comes twice is as flat the second time.
    measured: dict[str, Flatness] = {}
    rows: list[Row] = []
    rejects: list[Reject] = []

    def measure(decoded: Decoded) -> None:
        measured[decoded.row.sha256] = flatness_of(decoded.pixels)

    batches = extractor.extract(
        pictures, errors="ignore", reuse=True, on_decoded=measure if flatness else None
    )
    with closing(batches):
        for batch in batches:
            for name, csr in batch.layers.items():
                accumulators[name].add(csr)
            rows += batch.rows
            rejects += batch.rejects
            if report is not None:
                report(len(rows) + len(rejects))
    return PictureZeros(
        counts={name: accumulator.result() for name, accumulator in accumulators.items()},
        rows=tuple(rows),
        flatness=tuple(measured[row.sha256] for row in rows) if flatness else (),
        rejects=tuple(rejects),
    )
