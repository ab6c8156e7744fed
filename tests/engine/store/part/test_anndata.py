"""A part is an AnnData group for programs that don't know sparsefeat."""

import json
import subprocess
import sys
import sysconfig
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from sparsefeat.store import Store
from sparsefeat.store.part.tables import row_id
from sparsefeat.types import Batch, Row

from ..data import SMALL, dense_rows, make_batch, make_reject, make_row, part_folders, write_store

READER = """
import importlib.util, json, sys
sys.path.append(sys.argv[1])
assert importlib.util.find_spec("sparsefeat") is None, "sparsefeat can be imported"
assert importlib.util.find_spec("sparsefeat_kernels") is None

import anndata, numpy as np
data = anndata.read_zarr(sys.argv[2])
arrays = {}
for key, value in data.obsm.items():
    arrays[key] = value if isinstance(value, np.ndarray) else value.toarray()
uns = data.uns["sparsefeat"]
for key, counts in uns["zeros_per_channel"].items():
    arrays["zeros " + key] = counts
np.savez(sys.argv[3], **{key.replace("/", "|"): value for key, value in arrays.items()})
print(json.dumps({
    "shape": data.shape,
    "types": {key: type(value).__name__ for key, value in data.obsm.items()},
    "index": list(data.obs.index),
    "obs": {column: data.obs[column].tolist() for column in data.obs},
    "rejected": {column: uns["rejected"][column].tolist() for column in uns.get("rejected", ())},
}))
"""


def read_with_anndata(part: Path, scratch: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a part in an interpreter that has the site's packages but ignores .pth files."""
    arrays = scratch / "arrays.npz"
    site = sysconfig.get_path("purelib")
    answer = subprocess.run(
        [sys.executable, "-I", "-S", "-c", READER, site, str(part), str(arrays)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    with np.load(arrays) as loaded:
        return json.loads(answer.stdout), dict(loaded)


def nodes_of(part: Path) -> dict[str, Any]:
    """The metadata of a part's nodes."""
    root = json.loads((part / "zarr.json").read_bytes())
    nodes: dict[str, Any] = root["consolidated_metadata"]["metadata"]
    return nodes


def test_anndata_reads_a_part(tmp_path: Path) -> None:
    rejects = [make_reject(1), make_reject(2, reason="größer als erlaubt")]
    write_store(tmp_path / "store", [make_batch(range(5), rejects=rejects)])
    (part,) = part_folders(tmp_path / "store")
    told, arrays = read_with_anndata(part, tmp_path)

    assert told["shape"] == [5, 0]
    assert told["types"] == {
        "block5_pool": "csr_matrix",
        "block5_conv3.pre": "csr_matrix",
        "fc": "ndarray",
    }
    rows = [make_row(number) for number in range(5)]
    assert told["index"] == [row_id(row) for row in rows]
    for column, values in told["obs"].items():
        assert values == [getattr(row, column) for row in rows]
    columns = [field.name for field in fields(Row) if field.name != "extra"]  # no column is kept
    assert list(told["obs"]) == columns
    for column, values in told["rejected"].items():
        assert values == [getattr(reject, column) for reject in rejects]
    for layer in SMALL:
        key = layer.name.replace("/", ".")
        expected = dense_rows(layer, range(5))
        np.testing.assert_array_equal(arrays[key], expected)
        per_channel = (expected.reshape(-1, layer.n_channels) == 0).sum(axis=0)
        np.testing.assert_array_equal(arrays[f"zeros {key}"], per_channel)


def test_anndata_reads_a_part_without_rows(tmp_path: Path) -> None:
    write_store(tmp_path / "store", [make_batch([], rejects=[make_reject(1)])])
    told, arrays = read_with_anndata(part_folders(tmp_path / "store")[0], tmp_path)
    assert told["shape"] == [0, 0]
    assert arrays["block5_pool"].shape == (0, 72)
    assert told["rejected"]["path"] == ["broken-1.png"]


def test_every_array_has_the_specified_codecs(tmp_path: Path) -> None:
    """docs/format.md, "Codecs"."""
    write_store(tmp_path, [make_batch(range(3), rejects=[make_reject(1)])])
    nodes = nodes_of(part_folders(tmp_path)[0])
    arrays = {name: node for name, node in nodes.items() if node["node_type"] == "array"}
    assert len(arrays) > 20
    for name, node in arrays.items():
        codecs = node["codecs"]
        if codecs[0]["name"] == "sharding_indexed":
            assert codecs[0]["configuration"]["index_codecs"][-1]["name"] == "crc32c"
            codecs = codecs[0]["configuration"]["codecs"]
        assert codecs[-1]["name"] == "crc32c", name
        assert (codecs[0]["name"] == "numcodecs.delta") == name.endswith("/indices"), name
    blosc = arrays["obsm/block5_pool/data"]["codecs"][1]
    assert blosc == {
        "name": "blosc",
        "configuration": {
            "typesize": 4,
            "cname": "zstd",
            "clevel": 1,
            "shuffle": "shuffle",
            "blocksize": 1 << 20,
        },
    }
    assert {nodes[f"obsm/block5_pool/{name}"]["data_type"] for name in ("data", "indptr")} == {
        "float32",
        "int64",
    }


def test_a_column_of_one_value_has_no_file(tmp_path: Path) -> None:
    rows = [make_row(number, label="") for number in range(5)]
    batch = make_batch(range(5), rejects=[make_reject(1), make_reject(2)])
    write_store(tmp_path, [Batch(rows=tuple(rows), layers=batch.layers, rejects=batch.rejects)])
    (part,) = part_folders(tmp_path)

    def with_files(table: str) -> set[str]:
        return {file.parent.name for file in (part / table).rglob("c.*")}

    # Empty text and 0 are written, because an array without files would read as these anyway.
    held = {"_index", "path", "label", "bytes", "mtime_ns", "sha256", "height"}
    assert with_files("obs") == held
    assert with_files("uns/sparsefeat/rejected") == {
        "_index",
        "path",
        "bytes",
        "mtime_ns",
        "sha256",
    }
    opened = Store(tmp_path)
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        read = zarr.open_group(part, mode="r")  # other arrays have codecs of numcodecs
    for field in fields(Row):
        if field.name == "extra":  # no column is kept
            continue
        expected = [getattr(row, field.name) for row in rows]
        assert opened.obs[field.name].tolist() == expected
        column = read[f"obs/{field.name}"]
        assert isinstance(column, zarr.Array)
        assert np.asarray(column[:]).tolist() == expected
    assert opened.rejected["reason"].tolist() == ["truncated"] * 2
