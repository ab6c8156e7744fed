"""The model repository for Triton agrees with Triton's message format and with the model."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

import sparsefeat

from .conftest import EXAMPLES, RunScript

Field = descriptor_pb2.FieldDescriptorProto


@pytest.fixture(scope="module")
def repository(
    furnished: Path, run_script: RunScript, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("triton") / "models"
    layers = ("block2_pool", "block1_pool")
    run_script("triton_repository.py", "demo/vgg16.onnx", *layers, "-o", folder, "--name", "two")
    return folder


def model_config() -> Any:
    """The fields of Triton's message `ModelConfig` that are used, by their names."""
    file = descriptor_pb2.FileDescriptorProto(name="triton.proto", package="triton")
    enums = {
        "DataType": ["TYPE_INVALID", "TYPE_FP16", "TYPE_FP32", "TYPE_FP64"],
        "Kind": ["KIND_AUTO", "KIND_GPU", "KIND_CPU"],
    }
    for name, values in enums.items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    messages: dict[str, list[tuple[str, int, str, bool]]] = {
        "Tensor": [
            ("name", Field.TYPE_STRING, "", False),
            ("data_type", Field.TYPE_ENUM, ".triton.DataType", False),
            ("dims", Field.TYPE_INT64, "", True),
        ],
        "Instances": [
            ("kind", Field.TYPE_ENUM, ".triton.Kind", False),
            ("count", Field.TYPE_INT32, "", False),
        ],
        "Batching": [("max_queue_delay_microseconds", Field.TYPE_UINT64, "", False)],
        "ModelConfig": [
            ("name", Field.TYPE_STRING, "", False),
            ("backend", Field.TYPE_STRING, "", False),
            ("max_batch_size", Field.TYPE_INT32, "", False),
            ("input", Field.TYPE_MESSAGE, ".triton.Tensor", True),
            ("output", Field.TYPE_MESSAGE, ".triton.Tensor", True),
            ("instance_group", Field.TYPE_MESSAGE, ".triton.Instances", True),
            ("dynamic_batching", Field.TYPE_MESSAGE, ".triton.Batching", False),
        ],
    }
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for number, (field, kind, of, repeated) in enumerate(fields, start=1):
            label = Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL
            message.field.add(
                name=field,
                number=number,
                type=kind,
                label=label,
                type_name=of or None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName("triton.ModelConfig")
    return message_factory.GetMessageClass(found)()


def test_the_configuration_agrees_with_the_model(repository: Path) -> None:
    config = text_format.Parse((repository / "two/config.pbtxt").read_text(), model_config())
    assert (config.name, config.backend, config.max_batch_size) == ("two", "onnxruntime", 8)
    assert config.dynamic_batching.max_queue_delay_microseconds == 2000

    graph = onnx.load(repository / "two/1/model.onnx/model.onnx", load_external_data=False).graph
    assert [one.name for one in graph.output] == ["block2_pool", "block1_pool"]
    for described, values in ((config.input, graph.input), (config.output, graph.output)):
        assert [one.name for one in described] == [one.name for one in values]
        for one, value in zip(described, values, strict=True):
            kind = value.type.tensor_type
            assert one.data_type == 2  # TYPE_FP32
            assert kind.elem_type == onnx.TensorProto.FLOAT
            batch, *extents = kind.shape.dim
            assert batch.dim_param  # Triton makes batches of any size
            assert list(one.dims) == [each.dim_value or -1 for each in extents]
    assert list(config.input[0].dims) == [-1, -1, 3]
    assert [list(one.dims)[-1] for one in config.output] == [128, 64]


def test_the_model_in_the_repository_runs(repository: Path, furnished: Path) -> None:
    folder = repository / "two/1/model.onnx"
    session = onnxruntime.InferenceSession(
        folder / "model.onnx", providers=["CPUExecutionProvider"]
    )
    images = np.random.default_rng(0).uniform(-100, 120, (3, 32, 40, 3)).astype(np.float32)
    got = session.run(["block2_pool"], {"images": images})[0]
    extractor = sparsefeat.Extractor(
        furnished / "demo/vgg16.onnx", "block2_pool", convolution="direct"
    )
    np.testing.assert_array_equal(got, extractor.run(images)["block2_pool"])
    assert sorted(path.name for path in folder.iterdir()) == ["model.onnx", "model.onnx.data"]
    # A server that runs as another user can read both.
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in folder.iterdir())


def test_the_documentation_shows_the_configuration_that_is_written(
    furnished: Path, run_script: RunScript, tmp_path: Path
) -> None:
    run_script("triton_repository.py", "demo/vgg16.onnx", "block5_pool", "-o", tmp_path / "models")
    shown = (EXAMPLES.parent / "docs/model-elsewhere.md").read_text()
    assert (tmp_path / "models/vgg16/config.pbtxt").read_text() in shown
