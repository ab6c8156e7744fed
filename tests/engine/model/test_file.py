import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import sparsefeat_export
from sparsefeat.errors import ModelCorruptError, ModelError, ModelNotFoundError
from sparsefeat.model import ModelFile, verify_model
from sparsefeat.pipeline.extractor import Extractor
from sparsefeat_export.model_file import sealed


@pytest.fixture
def copy(small_vgg16: Path, tmp_path: Path) -> Path:
    for name in (small_vgg16.name, f"{small_vgg16.name}.data"):
        shutil.copy(small_vgg16.with_name(name), tmp_path / name)
    return tmp_path / small_vgg16.name


def change(path: Path, edit: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load(path, load_external_data=False)
    edit(model)
    path.write_bytes(sealed(model))


def change_metadata(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    def edited(model: onnx.ModelProto) -> None:
        (entry,) = [prop for prop in model.metadata_props if prop.key == "sparsefeat"]
        metadata = json.loads(entry.value)
        edit(metadata)
        entry.value = json.dumps(metadata)

    change(path, edited)


def message(path: Path, kind: type[ModelError] = ModelError) -> str:
    with pytest.raises(kind) as caught:
        ModelFile.open(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_model_has_metadata(small_vgg16: Path) -> None:
    file = ModelFile.open(small_vgg16)
    metadata = file.metadata
    assert metadata.architecture == "vgg16"
    assert metadata.precision == "fp32"
    assert [layer.name for layer in metadata.layers][-1] == "block5_pool"
    assert metadata.input.height is None
    assert len(metadata.certificate.images) >= 8
    assert set(metadata.certificate.layers) == {layer.name for layer in metadata.layers}
    assert not any(tensor.raw_data for tensor in file.graph.graph.initializer if tensor.dims[1:])


def test_a_later_minor_version_may_add_fields(copy: Path) -> None:
    change_metadata(copy, lambda metadata: metadata.update(colour="blue"))
    assert ModelFile.open(copy).metadata.format == 1


def test_a_missing_model_is_reported_with_the_command_that_makes_it(tmp_path: Path) -> None:
    said = message(tmp_path / "vgg16.onnx", ModelNotFoundError)
    assert "sparsefeat export -o vgg16.onnx" in said


@pytest.mark.parametrize("content", [b"", b"not a model", bytes(range(256)) * 40])
def test_a_file_that_is_not_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    assert str(path) in message(path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert f"{tmp_path} is an empty folder, expected a file: name the" in message(tmp_path)
    (tmp_path / "notes.txt").touch()
    assert f"{tmp_path} is a folder, expected a file: name the" in message(tmp_path)


def test_an_onnx_file_of_another_program_is_refused(copy: Path) -> None:
    change(copy, lambda model: model.ClearField("metadata_props"))
    assert "was not exported by sparsefeat" in message(copy)


def test_a_huge_file_is_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # sparse, takes no disk space
    assert "expected a graph with its weights in a separate file" in message(path)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda metadata: metadata.update(format=2), "format 2"),
        (lambda metadata: metadata.pop("layers"), "`layers`"),
        (lambda metadata: metadata["input"].update(height="tall"), "height"),
        (
            lambda metadata: metadata["preprocessing"]["scaling"].update(mode="torch"),
            "scaling torch as blue, green, red",
        ),
        (lambda metadata: metadata["probe"][0].update(expected=[]), "expected"),
        (
            lambda metadata: metadata["preprocessing"]["scaling"].update(mean=[1, 2, 3]),
            "scaling caffe as blue, green, red in 0..255 minus 1, 2, 3",
        ),
        (
            lambda metadata: metadata["preprocessing"]["scaling"].update(
                mode="custom", divisor=0.0
            ),
            "divides by zero",
        ),
        (lambda metadata: metadata["preprocessing"].update(size=[0, -3]), "size"),
        (lambda metadata: metadata.update(architecture="vgg19"), "vgg19"),
        (lambda metadata: metadata["certificate"]["layers"].pop("block1_pool"), "certificate"),
        (lambda metadata: metadata["layers"].pop(3), "certificate"),
        (
            lambda metadata: metadata["probe"][1]["expected"]["block1_pool"]["channels"].append(99),
            "channel 99",
        ),
        (
            lambda metadata: metadata["probe"][1]["expected"]["block1_pool"]["corner"].pop(),
            "block1_pool",
        ),
    ],
)
def test_invalid_metadata_are_refused(
    copy: Path, edit: Callable[[dict[str, Any]], None], says: str
) -> None:
    change_metadata(copy, edit)
    assert says in message(copy)


def test_missing_or_truncated_weights_are_refused(copy: Path) -> None:
    data = copy.with_name(f"{copy.name}.data")
    whole = data.read_bytes()
    data.write_bytes(whole[:-4])
    assert "copy it again" in message(copy)
    data.unlink()
    assert "are not beside it" in message(copy)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("location", "../secret"),
        ("location", "/etc/passwd"),
        ("location", "a/b"),
        ("location", ""),
        ("offset", "x"),
        ("length", "-4"),
    ],
)
def test_weights_outside_the_folder_are_refused(copy: Path, key: str, value: str) -> None:
    def edit(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == key:
                    entry.value = value

    change(copy, edit)
    assert repr(value) in message(copy)


def test_weights_without_a_file_name_are_refused(copy: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        del model.graph.initializer[0].external_data[:]
        model.graph.initializer[0].external_data.add(key="offset", value="0")

    change(copy, edit)
    assert "in the file ''" in message(copy)


@pytest.mark.parametrize("name", ["model.json", "model.onnxtxt", "model.pb"])
def test_the_suffix_does_not_matter(copy: Path, name: str) -> None:
    other = copy.rename(copy.with_name(name))
    assert ModelFile.open(other).metadata.format == 1
    other.write_text("{")
    assert "can't be read as an ONNX model" in message(other)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"<!DOCTYPE html>\n<title>Sign in</title>", "is a web page"),
    ],
)
def test_an_empty_file_a_pointer_or_a_web_page_is_named(
    copy: Path, content: bytes, says: str
) -> None:
    data = copy.with_name(f"{copy.name}.data")
    for path in (data, copy):
        path.write_bytes(content)
        said = message(copy)
        assert says in said
        assert said.startswith(f"{path} ")


def test_a_folder_a_pipe_and_the_weights_file_are_refused(copy: Path) -> None:
    data = copy.with_name(f"{copy.name}.data")
    assert f"is a folder, expected a file, for example {copy}" in message(copy.parent)
    assert f"name {copy} instead" in message(data)
    data.unlink()
    data.mkdir()
    assert f"{data} is an empty folder" in message(copy)
    copy.unlink()
    os.mkfifo(copy)
    assert "is a pipe" in message(copy)


def test_a_broken_link_is_reported(copy: Path) -> None:
    data = copy.with_name(f"{copy.name}.data")
    for path in (data, copy):
        path.unlink()
        path.symlink_to("gone")
        assert f"{path} is a link to gone, which is missing" in message(copy, ModelNotFoundError)


def test_a_link_to_itself_is_reported(copy: Path) -> None:
    data = copy.with_name(f"{copy.name}.data")
    for path in (data, copy):
        path.unlink()
        path.symlink_to(path.name)
        assert f"{path} is a link that points to itself" in message(copy)


LINKS: dict[str, Callable[[Path, Path], Path]] = {}


def layout(lay: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
    """Register a layout of a model's two files; it returns the name to open."""
    LINKS[lay.__name__] = lay
    return lay


def link(path: Path, target: Path | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    return path


@layout
def both_to_other_names(graph: Path, data: Path) -> Path:
    """As in download caches."""
    blobs = graph.parent / "blobs"
    blobs.mkdir()
    link(graph.parent / "snapshots/1" / data.name, f"../../blobs/{data.rename(blobs / 'b2').name}")
    graph.rename(blobs / "a1")
    return link(graph.parent / "snapshots/1" / graph.name, "../../blobs/a1")


@layout
def a_link_to_the_link(graph: Path, data: Path) -> Path:
    return link(graph.parent / "mine/model.onnx", both_to_other_names(graph, data))


@layout
def the_graph_alone(graph: Path, data: Path) -> Path:
    return link(graph.parent / "elsewhere/model.onnx", f"../{graph.name}")


@layout
def the_data_alone(graph: Path, data: Path) -> Path:
    data.rename(graph.with_name("weights"))
    link(data, "weights")
    return graph


@layout
def the_folder(graph: Path, data: Path) -> Path:
    return link(graph.parent / "elsewhere/folder", graph.parent) / graph.name


@layout
def hard_links(graph: Path, data: Path) -> Path:
    folder = graph.parent / "elsewhere"
    folder.mkdir()
    for path in (graph, data):
        (folder / path.name).hardlink_to(path)
    return folder / graph.name


@pytest.mark.parametrize("name", LINKS)
def test_models_are_loaded_through_links(
    copy: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every layout of links, the weights are found, checked and loaded."""
    images = np.ones((1, 32, 32, 3), np.float32)
    expected = Extractor(copy, "block2_pool").run(images, check=False)["block2_pool"]
    path = LINKS[name](copy, copy.with_name(f"{copy.name}.data"))
    monkeypatch.chdir(path.parent)
    for named in (path, path.name):
        extractor = Extractor(named, "block1_pool")
        other = extractor.with_layers("block2_pool")  # opens the file again
        found = other.run(images, check=False)["block2_pool"]
        np.testing.assert_array_equal(found, expected)
        assert verify_model(named).ok


def test_tensors_are_read(small_vgg16: Path, small_int8: sparsefeat_export.QuantizeResult) -> None:
    for path in (small_vgg16, small_int8.path):
        file = ModelFile.open(path)
        written = onnx.load(path).graph.initializer
        assert {bool(one.external_data) for one in file.graph.graph.initializer} >= {True}
        for one in written:
            tensor = file.tensor(one.name)
            np.testing.assert_array_equal(tensor, onnx.numpy_helper.to_array(one), strict=True)
            assert not tensor.flags.writeable
    with pytest.raises(ModelError, match="no weights 'block9/kernel'"):
        file.tensor("block9/kernel")


def test_a_damaged_tensor_is_refused(copy: Path) -> None:
    file = ModelFile.open(copy)
    data = copy.with_name(f"{copy.name}.data")
    content = bytearray(data.read_bytes())
    content[2] ^= 1
    data.write_bytes(content)
    with pytest.raises(ModelCorruptError, match="the weights block1_conv1/kernel are not"):
        file.tensor("block1_conv1/kernel")
    assert file.tensor("block1_conv2/kernel").shape == (4, 4, 3, 3)
