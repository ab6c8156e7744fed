"""The exported graph has what it should have, and nothing else."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

MODELS = ["vgg16", "small_vgg16", "small_vgg16_top"]
BLOCKS = (2, 2, 3, 3, 3)
BASE = [
    f"block{block}_{name}"
    for block, count in enumerate(BLOCKS, start=1)
    for name in (*(f"conv{index + 1}" for index in range(count)), "pool")
]
TOP = ["flatten", "fc1", "fc2", "predictions"]


@pytest.fixture(params=MODELS)
def model_path(request: pytest.FixtureRequest) -> Path:
    path = request.getfixturevalue(request.param)
    assert isinstance(path, Path)
    return path


def graph_of(path: Path) -> onnx.GraphProto:
    return onnx.load(path, load_external_data=False).graph


def extents(value: onnx.ValueInfoProto) -> list[str | int]:
    return [one.dim_param or one.dim_value for one in value.type.tensor_type.shape.dim]


def test_the_graph_passes_onnx_s_checker(model_path: Path) -> None:
    onnx.checker.check_model(model_path, full_check=True)


def test_every_layer_is_an_output_in_network_order(vgg16: Path, small_vgg16_top: Path) -> None:
    assert [output.name for output in graph_of(vgg16).output] == BASE
    assert [output.name for output in graph_of(small_vgg16_top).output] == BASE + TOP


def test_sizes_are_symbolic_without_the_top(vgg16: Path) -> None:
    graph = graph_of(vgg16)
    (images,) = graph.input
    assert images.name == "images"
    assert extents(images) == ["N", "height", "width", 3]
    shapes = {output.name: extents(output) for output in graph.output}
    assert shapes["block1_conv1"] == ["N", "height", "width", 64]
    assert shapes["block5_pool"] == ["N", "height//32", "width//32", 512]


def test_sizes_are_fixed_with_the_top(small_vgg16_top: Path) -> None:
    graph = graph_of(small_vgg16_top)
    assert extents(graph.input[0]) == ["N", 224, 224, 3]
    shapes = {output.name: extents(output) for output in graph.output}
    assert shapes["block3_pool"] == ["N", 28, 28, 16]
    assert shapes["predictions"] == ["N", 1000]


def test_transposes_only_make_the_input_and_the_outputs(model_path: Path) -> None:
    graph = graph_of(model_path)
    transposes = {node.output[0]: node for node in graph.node if node.op_type == "Transpose"}
    entry = transposes.pop("images/nchw")
    assert list(entry.input) == ["images"]
    assert set(transposes) == set(BASE)
    for layer, node in transposes.items():
        assert list(node.input) == [f"{layer}/nchw"]
        assert list(node.attribute[0].ints) == [0, 2, 3, 1]
        readers = [one.name for one in graph.node if layer in one.input]
        assert readers == (["flatten"] if layer == "block5_pool" and len(graph.output) > 18 else [])


def test_the_graph_has_only_the_operators_of_the_network(
    vgg16: Path, small_vgg16_top: Path
) -> None:
    base = Counter({"Conv": 13, "Relu": 13, "MaxPool": 5, "Transpose": 19})
    top = Counter({"Reshape": 1, "MatMul": 3, "Add": 3, "Relu": 2, "Softmax": 1})
    assert Counter(node.op_type for node in graph_of(vgg16).node) == base
    assert Counter(node.op_type for node in graph_of(small_vgg16_top).node) == base + top


def test_weights_feed_their_layers_directly(model_path: Path) -> None:
    for node in graph_of(model_path).node:
        if node.op_type == "Conv":
            layer = node.output[0].removesuffix("/pre")
            assert list(node.input[1:]) == [f"{layer}/kernel", f"{layer}/bias"]
            assert {one.name for one in node.attribute}.isdisjoint({"auto_pad"})
        if node.op_type in ("MatMul", "Add"):
            assert node.input[1].endswith("/kernel" if node.op_type == "MatMul" else "/bias")


def test_rectified_layers_have_their_pre_activation(model_path: Path) -> None:
    graph = graph_of(model_path)
    relus = [node for node in graph.node if node.op_type == "Relu"]
    layers = [node.output[0].removesuffix("/nchw") for node in relus]
    assert [node.input[0] for node in relus] == [f"{layer}/pre" for layer in layers]
    typed = {value.name for value in graph.value_info}
    assert typed >= {f"{layer}/pre" for layer in layers}


def test_weights_are_in_the_data_file_in_network_order(model_path: Path) -> None:
    graph = graph_of(model_path)
    data = model_path.with_name(f"{model_path.name}.data")
    end = 0
    for tensor in graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            assert tensor.name == "flatten/shape"
            continue
        entries = {one.key: one.value for one in tensor.external_data}
        offset, length = int(entries["offset"]), int(entries["length"])
        assert entries["location"] == data.name
        assert offset >= end
        assert offset % 4096 == 0
        if length >= 65536:
            assert offset % 65536 == 0
        end = offset + length
    assert data.stat().st_size == end
    assert model_path.stat().st_size < 100_000


def test_layers_without_effect_become_identities(
    narrow_export: Callable[[str], Path],
) -> None:
    nodes = {node.output[0]: node for node in graph_of(narrow_export("other_top.keras")).node}
    assert nodes["drop"].op_type == "Identity"
    assert list(nodes["drop"].input) == ["norm"]
    assert list(nodes["rectify"].input) == ["rectify/pre"]
    assert list(nodes["rectify/pre"].input) == ["hidden"]


def test_batch_normalization_is_folded(narrow_export: Callable[[str], Path]) -> None:
    path = narrow_export("other_top.keras")
    operators = Counter(node.op_type for node in graph_of(path).node)
    assert not operators.keys() & {"Sqrt", "Rsqrt", "Reciprocal", "Div", "Sub"}


def test_spatial_layers_after_the_base_have_nchw_tensors(
    narrow_export: Callable[[str], Path],
) -> None:
    nodes = {
        node.output[0]: node for node in graph_of(narrow_export("convolutional_top.keras")).node
    }
    for layer in ("drop", "squeeze", "norm", "rectify", "half"):
        assert nodes[layer].op_type == "Transpose"
        assert list(nodes[layer].input) == [f"{layer}/nchw"]
    assert nodes["squeeze/nchw"].op_type == "Conv"
