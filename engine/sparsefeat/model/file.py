"""A model file on disk: its graph without the weights, and what it says of itself."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import numpy_helper

from sparsefeat.errors import ModelError, ModelNotFoundError
from sparsefeat.model.metadata import KEY, Metadata, parse

# The graph alone is some 20 KB; whatever is far larger isn't one of ours, and isn't parsed.
MAX_GRAPH_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """An exported model: `graph` has every node but no weight, which stay in `folder`."""

    path: Path
    graph: onnx.ModelProto
    metadata: Metadata

    @property
    def folder(self) -> Path:
        """Where the external weights lie."""
        return self.path.parent

    def tensor(self, name: str) -> NDArray[Any]:
        """Read one of the weights.

        Raises
        ------
        ModelError
            There is no such tensor, or it can't be read.
        """
        try:
            found = next(one for one in self.graph.graph.initializer if one.name == name)
            return numpy_helper.to_array(found, str(self.folder))
        except (StopIteration, OSError, ValueError) as exc:
            raise ModelError(f"{self.path}: can't read the weights {name}: {exc}") from exc

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "ModelFile":
        """Read the graph and its metadata; the weights are not read.

        Raises
        ------
        ModelNotFoundError
            There is no such file.
        ModelError
            It isn't an ONNX file, isn't one that sparsefeat exported, is of a newer format,
            or its weights are missing or shorter than the graph says.
        """
        # Resolved, because ONNX Runtime wants the weights in the folder of the graph itself.
        path = Path(path).resolve()
        graph = _read_graph(path)
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
        _check_weights(path, graph)
        return cls(path=path, graph=graph, metadata=metadata)


def _read_graph(path: Path) -> onnx.ModelProto:
    try:
        size = path.stat().st_size
        if size > MAX_GRAPH_BYTES:
            raise ModelError(
                f"{path} is {size:,} bytes, expected a graph with its weights beside it; "
                f"make one with: sparsefeat export --weights {path} -o vgg16.onnx"
            )
        # Not `onnx.load`, which takes the suffix for the format, and would read the weights.
        graph = onnx.ModelProto()
        graph.ParseFromString(path.read_bytes())
    except FileNotFoundError as exc:
        raise ModelNotFoundError(
            f"no model at {path}; make one with: sparsefeat export -o {path.name}"
        ) from exc
    except (OSError, DecodeError) as exc:
        raise ModelError(f"{path} can't be read as an ONNX model: {exc}") from exc
    return graph


def _check_weights(path: Path, graph: onnx.ModelProto) -> None:
    """Refuse a file cut short, which would end in a bus error, and one that lies elsewhere."""
    ends: dict[str, int] = {}
    for tensor in graph.graph.initializer:
        if not tensor.external_data:
            continue
        where = {entry.key: entry.value for entry in tensor.external_data}
        location = where.get("location", "")
        if not location or Path(location).name != location:
            raise ModelError(
                f"{path}: weights are said to lie in {location!r}, expected a file "
                "beside the model; export it again"
            )
        offset, length = where.get("offset", "0"), where.get("length", "0")
        if not (offset.isdecimal() and length.isdecimal()):
            raise ModelError(
                f"{path}: the weights {tensor.name} are said to be {length!r} bytes at "
                f"{offset!r}, expected two numbers; export it again"
            )
        end = int(offset) + int(length)
        ends[location] = max(end, ends.get(location, 0))
    for location, end in ends.items():
        weights = path.parent / location
        if not weights.is_file():
            raise ModelError(
                f"{path}: its weights {location} are not beside it; "
                "copy both files, or export it again"
            )
        if (size := weights.stat().st_size) < end:
            raise ModelError(
                f"{weights} is {size:,} bytes, expected at least {end:,}; "
                "copy it again, or export it again"
            )
