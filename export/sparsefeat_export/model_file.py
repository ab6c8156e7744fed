"""The model file: a graph, the JSON that it carries about itself, and its weights beside it.

Weights are written one after the other, and read with their digests checked.
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

# ONNX Runtime maps weights into memory where they start on a page; Windows maps at 64 KiB.
PAGE = 4096
GRANULARITY = 65536

# What is often there in place of a file, by its first bytes.
STAND_INS = {
    b"version https://git-lfs": "a Git LFS pointer, not the file itself; run: git lfs pull",
    b"<!doctype html": "a web page, not the file itself; download it again",
    b"<html": "a web page, not the file itself; download it again",
}
HDF5 = {
    b"\x89hdf": "a Keras file, expected an ONNX model; let its name end in .h5, and make one "
    "with: sparsefeat export --weights"
}

KEY = "sparsefeat"
SEAL = "sparsefeat/crc32c"  # the last bytes of the file: the digest of all before them


def write_model(path: Path, model: onnx.ModelProto, metadata: dict[str, Any]) -> None:
    """Write a graph with its metadata, to which the digests of all weights beside it are added."""
    metadata["crc32c"] = digests(model, path)
    attach(model, metadata)
    path.write_bytes(sealed(model))


def attach(model: onnx.ModelProto, metadata: dict[str, Any]) -> None:
    """Put the metadata, and who made the file, into `model`."""
    model.producer_name = "sparsefeat"
    model.producer_version = metadata["tools"]["sparsefeat"]
    model.doc_string = "VGG16 with every layer an output, exported from Keras by sparsefeat"
    onnx.helper.set_model_props(
        model, {KEY: json.dumps(metadata, separators=(",", ":"), allow_nan=False)}
    )


def sealed(model: onnx.ModelProto) -> bytes:
    """Give a model file's bytes: the graph, and as its last metadata the CRC-32C of all before.

    Whoever reads the file with ONNX finds one more entry in ``metadata_props``.
    """
    kept = [one for one in model.metadata_props if one.key != SEAL]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    content: bytes = model.SerializeToString()
    return content + _seal(content)


def read_model(path: Path) -> tuple[onnx.ModelProto, dict[str, Any] | None]:
    """Read a graph without its weights, and the metadata if it was exported by sparsefeat.

    Raises
    ------
    WeightsError
        It is no ONNX file, or not what the exporter wrote.
    """
    check_content(path, HDF5)
    damaged = f"{path} is damaged: its bytes are not those that were written; copy it again"
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
        (name, array) pairs, taken one at a time.
    location
        What the file will be called, beside the graph.
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
    """Compute the CRC-32C of every tensor that lies beside the graph at `path`, as 8 hex digits."""
    return {
        tensor.name: _crc32c(_read(tensor, path))
        for tensor in model.graph.initializer
        if _is_external(tensor)
    }


def load_tensor(tensor: TensorProto, path: Path, expected: Mapping[str, str]) -> npt.NDArray[Any]:
    """Give an initializer's values, wherever they lie.

    Parameters
    ----------
    path
        The graph. It and the data file may be symbolic links to files of any name.
    expected
        Digests by the tensors' names, as `digests` gives them; others are not checked.

    Raises
    ------
    WeightsError
        The data file is missing or too short, or the values are not those that were written.
    """
    if not _is_external(tensor):
        return numpy_helper.to_array(tensor)
    content = _read(tensor, path)
    if expected.get(tensor.name) not in (None, _crc32c(content)):
        raise WeightsError(
            f"{path}: the weights {tensor.name} are not those that were written: the file beside "
            "it is damaged or another model's; copy both files again, or export the model again"
        )
    whole = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    whole.raw_data = content
    return numpy_helper.to_array(whole)


def check_content(path: Path, more: Mapping[bytes, str] | None = None) -> None:
    """Refuse what cannot be a model or its weights, and say what it is.

    Parameters
    ----------
    more
        By its first bytes, in small letters, what else it must not be.

    Raises
    ------
    WeightsError
        It is a folder, empty, a Git LFS pointer or a web page, or cannot be read.
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
                f"{path} is a link that leads back to itself, expected a file: copy or download "
                "it again"
            ) from exc
        raise WeightsError(f"{path} can't be read: {exc.strerror}") from exc
    if not head:
        raise WeightsError(f"{path} is empty; copy it again")
    for start, what in {**STAND_INS, **(more or {})}.items():
        if head.lower().startswith(start):
            raise WeightsError(f"{path} is {what}")


def data_file(path: Path, location: str) -> Path:
    """Find the file that the graph at `path` has its weights in, and follow its links.

    It lies beside the graph or, where the graph is a symbolic link, beside what that points to.

    Raises
    ------
    WeightsError
        There is none, or `location` leads elsewhere.
    """
    inside = PurePosixPath(location)
    if not location or inside.is_absolute() or ".." in inside.parts:
        raise WeightsError(
            f"{path}: weights are said to lie in {location!r}, expected a file beside the model"
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
    """Find all files that the graph at `path` has weights in, as `data_file` does."""
    return {data_file(path, entry.value) for entry in _locations(model)}


def folder_of_weights(model: onnx.ModelProto, path: Path) -> Path:
    """Give the folder with the weights of the graph at `path`, for ONNX Runtime.

    That follows no link out of the folder: the graph is changed to call its data file by the
    name that it really has.
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
