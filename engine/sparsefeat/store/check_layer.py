"""Checking one layer of one part: checksums, then whether the numbers make sense."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import StoreCorruptError, StoreReadError
from sparsefeat.store.header import StoredLayer
from sparsefeat.store.layout import CHUNK, SHARD, layer_key
from sparsefeat.store.part import Part
from sparsefeat.store.report import Finding
from sparsefeat.store.selection import spans
from sparsefeat_kernels import Csr, csr_zeros_per_channel


def check_layer(part: Part, stored: StoredLayer) -> Iterator[Finding]:
    """Read all of a layer, and yield what is wrong with it."""
    name = stored.layer.name
    try:
        indptr, expected = part.indptr(name), part.zeros_per_channel(name)
        if stored.law is not None:
            part.steps(name)
    except StoreCorruptError as exc:
        yield Finding(what=str(exc), part=part.path.name, layer=name)
        return
    zeros = np.zeros_like(expected)
    sound = True
    offsets = part.offsets(name)
    for start, stop in spans(np.arange(part.header.rows), offsets, gap=CHUNK, most=SHARD):
        try:
            csr = part.rows(name, start, stop)
            zeros += csr_zeros_per_channel(csr, stored.layer.n_channels)
        except StoreReadError:
            raise
        except (StoreCorruptError, ValueError) as exc:
            sound = False
            yield from _locate(part, stored, start, stop, exc)
            continue
        for what, rows in _suspicious(csr, np.diff(indptr[start : stop + 1])):
            sound = False
            yield _finding(part, stored, what, rows + start)
    if sound and not np.array_equal(zeros, expected):
        channels = np.flatnonzero(zeros != expected)
        what = f"the stored zero counts of channels {_few(channels)} are not those of the data"
        yield Finding(what=what, part=part.path.name, layer=name)


def _suspicious(
    csr: Csr, nnz: npt.NDArray[np.int64]
) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    """Yield what values should never be, and the rows where they are."""
    counted = np.flatnonzero(np.diff(csr.indptr) != nnz)
    if len(counted):
        yield "the stored zero counts are not those of the data", counted
    for what, suspicious in (
        ("values that are not finite", ~np.isfinite(csr.values)),
        ("stored zeros", csr.values == 0),
    ):
        places = np.flatnonzero(suspicious)
        if len(places):
            yield what, np.unique(np.searchsorted(csr.indptr, places, side="right") - 1)


def _locate(
    part: Part, stored: StoredLayer, start: int, stop: int, exc: Exception
) -> Iterator[Finding]:
    """Yield which rows of a stretch can't be read, chunk by chunk."""
    name, key = stored.layer.name, f"obsm/{layer_key(stored.layer.name)}"
    arrays = [key] if stored.encoding == "dense" else [f"{key}/indices", f"{key}/data"]
    offsets = part.offsets(name)
    width = stored.layer.n_features if stored.encoding == "dense" else 1
    located = False
    for array in arrays:
        # Elements of a CSR's arrays, but rows of a dense one, are what an array counts along.
        first, last = int(offsets[start]) // width, int(offsets[stop]) // width
        step = max(1, CHUNK // width)
        for begin in range(first // step * step, last, step):
            lower, upper = max(begin, first), min(begin + step, last)
            try:
                part.read(array, lower, upper)
            except StoreCorruptError as damage:
                located = True
                row = int(np.searchsorted(offsets, lower * width, side="right")) - 1
                end = int(np.searchsorted(offsets, upper * width, side="left"))
                yield _finding(part, stored, str(damage), np.array([row, end - 1]))
    if not located:
        yield _finding(part, stored, str(exc), np.array([start, stop - 1]))


def _finding(part: Part, stored: StoredLayer, what: str, rows: npt.NDArray[np.int64]) -> Finding:
    reach = (int(rows[0]), int(rows[-1]) + 1)
    return Finding(what=what, part=part.path.name, layer=stored.layer.name, rows=reach)


def _few(numbers: npt.NDArray[np.int64]) -> str:
    shown = ", ".join(map(str, numbers[:5].tolist()))
    return f"{shown}, ..." if len(numbers) > 5 else shown
