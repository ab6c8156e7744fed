"""The JSON that a model file carries about itself."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import google_crc32c
import onnx
from google.protobuf.message import DecodeError

from sparsefeat_export.certificate import Certificate
from sparsefeat_export.errors import WeightsError
from sparsefeat_export.external import HDF5, check_content, digests

KEY = "sparsefeat"
SEAL = "sparsefeat/crc32c"  # the last bytes of the file: the digest of all before them
FORMAT = 1


def compose(
    network: dict[str, Any],
    certificate: Certificate,
    probes: list[dict[str, Any]],
    onnxruntime_version: str,
) -> dict[str, Any]:
    """Put the metadata together; `network` is the result of the convert step."""
    height, width = network["height"], network["width"]
    return {
        "format": FORMAT,
        "architecture": "vgg16",
        "input": {"name": "images", "height": height, "width": width},
        "layers": network["layers"],
        "preprocessing": {"scaling": network["scaling"], "size": network["size"]},
        "weights": {"source": network["source"], "sha256": network["sha256"]},
        "tools": {
            **network["tools"],
            "onnxruntime": onnxruntime_version,
            "sparsefeat": version("sparsefeat"),
        },
        "precision": "fp32",
        "certificate": certificate.as_json(),
        "probe": probes,
    }


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
