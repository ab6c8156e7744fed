import hashlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.external_data_helper import load_external_data_for_model

from sparsefeat_export.errors import WeightsError
from sparsefeat_export.model_file import read_metadata, read_model

MEAN = [103.939, 116.779, 123.68]


@pytest.mark.parametrize("fixture", ["vgg16", "small_vgg16_top"])
def test_the_digest_matches_the_weights_in_the_file(
    request: pytest.FixtureRequest, fixture: str
) -> None:
    path: Path = request.getfixturevalue(fixture)
    model = onnx.load(path, load_external_data=False)
    load_external_data_for_model(model, str(path.parent))
    arrays = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    sha256 = hashlib.sha256()
    metadata = read_metadata(path)
    for layer in metadata["layers"]:
        if f"{layer['name']}/kernel" in arrays:
            kernel = arrays[f"{layer['name']}/kernel"]
            if kernel.ndim == 4:
                kernel = kernel.transpose(2, 3, 1, 0)  # OIHW to HWIO
            sha256.update(np.ascontiguousarray(kernel).tobytes())
            sha256.update(arrays[f"{layer['name']}/bias"].tobytes())
    assert metadata["weights"]["sha256"] == sha256.hexdigest()


def test_metadata_of_a_model_for_any_size(vgg16: Path) -> None:
    metadata = read_metadata(vgg16)
    assert metadata["format"] == 1
    assert metadata["architecture"] == "vgg16"
    assert metadata["precision"] == "fp32"
    assert metadata["input"] == {"name": "images", "height": None, "width": None}
    assert metadata["preprocessing"] == {
        "scaling": {
            "mode": "caffe",
            "channel_order": "BGR",
            "divisor": 1.0,
            "mean": MEAN,
            "std": [1.0, 1.0, 1.0],
        },
        "size": [224, 224],
    }
    assert metadata["weights"]["source"] == "pretrained"
    assert set(metadata["tools"]) == {
        "tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "sparsefeat",
    }  # fmt: skip
    assert metadata["tools"]["keras"] == version("keras")
    layers = {layer["name"]: layer for layer in metadata["layers"]}
    assert layers["block4_conv2"] == {
        "name": "block4_conv2",
        "kind": "conv",
        "shape": [None, None, 512],
        "stride": 8,
        "rectified": True,
    }
    assert layers["block5_pool"]["stride"] == 32
    assert not layers["block5_pool"]["rectified"]
    certificate = metadata["certificate"]
    assert certificate["optimization_level"] == "all"
    assert certificate["limits"] == {"relative_l2": 1e-5, "agreement": 0.9999}
    assert len(certificate["images"]) >= 8
    assert list(certificate["layers"]) == list(layers)
    for errors in certificate["layers"].values():
        # An error of exactly 0 would mean that one implementation was compared with itself.
        assert 0 < errors["relative_l2"] <= 1e-5
        assert 0.9999 <= errors["agreement"] <= 1


def test_metadata_of_a_model_for_one_size(small_vgg16_top: Path) -> None:
    metadata = read_metadata(small_vgg16_top)
    assert metadata["input"] == {"name": "images", "height": 224, "width": 224}
    layers = {layer["name"]: layer for layer in metadata["layers"]}
    assert [layers[name]["kind"] for name in ("flatten", "fc1", "predictions")] == [
        "flatten", "dense", "dense",
    ]  # fmt: skip
    assert layers["block1_pool"]["shape"] == [112, 112, 4]
    assert layers["fc1"] == {
        "name": "fc1", "kind": "dense", "shape": [256], "stride": None, "rectified": True,
    }  # fmt: skip
    assert not layers["predictions"]["rectified"]


def test_metadata_of_a_model_with_another_top(narrow_export: Callable[[str], Path]) -> None:
    metadata = read_metadata(narrow_export("other_top.keras"))
    assert metadata["preprocessing"]["size"] == [64, 64]
    tail = [(one["name"], one["kind"], one["rectified"]) for one in metadata["layers"][18:]]
    assert tail == [
        ("gap", "global_average_pooling2d", False),
        ("norm", "batch_normalization", False),
        ("drop", "dropout", False),
        ("hidden", "dense", False),
        ("rectify", "re_lu", True),
        ("labels", "dense", False),
    ]


def test_a_keras_file_in_place_of_a_model_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "vgg16.onnx"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(WeightsError, match=r"vgg16\.onnx is a Keras file, expected an ONNX model"):
        read_model(path)
