"""The model file: a graph with metadata in JSON, and a file of weights beside it.

Weights are written one at a time, and their digests are checked when they are read.
"""

import errno
import json
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from sparsefeat_export.errors import WeightsError, WeightsNotFoundError

# ONNX Runtime can map weights into memory if they start at a page; Windows maps at 64 KiB.
PAGE = 4096
GRANULARITY = 65536

# The first bytes of content that is often found instead of the expected file.
STAND_INS = {
    b"version https://git-lfs": "a Git LFS pointer, not the file itself; run: git lfs pull",
    b"<!doctype html": "a web page, not the file itself; download it again",
    b"<html": "a web page, not the file itself; download it again",
}
HDF5 = {
    b"\x89hdf": "a Keras file, expected an ONNX model; rename it to end in .h5, and convert it "
    "with: sparsefeat export --weights"
}

KEY = "sparsefeat"
SEAL = "sparsefeat/crc32c"  # the last metadata entry: the CRC-32C of all bytes before it


def write_model(path: Path, model: onnx.ModelProto, metadata: dict[str, Any]) -> None:
    """Add the digests of all external weights to the metadata, and write graph and metadata."""
    metadata["crc32c"] = digests(model, path)
    attach(model, metadata)
    path.write_bytes(sealed(model))


def attach(model: onnx.ModelProto, metadata: dict[str, Any]) -> None:
    """Store the metadata and the producer's name and version in `model`."""
    model.producer_name = "sparsefeat"
    model.producer_version = metadata["tools"]["sparsefeat"]
    model.doc_string = "VGG16 with every layer an output, exported from Keras by sparsefeat"
    onnx.helper.set_model_props(
        model, {KEY: json.dumps(metadata, separators=(",", ":"), allow_nan=False)}
    )


def sealed(model: onnx.ModelProto) -> bytes:
    """Serialise a model, with the CRC-32C of all preceding bytes as the last metadata entry.

    The checksum is an ordinary entry of ``metadata_props`` for every reader of ONNX files.
    """
    others = [one for one in model.metadata_props if one.key != SEAL]
    del model.metadata_props[:]
    model.metadata_props.extend(others)
    content: bytes = model.SerializeToString()
    return content + _seal(content)


def read_model(path: Path) -> tuple[onnx.ModelProto, dict[str, Any] | None]:
    """Read a graph without its weights, and its metadata, None if sparsefeat did not export it.

    Raises
    ------
    WeightsError
        The file is not an ONNX model, or its checksum does not match.
    """
    check_content(path, HDF5)
    damaged = f"{path} is damaged: its checksum does not match its bytes; copy it again"
    model = onnx.ModelProto()
    try:
        content = path.read_bytes()
        is_sealed = content.endswith(_seal(content[: -len(_seal(b""))]))
        if SEAL.encode() in content and not is_sealed:
            raise WeightsError(damaged)
        model.ParseFromString(content)
    except (DecodeError, OSError) as exc:
        if isinstance(exc, DecodeError) and KEY.encode() in content:
            raise WeightsError(damaged) from exc
        raise WeightsError(f"{path} can't be read as an ONNX model: {exc}") from exc
    text = {one.key: one.value for one in model.metadata_props}.get(KEY)
    if text is None:
        return model, None
    if not is_sealed:
        raise WeightsError(damaged)
    try:
        metadata = json.loads(text)
        if not isinstance(metadata, dict) or not isinstance(metadata["crc32c"], dict):
            raise TypeError("no digests")
    except (ValueError, TypeError, LookupError, RecursionError) as exc:
        raise WeightsError(
            f"{path} has metadata that can't be read: {exc!r}; export it again"
        ) from exc
    return model, metadata


def read_metadata(path: Path) -> dict[str, Any]:
    """Read the metadata of an exported model file."""
    _, metadata = read_model(path)
    if metadata is None:
        raise WeightsError(f"{path} was not exported by sparsefeat")
    return metadata


def _seal(content: bytes) -> bytes:
    entry = onnx.StringStringEntryProto(key=SEAL, value=f"{google_crc32c.value(content):08x}")
    seal: bytes = onnx.ModelProto(metadata_props=[entry]).SerializeToString()
    return seal


def write_external(
    path: Path, arrays: Iterable[tuple[str, npt.NDArray[Any]]], *, location: str
) -> Iterator[TensorProto]:
    """Write arrays to `path` and yield, for each, the initializer that points there.

    Parameters
    ----------
    arrays
        (name, array) pairs, consumed one at a time.
    location
        The file's final name, beside the graph.
    """
    with path.open("wb") as file:
        for name, array in arrays:
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            alignment = GRANULARITY if array.nbytes >= GRANULARITY else PAGE
            offset = -(-file.tell() // alignment) * alignment
            file.write(bytes(offset - file.tell()))
            file.write(array.data)
            tensor = TensorProto(name=name, data_type=kind, dims=array.shape)
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (
                ("location", location),
                ("offset", offset),
                ("length", array.nbytes),
            ):
                tensor.external_data.add(key=key, value=str(value))
            yield tensor


def digests(model: onnx.ModelProto, path: Path) -> dict[str, str]:
    """Compute the CRC-32C of every external tensor of the graph at `path`, as 8 hex digits."""
    return {
        tensor.name: _crc32c(_read(tensor, path))
        for tensor in model.graph.initializer
        if _is_external(tensor)
    }


def load_tensor(tensor: TensorProto, path: Path, expected: Mapping[str, str]) -> npt.NDArray[Any]:
    """Return the values of an initializer, from the graph or from the data file.

    Parameters
    ----------
    path
        Path of the graph. The graph and the data file may be symbolic links.
    expected
        Digests by tensor name, as from `digests`; tensors that are not in it are not checked.

    Raises
    ------
    WeightsError
        The data file is missing or too short, or a digest does not match.
    """
    if not _is_external(tensor):
        return numpy_helper.to_array(tensor)
    content = _read(tensor, path)
    if expected.get(tensor.name) not in (None, _crc32c(content)):
        raise WeightsError(
            f"{path}: the digest of the weights {tensor.name} does not match: the data file is "
            "damaged or belongs to another model; copy both files again, or export the model again"
        )
    whole = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    whole.raw_data = content
    return numpy_helper.to_array(whole)


def check_content(path: Path, more: Mapping[bytes, str] | None = None) -> None:
    """Raise if the file obviously isn't a model or weights, and say what it is instead.

    Parameters
    ----------
    more
        Further content to reject: its first bytes in lower case, and the message for it.

    Raises
    ------
    WeightsError
        It is a folder, a device, empty, a Git LFS pointer or a web page, or can't be read.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise WeightsError(f"{path} is a folder, expected a file")
        if not stat.S_ISREG(mode):
            raise WeightsError(f"{path} is a pipe or a device, expected a file")
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as exc:
        if isinstance(exc, FileNotFoundError) and path.is_symlink():
            raise WeightsNotFoundError(
                f"{path} is a link to {path.readlink()}, which is missing; copy or download it "
                "again"
            ) from exc
        if exc.errno == errno.ELOOP:
            raise WeightsError(
                f"{path} is a link that points to itself, expected a file: copy or download it "
                "again"
            ) from exc
        raise WeightsError(f"{path} can't be read: {exc.strerror}") from exc
    if not head:
        raise WeightsError(f"{path} is empty; copy it again")
    for start, what in {**STAND_INS, **(more or {})}.items():
        if head.lower().startswith(start):
            raise WeightsError(f"{path} is {what}")


def data_file(path: Path, location: str) -> Path:
    """Find the data file of the graph at `path`, and resolve symbolic links.

    The file is beside the graph or, if the graph is a symbolic link, beside the link's target.

    Raises
    ------
    WeightsError
        There is no such file, or `location` is not a path beside the graph.
    """
    inside = PurePosixPath(location)
    if not location or inside.is_absolute() or ".." in inside.parts:
        raise WeightsError(
            f"{path} names {location!r} as the file of its weights, expected a file beside it: "
            "export the model again"
        )
    graph = path
    while not (graph.parent / location).is_file():
        if not graph.is_symlink():
            raise WeightsError(f"{path}: its weights {location} are not beside it; copy both files")
        graph = graph.parent / graph.readlink()
    file = (graph.parent / location).resolve()
    check_content(file)
    return file


def data_files(model: onnx.ModelProto, path: Path) -> set[Path]:
    """Find all data files of the graph at `path`, as `data_file` does."""
    return {data_file(path, entry.value) for entry in _locations(model)}


def folder_of_weights(model: onnx.ModelProto, path: Path) -> Path:
    """Return the folder with the weights of the graph at `path`, for ONNX Runtime.

    ONNX Runtime does not follow a link out of the folder. `model` is therefore changed to name the
    data file by its resolved name.
    """
    folder = path.parent
    for entry in _locations(model):
        file = data_file(path, entry.value)
        folder, entry.value = file.parent, file.name
    return folder


def _locations(model: onnx.ModelProto) -> list[onnx.StringStringEntryProto]:
    return [
        entry
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    ]


def _is_external(tensor: TensorProto) -> bool:
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def _read(tensor: TensorProto, path: Path) -> bytes:
    where = {entry.key: entry.value for entry in tensor.external_data}
    file = data_file(path, where.get("location", ""))
    try:
        offset = int(where.get("offset", 0))
        length = int(where["length"]) if "length" in where else file.stat().st_size - offset
        if min(offset, length) < 0 or offset + length > file.stat().st_size:
            raise WeightsError(
                f"{file} is {file.stat().st_size:,} bytes, expected at least {offset + length:,} "
                f"with the weights {tensor.name}; copy it again"
            )
        with file.open("rb") as opened:
            opened.seek(offset)
            return opened.read(length)
    except (OSError, ValueError) as exc:
        if isinstance(exc, WeightsError):
            raise
        raise WeightsError(f"{file}: the weights {tensor.name} can't be read: {exc}") from exc


def _crc32c(content: bytes) -> str:
    return f"{google_crc32c.value(content):08x}"
