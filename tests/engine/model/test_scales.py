"""Scales of channels are found in the graph, and invalid ones are ignored."""

from pathlib import Path
from typing import Any

import google_crc32c
import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from sparsefeat.model import ModelFile, read_channel_scales

POOLS = tuple(f"block{number}_pool" for number in range(1, 6))


def with_weights(file: ModelFile, **weights: Any) -> ModelFile:
    """Put weights into the graph as the quantizer does; __ in their names stands for /."""
    for name, array in weights.items():
        tensor = numpy_helper.from_array(np.asarray(array), name.replace("__", "/"))
        file.graph.graph.initializer.append(tensor)
    return file


@pytest.fixture
def file(small_vgg16: Path) -> ModelFile:
    return ModelFile.open(small_vgg16)


def test_a_float32_model_has_no_scales(file: ModelFile) -> None:
    assert read_channel_scales(file, POOLS, "none") == {}


def test_a_pool_has_the_scales_of_the_convolution_before_it(file: ModelFile) -> None:
    (channels,) = [layer.shape[-1] for layer in file.metadata.layers if layer.name == "block1_pool"]
    assert channels is not None
    scales = np.arange(1, channels + 1, dtype=np.float32)
    times = np.array([0, 4, 0, 8], np.float32)[:channels, None, None]
    with_weights(file, block1_conv2__scales__map=scales[:, None, None], block1_conv2__times=times)
    names = ("block1_conv1", "block1_conv2/pre", "block1_conv2", "block1_pool", "block2_pool")
    found = read_channel_scales(file, names, "none")
    assert list(found) == ["block1_conv2", "block1_pool"]
    for one in found.values():
        np.testing.assert_array_equal(one.scales, scales)
        assert one.largest == 255 * 9
    assert list(read_channel_scales(file, names, "max")) == list(found)
    assert read_channel_scales(file, names, "avg") == {}


@pytest.mark.parametrize(
    "scales",
    [
        np.zeros(4, np.float32),
        np.full(4, np.nan, np.float32),
        np.full(4, -1, np.float32),
        np.ones(5, np.float32),
        np.ones(4),
    ],
)
def test_invalid_scales_are_ignored(file: ModelFile, scales: Any) -> None:
    with_weights(file, block1_conv2__scales__map=scales)
    assert read_channel_scales(file, ("block1_conv2", "block1_pool"), "none") == {}


@pytest.mark.parametrize("times", [np.full(4, 1e6), np.full(4, -2.0), np.full(4, np.nan)])
def test_codes_that_do_not_fit_into_two_bytes_are_ignored(file: ModelFile, times: Any) -> None:
    with_weights(
        file,
        block1_conv2__scales__map=np.ones(4, np.float32),
        block1_conv2__times=times.astype(np.float32),
    )
    found = read_channel_scales(file, ("block1_pool",), "none")
    assert all(one.largest == 255 for one in found.values())
    assert bool(found) == (not times.max() > 1e5)


def test_scales_in_the_data_file_are_read(file: ModelFile, tmp_path: Path) -> None:
    scales = np.arange(1, 5, dtype=np.float32)
    (tmp_path / "weights").write_bytes(b"before" + scales.tobytes())
    tensor = onnx.TensorProto(
        name="block1_conv2/scales/map", data_type=onnx.TensorProto.FLOAT, dims=[4, 1, 1]
    )
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "weights"), ("offset", "6"), ("length", "16")):
        tensor.external_data.add(key=key, value=value)
    file.graph.graph.initializer.append(tensor)
    moved = ModelFile(
        path=tmp_path / "model.onnx",
        graph=file.graph,
        metadata=msgspec.structs.replace(
            file.metadata,
            crc32c={"block1_conv2/scales/map": f"{google_crc32c.value(scales.tobytes()):08x}"},
        ),
        data=tmp_path / "weights",
    )
    found = read_channel_scales(moved, ("block1_pool",), "none")
    np.testing.assert_array_equal(found["block1_pool"].scales, scales)
