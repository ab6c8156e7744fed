"""One part's Zarr group: creating its nodes in AnnData's encoding.

The encodings are those of AnnData's on-disk format (anndata 0.12, `anndata._io.specs`);
its package is not needed to write them.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BytesCodec, VLenUTF8Codec
from zarr.storage import LocalStore

from sparsefeat.store import codecs
from sparsefeat.store.header import JSON

_VERSIONS = {
    "anndata": "0.1.0",
    "dict": "0.1.0",
    "dataframe": "0.2.0",
    "csr_matrix": "0.1.0",
    "array": "0.2.0",
    "string-array": "0.2.0",
    "string": "0.2.0",
}


def encoding(kind: str) -> dict[str, JSON]:
    """Give the attributes by which AnnData knows what a node is."""
    return {"encoding-type": kind, "encoding-version": _VERSIONS[kind]}


class PartGroup:
    """A Zarr v3 group on disk that is being written.

    Parameters
    ----------
    path
        Its folder, created here.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.path = path
        self._store = LocalStore(path)

    def group(self, name: str, kind: str, attributes: Mapping[str, JSON] | None = None) -> None:
        """Create a group; "" is the root."""
        node = {
            "attributes": {**encoding(kind), **(attributes or {})},
            "zarr_format": 3,
            "node_type": "group",
        }
        self._write_json(name, node)

    def array(
        self,
        name: str,
        *,
        shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        chunks: tuple[int, ...],
        shards: tuple[int, ...] | None = None,
        filters: Sequence[codecs.Delta] = (),
        attributes: Mapping[str, JSON] | None = None,
    ) -> "zarr.Array[Any]":
        """Create an array of numbers."""
        dtype = np.dtype(dtype)
        return zarr.create_array(
            self._store,
            name=name,
            shape=shape,
            dtype=dtype,
            chunks=chunks,
            shards=shards,
            filters=filters,
            serializer=BytesCodec(endian="little"),
            compressors=codecs.numbers(dtype),
            fill_value=0,
            attributes=dict(attributes or {}),
            # A chunk left out because it is all zeros could not be told from a lost one.
            config={"write_empty_chunks": True},
        )

    def put(self, name: str, values: npt.NDArray[Any]) -> None:
        """Write a small array of numbers as one chunk."""
        chunks = tuple(max(1, extent) for extent in values.shape)
        attributes = encoding("array")
        array = self.array(
            name, shape=values.shape, dtype=values.dtype, chunks=chunks, attributes=attributes
        )
        if values.size:
            array[...] = values

    def put_texts(self, name: str, texts: Sequence[str]) -> None:
        """Write a column of text as one chunk."""
        values = np.array(texts, np.dtypes.StringDType())
        self._put_text(name, values, "string-array")

    def put_text(self, name: str, text: str) -> None:
        """Write one text."""
        self._put_text(name, np.array(text, np.dtypes.StringDType()), "string")

    def _put_text(self, name: str, values: npt.NDArray[Any], kind: str) -> None:
        array = zarr.create_array(
            self._store,
            name=name,
            shape=values.shape,
            dtype="string",
            chunks=tuple(max(1, extent) for extent in values.shape),
            filters=(),
            serializer=VLenUTF8Codec(),
            compressors=codecs.text(),
            fill_value="",
            attributes=dict(encoding(kind)),
            config={"write_empty_chunks": True},
        )
        if math.prod(values.shape):
            array[...] = values

    def consolidate(self) -> None:
        """Copy every node's metadata into the root's, where AnnData looks for it.

        Every node is written anew on the way, without zarr's white space: that would be half
        of a small part.
        """
        root = consolidated(self.path)
        for name, node in root["consolidated_metadata"]["metadata"].items():
            self._write_json(name, node)
        self._write_json("", root)

    def _write_json(self, name: str, node: Mapping[str, Any]) -> None:
        folder = self.path / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "zarr.json").write_text(json.dumps(node, separators=(",", ":")), encoding="utf-8")


def consolidated(path: Path) -> dict[str, Any]:
    """Give the root's metadata with a copy of every other node's.

    What `zarr.consolidate_metadata` writes, made from the files alone: it would read each
    array's codecs again, and warn.
    """
    nodes = {
        file.parent.relative_to(path).as_posix(): json.loads(file.read_bytes())
        for file in sorted(path.rglob("zarr.json"))
    }
    root: dict[str, Any] = nodes.pop(".")
    copies = {"kind": "inline", "must_understand": False, "metadata": nodes}
    return {**root, "consolidated_metadata": copies}
