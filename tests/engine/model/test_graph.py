from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from sparsefeat.errors import InputError
from sparsefeat.model import ModelFile, Pool, check_size, choose_layers, cut
from sparsefeat.pipeline.extractor import Extractor


def images(n: int, height: int, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(n).uniform(-120, 150, (n, height, width, 3)).astype(np.float32)


def test_a_cut_has_only_what_the_outputs_need(small_vgg16_top: Path) -> None:
    file = ModelFile.open(small_vgg16_top)
    graph = cut(file, ["block3_pool"]).model.graph
    weights = {tensor.name for tensor in graph.initializer if tensor.external_data}
    assert weights == {
        f"{conv}/{part}"
        for conv in choose_layers("block[123]_conv*", file.metadata.layers)
        for part in ("kernel", "bias")
    }
    assert [output.name for output in graph.output] == ["block3_pool"]
    assert sum(node.op_type == "Conv" for node in graph.node) == 7
    # One transposition of the input, one of the output.
    assert sum(node.op_type == "Transpose" for node in graph.node) == 2


@pytest.mark.parametrize("pool", ["none", "avg", "max"])
def test_every_cut_is_a_valid_model(small_vgg16_top: Path, pool: str) -> None:
    file = ModelFile.open(small_vgg16_top)
    for name in choose_layers("all,*/pre", file.metadata.layers):
        model = cut(file, [name], pool=pool).model  # type: ignore[arg-type]
        path = small_vgg16_top.with_name("cut.onnx")
        path.write_bytes(model.SerializeToString())
        onnx.checker.check_model(path, full_check=True)
        path.unlink()


def test_pooling_equals_pooling_the_maps(small_vgg16: Path) -> None:
    wanted = ["block1_conv2", "block4_conv2/pre", "block5_pool"]
    samples = images(3, 96, 64)
    maps = Extractor(small_vgg16, wanted).run(samples)
    reductions: dict[Pool, Any] = {"avg": np.mean, "max": np.max}
    for pool, of in reductions.items():
        pooled = Extractor(small_vgg16, wanted, pool=pool).run(samples)
        for name, values in pooled.items():
            expected = of(maps[name].astype(np.float64), axis=(1, 2))
            assert values.shape == expected.shape
            np.testing.assert_allclose(values, expected, rtol=2e-5, atol=1e-4)


def test_layers_are_their_rectified_pre_activations(small_vgg16_top: Path) -> None:
    outputs = Extractor(small_vgg16_top, "all,*/pre").run(images(2, 224, 224))
    pres = [name for name in outputs if name.endswith("/pre")]
    assert len(pres) == 15
    for name in pres:
        layer = outputs[name.removesuffix("/pre")]
        np.testing.assert_array_equal(np.maximum(outputs[name], 0), layer)
        assert (outputs[name] < 0).any()
        assert layer.min() == 0


def test_flatten_is_the_last_pool_in_rows_columns_channels(small_vgg16_top: Path) -> None:
    outputs = Extractor(small_vgg16_top, "flatten,block5_pool").run(images(2, 224, 224))
    np.testing.assert_array_equal(outputs["flatten"], outputs["block5_pool"].reshape(2, -1))


@pytest.mark.parametrize("size", [(240, 200), (128, 331), (64, 48)])
def test_a_fixed_size_does_not_change_results(small_vgg16: Path, size: tuple[int, int]) -> None:
    samples = images(2, *size)
    fixed = Extractor(small_vgg16, "pools,*/pre", size=size)
    free = Extractor(small_vgg16, "pools,*/pre").run(samples)
    for name, values in fixed.run(samples).items():
        np.testing.assert_array_equal(values, free[name])
        assert values.shape[1:] == fixed.layers[name].shape


def test_invalid_sizes_are_refused(small_vgg16: Path, small_vgg16_top: Path) -> None:
    with pytest.raises(InputError, match="at least 32x32"):
        check_size(ModelFile.open(small_vgg16), (31, 224))
    with pytest.raises(InputError, match="takes 224x224 only"):
        check_size(ModelFile.open(small_vgg16_top), (240, 240))
    assert check_size(ModelFile.open(small_vgg16_top), None) == (224, 224)
    assert check_size(ModelFile.open(small_vgg16), None) is None


def test_a_graph_can_begin_after_a_layer(small_vgg16_top: Path) -> None:
    file = ModelFile.open(small_vgg16_top)
    (pool,) = (layer for layer in file.metadata.layers if layer.name == "block5_pool")
    found = cut(file, ["fc1", "flatten"], after=pool)
    assert found.input == "block5_pool"
    assert [each.name for each in found.model.graph.input] == ["block5_pool"]
    assert not any(node.op_type == "Conv" for node in found.model.graph.node)
    weights = {tensor.name for tensor in found.model.graph.initializer if tensor.external_data}
    assert weights == {"fc1/kernel", "fc1/bias"}
    path = small_vgg16_top.with_name("behind.onnx")
    path.write_bytes(found.model.SerializeToString())
    onnx.checker.check_model(path, full_check=True)
    path.unlink()
