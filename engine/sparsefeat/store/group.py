"""One part's Zarr group: creating its nodes in AnnData's encoding.

The encodings are those of AnnData's on-disk format (anndata 0.12, `anndata._io.specs`);
its package is not needed to write them.
"""

import errno
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError
from sparsefeat.store.array_metadata import ArrayMetadata
from sparsefeat.store.bounds import JSON_BYTES
from sparsefeat.store.chunks import ChunkEncoder, encode_text
from sparsefeat.store.codecs import Chain
from sparsefeat.store.json_fields import JSON, mapping
from sparsefeat.store.json_file import read_json
from sparsefeat.store.shards import make_folder, write_chunk

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
        # Empty until the end: if it is gone then, so is what was written beside it.
        self._root.touch()

    def group(self, name: str, kind: str, attributes: Mapping[str, JSON] | None = None) -> None:
        """Create a group; "" is the root, and comes last.

        Raises
        ------
        OSError
            It can't be written; or somebody removed the folder, chunks and all, and what was
            written since has made a new one.
        """
        if not name and not self._root.exists():
            raise FileNotFoundError(
                errno.ENOENT, "the part in the making was removed", str(self.path)
            )
        node = {
            "attributes": {**encoding(kind), **(attributes or {})},
            "zarr_format": 3,
            "node_type": "group",
        }
        self._write_json(name, node)

    @property
    def _root(self) -> Path:
        return self.path / "zarr.json"

    def array(self, name: str, metadata: ArrayMetadata) -> None:
        """Create an array, whose files are written by others."""
        self._write_json(name, metadata.to_json())

    def put(self, name: str, values: npt.NDArray[Any]) -> None:
        """Write a small array of numbers as one chunk."""
        chain = Chain(dtype=values.dtype)
        self._put(name, values.shape, chain, "array")
        if values.size:
            chunk = ChunkEncoder(chain).encode(np.ascontiguousarray(values).reshape(-1))
            write_chunk(self._chunk_file(name, values.ndim), chunk)

    def put_texts(self, name: str, texts: Sequence[str]) -> None:
        """Write a column of text as one chunk."""
        self._put_text(name, texts, (len(texts),), "string-array")

    def put_text(self, name: str, text: str) -> None:
        """Write one text."""
        self._put_text(name, [text], (), "string")

    def _put_text(self, name: str, texts: Sequence[str], shape: tuple[int, ...], kind: str) -> None:
        self._put(name, shape, Chain(dtype=None), kind)
        if texts:
            chunk = encode_text(np.array(texts, object))
            write_chunk(self._chunk_file(name, len(shape)), chunk)

    def _put(self, name: str, shape: tuple[int, ...], chain: Chain, kind: str) -> None:
        chunk = tuple(max(1, extent) for extent in shape)
        metadata = ArrayMetadata(
            shape=shape, chunk=chunk, file=chunk, chain=chain, attributes=encoding(kind)
        )
        self.array(name, metadata)

    def _chunk_file(self, name: str, n_axes: int) -> Path:
        return self.path.joinpath(name, "c", *["0"] * n_axes)

    def consolidate(self) -> None:
        """Copy every node's metadata into the root's, where AnnData looks for it."""
        self._write_json("", consolidated(self.path))

    def _write_json(self, name: str, node: Mapping[str, Any]) -> None:
        folder = self.path / name
        make_folder(folder)
        document = json.dumps(node, separators=(",", ":"), allow_nan=False)
        if len(document) > JSON_BYTES:
            raise InputError(
                f"the metadata of a part take {len(document):,} bytes, expected at most "
                f"{JSON_BYTES:,}: name fewer layers, or keep less of settings and provenance"
            )
        (folder / "zarr.json").write_text(document, encoding="utf-8")


def consolidated(path: Path) -> dict[str, Any]:
    """Give the root's metadata with a copy of every other node's.

    What `zarr.consolidate_metadata` writes, made from the files alone: it would read each
    array's codecs again, and warn.
    """
    nodes = {
        file.parent.relative_to(path).as_posix(): mapping(read_json(file))
        for file in sorted(path.rglob("zarr.json"))
    }
    root = nodes.pop(".")
    copies = {"kind": "inline", "must_understand": False, "metadata": nodes}
    return {**root, "consolidated_metadata": copies}
