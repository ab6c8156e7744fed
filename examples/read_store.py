"""Read a store of sparsefeat's with anndata alone; sparsefeat isn't imported.

python examples/read_store.py demo/features block5_pool

Each part of a store is an AnnData group in Zarr v3. The newest snapshot lists the store's parts in
order, and the rows of each that are excluded; docs/format.md describes both. Unlike sparsefeat,
this doesn't check the snapshot's checksum, and reads whole parts into memory.
"""

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix, vstack

# zarr-python says on every read that other programs may lack the filter `delta`.
warnings.filterwarnings("ignore", message="Numcodecs codecs are not in the Zarr version 3")

Entry = list[Any]  # [name, rows, rejects, bytes, checksum, layers, excluded rows]


def read_snapshot(store: Path, number: int) -> dict[str, Any]:
    """Read one snapshot's JSON document."""
    document: dict[str, Any] = json.loads((store / f"snapshots/{number:08}.json").read_bytes())
    if document["format"] != 1:
        raise SystemExit(f"{store}: format {document['format']}, this script reads format 1")
    return document


def parts(store: Path, number: int) -> tuple[dict[str, Entry], dict[str, Any]]:
    """Give the parts of a snapshot in order, and the full snapshot that it is based on."""
    document = read_snapshot(store, number)
    if "base" in document:  # it lists only what differs from another snapshot
        entries, full = parts(store, document["base"][0])
    else:
        entries, full = {}, document
    for entry in document["parts"]:
        entries[entry[0]] = entry  # replaces the entry of that name, or follows the others
    return entries, full


def read(store: Path, layer: str) -> tuple[csr_matrix, pd.DataFrame]:
    """Read a layer, float32 (rows, features), and the table of its images."""
    numbers = [int(path.stem) for path in (store / "snapshots").glob("[0-9]*.json")]
    entries, full = parts(store, max(numbers))
    if layer not in full["layers"]:
        raise SystemExit(f"{store} has no layer {layer}: it has {', '.join(full['layers'])}")
    key = layer.replace("/", ".")
    matrices, tables = [], []
    for name, rows, *_, excluded in ([*entry, []][:7] for entry in entries.values()):
        part = anndata.read_zarr(store / f"parts/{name}.zarr")
        matrix = csr_matrix(part.obsm[key])  # a part stores a layer dense where that is smaller
        if matrix.dtype.kind != "f":
            raise SystemExit(f"{store}: {layer} is stored as codes: see docs/format.md")
        counts = np.ones(rows, bool)
        for first, end in excluded:
            counts[first:end] = False
        matrices.append(matrix[counts])
        tables.append(part.obs[counts])
    return vstack(matrices, format="csr"), pd.concat(tables)


def main() -> None:
    """Print the shape, the share of zeros and the images of a layer."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("layer", help="such as block5_pool")
    given = parser.parse_args()

    matrix, images = read(given.store, given.layer)
    zeros = 1 - matrix.nnz / np.prod(matrix.shape)
    print(f"{given.layer}: {matrix.dtype} {matrix.shape}, {zeros:.1%} zeros")
    for path, nnz in zip(images["path"], np.diff(matrix.indptr), strict=True):
        print(f"  {path}: {nnz} values")


if __name__ == "__main__":
    main()
