"""The JSON that a model file carries about itself."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx

from sparsefeat_export.certificate import Certificate
from sparsefeat_export.plan import DEFAULT_SIZE

KEY = "sparsefeat"
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
        # As keras.applications.vgg16.preprocess_input does it.
        "preprocessing": {
            "mode": "caffe",
            "channel_order": "BGR",
            "mean": [103.939, 116.779, 123.68],
            "size": [height or DEFAULT_SIZE, width or DEFAULT_SIZE],
        },
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


def attach(model: onnx.ModelProto, metadata: dict[str, Any]) -> None:
    """Write the metadata, and who made the file, into `model`."""
    model.producer_name = "sparsefeat"
    model.producer_version = metadata["tools"]["sparsefeat"]
    model.doc_string = "VGG16 with every layer an output, exported from Keras by sparsefeat"
    onnx.helper.set_model_props(
        model, {KEY: json.dumps(metadata, separators=(",", ":"), allow_nan=False)}
    )


def read_metadata(path: Path) -> dict[str, Any]:
    """Read the metadata of an exported model file."""
    model = onnx.load(path, load_external_data=False)
    (text,) = (one.value for one in model.metadata_props if one.key == KEY)
    metadata: dict[str, Any] = json.loads(text)
    return metadata
