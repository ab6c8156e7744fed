"""Read a model file: its graph without the weights, and its metadata."""

import errno
import math
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sparsefeat.errors import ModelCorruptError, ModelError, ModelNotFoundError
from sparsefeat.model.metadata import KEY, Metadata, parse
from sparsefeat.system import validate_path

# A graph has about 40 KB. A far larger file is not a model of sparsefeat and is not parsed.
MAX_GRAPH_BYTES = 64 << 20
SEAL = "sparsefeat/crc32c"  # the last metadata entry: the CRC-32C of all bytes before it
READ_BYTES = 1 << 20

# The first bytes of content that is often found instead of the expected file.
STAND_INS = {
    b"version https://git-lfs": "a Git LFS pointer, not the file itself; run: git lfs pull",
    b"<!doctype html": "a web page, not the file itself; download it again",
    b"<html": "a web page, not the file itself; download it again",
    b"\x89hdf": "a Keras file; export it with: sparsefeat export --weights",
}


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """An exported model; its weights stay in their file until they are requested.

    Attributes
    ----------
    path
        Path of the graph as the user named it.
    graph
        The graph. Its external weights refer to the name of `data`.
    metadata
        The metadata of the graph.
    data
        Path of the file with the weights, with symbolic links resolved.
    """

    path: Path
    graph: onnx.ModelProto
    metadata: Metadata
    data: Path
    _checked: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    @property
    def folder(self) -> Path:
        """The folder of the external weights."""
        return self.data.parent

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "ModelFile":
        """Read the graph and its metadata, but not the weights.

        The graph and the weights may be symbolic links.

        Raises
        ------
        ModelNotFoundError
            There is no file at the path.
        ModelCorruptError
            The checksum of the graph does not match, or the file of weights is too short.
        ModelError
            The file is not an ONNX model, was not exported by sparsefeat, or has a newer format;
            or its weights are missing.
        """
        # Links are not resolved here, because the weights may be beside the link.
        path = validate_path(path, "a model").absolute()
        graph, metadata = _read(path)
        data = _find_data(path, graph)
        for tensor in graph.graph.initializer:
            if tensor.external_data and tensor.name not in metadata.crc32c:
                raise ModelError(
                    f"{path} has no digest of the weights {tensor.name}; export it again"
                )
        return cls(path=path, graph=graph, metadata=metadata, data=data)

    def tensor(self, name: str) -> NDArray[Any]:
        """Return an initializer of the graph, such as ``block1_conv1/kernel``.

        Returns
        -------
        array
            Read-only, with the initializer's shape and dtype; a kernel is float32 (out, in, rows,
            columns). It is mapped from the file. Its digest is checked the first time.

        Raises
        ------
        ModelCorruptError
            The digest of the weights does not match.
        ModelError
            The graph has no initializer of that name, or it can't be read.
        """
        tensor = self._initializers.get(name)
        if tensor is None:
            raise ModelError(f"{self.path} has no weights {name!r}; export it again")
        if not tensor.external_data:
            array = numpy_helper.to_array(tensor)
            array.flags.writeable = False
            return array
        self.check([name])
        _, offset, length = extent(tensor)
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type).newbyteorder("<")
        if math.prod(tensor.dims) * dtype.itemsize != length:
            raise ModelError(
                f"{self.path}: the weights {name} have {length:,} bytes, which does not match "
                f"their shape {tuple(tensor.dims)}; export it again"
            )
        return np.asarray(np.memmap(self.data, dtype, "r", offset, tuple(tensor.dims)))

    def check(self, names: Iterable[str]) -> None:
        """Check the digests of external initializers; each is checked only once.

        Initializers inside the graph were checked by `open`.

        Raises
        ------
        ModelCorruptError
            A digest does not match; the message names the weights.
        ModelError
            The weights can't be read.
        """
        try:
            with self.data.open("rb", buffering=0) as file:
                for name in names:
                    tensor = self._initializers[name]
                    if not tensor.external_data or name in self._checked:
                        continue
                    _, offset, length = extent(tensor)
                    found = f"{_crc32c(file, offset, length):08x}"
                    if found != self.metadata.crc32c[name]:
                        raise ModelCorruptError(
                            f"{self.data}: the weights {name} are not those that were exported "
                            f"(CRC-32C {found}, expected {self.metadata.crc32c[name]}): the file "
                            "is damaged or belongs to another model; copy both files again, or "
                            "export the model again"
                        )
                    self._checked.add(name)
        except OSError as exc:
            raise ModelError(f"{self.data} can't be read: {exc.strerror}; try again") from exc

    @cached_property
    def _initializers(self) -> dict[str, TensorProto]:
        return {tensor.name: tensor for tensor in self.graph.graph.initializer}


def _read(path: Path) -> tuple[onnx.ModelProto, Metadata]:
    if not os.path.lexists(path):
        raise ModelNotFoundError(
            f"no model at {path}; make one with: sparsefeat export -o {path.name}"
        )
    _check_content(path)
    graph_of_weights = path.with_suffix("")
    if path.suffix == ".data" and graph_of_weights.is_file():
        raise ModelError(f"{path} holds the weights of a model: name {graph_of_weights} instead")
    damaged = (
        f"{path} is damaged: its checksum does not match its bytes; copy it again, or export it "
        "again"
    )
    # `onnx.load` would derive the format from the suffix, and read the weights.
    graph = onnx.ModelProto()
    try:
        size = path.stat().st_size
        if size > MAX_GRAPH_BYTES:
            raise ModelError(
                f"{path} is {size:,} bytes, expected a graph with its weights in a separate file; "
                f"make one with: sparsefeat export --weights {path} -o vgg16.onnx"
            )
        content = path.read_bytes()
        sealed = _is_sealed(content)
        if not sealed and SEAL.encode() in content:
            raise ModelCorruptError(damaged)
        graph.ParseFromString(content)
    except DecodeError as exc:
        if KEY.encode() in content:
            raise ModelCorruptError(damaged) from exc
        raise ModelError(f"{path} can't be read as an ONNX model: {exc}") from exc
    except OSError as exc:
        raise ModelError(f"{path} can't be read: {exc.strerror}") from exc
    text = {prop.key: prop.value for prop in graph.metadata_props}.get(KEY)
    if text is None:
        raise ModelError(
            f"{path} was not exported by sparsefeat (it has no {KEY!r} metadata); "
            f"make one with: sparsefeat export --weights {path} -o vgg16.onnx"
        )
    try:
        metadata = parse(text)
    except ValueError as exc:
        raise ModelError(f"{path}: {exc}") from exc
    if not sealed:
        raise ModelCorruptError(damaged)
    return graph, metadata


def _is_sealed(content: bytes) -> bool:
    """Return whether the last metadata entry is the CRC-32C of all bytes before it."""

    def seal(digest: int) -> bytes:
        entry = onnx.StringStringEntryProto(key=SEAL, value=f"{digest:08x}")
        written: bytes = onnx.ModelProto(metadata_props=[entry]).SerializeToString()
        return written

    return content.endswith(seal(google_crc32c.value(content[: -len(seal(0))])))


def _check_content(path: Path) -> None:
    """Raise if the file obviously isn't a model or weights, and say what it is instead."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            names = sorted(one.name for one in path.iterdir())
            models = [name for name in names if name.endswith(".onnx")]
            inside = f", for example {path / models[0]}" if models else ": name the model's file"
            empty = "a" if names else "an empty"
            raise ModelError(f"{path} is {empty} folder, expected a file{inside}")
        if not stat.S_ISREG(mode):
            raise ModelError(f"{path} is a pipe or a device, expected a file")
        with path.open("rb") as file:
            head = file.read(64)
    except FileNotFoundError as exc:
        raise ModelNotFoundError(
            f"{path} is a link to {path.readlink()}, which is missing; copy or download it again"
        ) from exc
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise ModelError(
                f"{path} is a link that points to itself, expected a file: copy or download "
                "it again"
            ) from exc
        raise ModelError(f"{path} can't be read: {exc.strerror}") from exc
    if not head:
        raise ModelError(f"{path} is empty; copy it again, or export it again")
    for start, what in STAND_INS.items():
        if head.lower().startswith(start):
            raise ModelError(f"{path} is {what}")


def _find_data(path: Path, graph: onnx.ModelProto) -> Path:
    """Find the file of the weights, and store its resolved name in the graph.

    The file is beside the graph or, if the graph is a link, beside the link's target.
    """
    beside = [tensor for tensor in graph.graph.initializer if tensor.external_data]
    extents = []
    for tensor in beside:
        try:
            extents.append(extent(tensor))
        except ValueError as exc:
            raise ModelError(f"{path}: the weights {tensor.name} {exc}; export it again") from exc
    locations = {location for location, _, _ in extents}
    if len(locations) != 1:
        raise ModelError(
            f"{path} has weights in {len(locations)} separate files, expected one; export it again"
        )
    (location,) = locations
    link = path
    while not os.path.lexists(link.parent / location):
        if not link.is_symlink():
            raise ModelError(
                f"{path}: its weights {location} are not beside it; "
                "copy both files, or export it again"
            )
        link = link.parent / link.readlink()
    _check_content(link.parent / location)
    # ONNX Runtime does not follow links that lead out of the folder it is given.
    data = (link.parent / location).resolve()
    end = max(offset + length for _, offset, length in extents)
    if (size := data.stat().st_size) < end:
        raise ModelCorruptError(
            f"{data} is {size:,} bytes, expected at least {end:,}; "
            "copy it again, or export the model again"
        )
    for tensor in beside:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = data.name
    return data


def extent(tensor: TensorProto) -> tuple[str, int, int]:
    """Return the file, the offset and the length in bytes of an external tensor.

    Raises
    ------
    ValueError
        The file isn't beside the graph, or the offset or length isn't a number. The message
        continues the words "the weights NAME".
    """
    where = {entry.key: entry.value for entry in tensor.external_data}
    location = where.get("location", "")
    if not location or Path(location).name != location:
        raise ValueError(f"are in the file {location!r}, expected a file beside the model")
    offset, length = where.get("offset", "0"), where.get("length", "0")
    if not (offset.isdecimal() and length.isdecimal()):
        raise ValueError(f"have length {length!r} and offset {offset!r}, expected two numbers")
    return location, int(offset), int(length)


def _crc32c(file: Any, offset: int, length: int) -> int:
    """Compute the digest of a range of a file, reading it in pieces.

    A read error then raises OSError; with a memory-mapped file it would kill the process.
    """
    buffer = memoryview(bytearray(min(length, READ_BYTES)))
    digest = 0
    file.seek(offset)
    while length and (count := file.readinto(buffer[: min(length, READ_BYTES)])):
        digest = google_crc32c.extend(digest, np.frombuffer(buffer[:count], np.uint8))
        length -= count
    return digest
