"""Converts a store to a file of another format."""

import importlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from sparsefeat.errors import InputError, SparsefeatError, StoreWriteError
from sparsefeat.interop.conversion import h5ad, npz, parquet
from sparsefeat.interop.conversion.output import target
from sparsefeat.interop.conversion.reader import Advance, StoreReader
from sparsefeat.storage import refusal
from sparsefeat.store import RowIndex, Store, choose_stored_layers
from sparsefeat.system import importing, validate_path

MEMORY: Final = 512 << 20
SHARE: Final = 4  # rows are held raw, copied and compressed, so a stretch gets 1/4 of the memory


class Format(Protocol):
    """The interface of each format's module."""

    NEEDS: tuple[str, ...]

    def write(self, source: StoreReader, path: Path) -> dict[str, int]:
        """Write a new file, or into an empty folder; return the bytes of each layer."""


FORMATS: Final[dict[str, Format]] = {"h5ad": h5ad, "parquet": parquet, "npz": npz}


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvertedLayer:
    """A layer of a conversion: its shape for one image, its non-zeros, and its bytes."""

    shape: tuple[int, ...]
    nnz: int
    bytes: int

    @property
    def n_features(self) -> int:
        """Number of elements of a row."""
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversion:
    """The outcome of `convert`."""

    path: str
    to: str
    rows: int
    rejected: int
    layers: dict[str, ConvertedLayer]
    bytes: int  # of all files


def convert(
    store: str | os.PathLike[str] | Store,
    output: str | os.PathLike[str],
    *,
    to: str | None = None,
    layers: str | Sequence[str] | None = None,
    rows: RowIndex | None = None,
    where: str | None = None,
    force: bool = False,
    memory: int = MEMORY,
    progress: Advance | None = None,
) -> Conversion:
    """Convert a store to a file that other programs read; values are equal bit for bit.

    Nothing appears at `output` until it is complete, and nothing is left after an exception.

    Parameters
    ----------
    store
        A store, or its folder.
    output
        The file to write, whose ending is that of its format; for "npz" a folder, unless it ends
        in ``.npz``. Missing folders are created.
    to
        "h5ad", "parquet" or "npz"; by default the ending of `output`.
    layers
        Names, groups and patterns, separated by commas or as a list; by default all layers.
    rows
        Rows and their order, as in ``store[layer][rows]``; by default all rows.
    where
        Instead of `rows`: a condition that selects rows, as `Store.where` takes it.
    force
        Whether to replace an existing `output`.
    memory
        Approximate limit of memory in bytes, at most the store's `memory_limit`. The table of
        rows and one row of the layers are held in addition.
    progress
        Called with the number of rows done and their total. An exception from it ends the
        conversion.

    Returns
    -------
    Conversion
        The outcome: rows, layers, and bytes.

    Raises
    ------
    StoreNotFoundError, StoreMismatchError, StoreCorruptError, StoreError
        As for `Store`, and for reading its rows.
    LayerError
        The store doesn't have one of the layers.
    InputError
        `output` exists, can't be written, or can't hold the layers; or both `rows` and `where`
        are given.
    StoreWriteError
        The system refused to write, for example because the disk is full.
    DependencyError
        h5py or pyarrow isn't installed, or doesn't load.

    Examples
    --------
    >>> convert("features/", "features.h5ad", layers="pools").bytes  # doctest: +SKIP
    173969124
    """
    path = validate_path(output, "the output")
    to = _chosen(path, to)
    writer = FORMATS[to]
    _require(writer.NEEDS, to)
    if memory < 1:
        raise InputError(f"got memory={memory} bytes, expected at least 1: leave it out")
    if rows is not None and where is not None:
        raise InputError("got both rows and where: leave one of them out")
    opened = store if isinstance(store, Store) else Store(store)
    most = memory if opened.memory_limit is None else min(memory, opened.memory_limit)
    source = StoreReader(
        opened,
        choose_stored_layers(layers, opened.layers),
        rows if where is None else opened.where(where),
        stretch_bytes=max(1, most // SHARE),
        advance=progress,
    )
    folder = to == "npz" and path.suffix.lower() != npz.SUFFIX
    if to == "npz" and not folder and len(source.layers) > 1:
        raise InputError(
            f"got {len(source.layers)} layers for one {npz.SUFFIX} file, which holds one layer: "
            f"choose one with layers (--layers), or name a folder, without {npz.SUFFIX}, for all"
        )
    try:
        with target(path, folder=folder, force=force, ours=npz.made_here) as temporary:
            sizes = writer.write(source, temporary)
            n_bytes = _size(temporary)
    except SparsefeatError:
        raise
    except OSError as exc:
        raise StoreWriteError(refusal(path, exc)) from exc
    return Conversion(
        path=str(output),
        to=to,
        rows=source.n_rows,
        rejected=len(source.rejected),
        layers={
            layer.name: ConvertedLayer(
                shape=layer.shape,
                nnz=int(source.nnz(layer.name).sum()),
                bytes=sizes[layer.name],
            )
            for layer in source.layers
        },
        bytes=n_bytes,
    )


def _chosen(path: Path, to: str | None) -> str:
    ending = path.suffix.lower().removeprefix(".")
    chosen = ending if to is None else to
    if chosen not in FORMATS:
        got = f"{str(path)!r} and no format" if to is None else f"format {to!r}"
        raise InputError(f"got {got}, expected one of {', '.join(FORMATS)}: choose it with --to")
    if chosen != ending and (chosen != "npz" or ending in FORMATS):
        folder = ", or a folder's name" if chosen == "npz" else ""
        raise InputError(
            f"got {str(path)!r} for {chosen}, expected a name that ends in .{chosen}{folder}"
        )
    return chosen


def _require(modules: tuple[str, ...], to: str) -> None:
    for name in modules:
        purpose = f"{to} files are written with it"
        with importing(
            name.partition(".")[0], "pip install 'sparsefeat[convert]'", purpose=purpose
        ):
            importlib.import_module(name)


def _size(path: Path) -> int:
    files = list(path.iterdir()) if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)
