"""Every kind of weights file is read as the arrays that Keras wrote."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from sparsefeat_export.errors import WeightsError, WeightsNotFoundError
from sparsefeat_export.sources import Request, Weights, read_weights, resolve

N_CONVOLUTIONS = 13


def read(path: Path | str, top: bool | None = None, divisor: int = 16) -> Weights:
    return read_weights(Request(weights=str(path), top=top, channels_divisor=divisor))


def assert_as_keras_wrote(weights: Weights, folder: Path, n_layers: int = 16) -> None:
    names = []
    for name, kernel, bias in weights.arrays():
        written = np.load(folder / f"weights-{name}.npz")
        np.testing.assert_array_equal(kernel, written["arr_0"])
        np.testing.assert_array_equal(bias, written["arr_1"])
        names.append(name)
    assert len(names) == n_layers


@pytest.mark.parametrize("file", ["keras2.h5", "finetuned.weights.h5", "naive.onnx"])
def test_layers_are_found_by_order_and_shape(keras_files: Path, file: str) -> None:
    weights = read(keras_files / file)
    assert weights.top
    assert weights.size == 64
    assert weights.classes == 7
    assert_as_keras_wrote(weights, keras_files)


@pytest.mark.parametrize("file", ["keras2.h5", "finetuned.weights.h5", "naive.onnx"])
def test_the_top_can_be_left_out(keras_files: Path, file: str) -> None:
    assert_as_keras_wrote(read(keras_files / file, top=False), keras_files, N_CONVOLUTIONS)


def test_the_optimizer_s_variables_of_a_trained_model_are_ignored(keras_files: Path) -> None:
    weights = read(keras_files / "trained.weights.h5")
    assert_as_keras_wrote(weights, keras_files / "trained")


def test_the_layout_of_keras_published_weights_is_read(keras_files: Path, tmp_path: Path) -> None:
    """It has data sets named ``layer/layer_W_1:0``, and lists layers without weights, too."""
    import h5py

    path = tmp_path / "published.h5"
    with h5py.File(keras_files / "keras2.h5") as source, h5py.File(path, "w") as file:
        layers = []
        for name in source.attrs["layer_names"]:
            short = file.create_group(name)
            short.attrs["weight_names"] = [f"{name}_W_1:0".encode(), f"{name}_b_1:0".encode()]
            short[f"{name}_W_1:0"] = source[f"{name}/{name}/kernel:0"][()]
            short[f"{name}_b_1:0"] = source[f"{name}/{name}/bias:0"][()]
            layers.append(name)
            if name in ("block1_conv2", "block5_conv3"):
                pool = f"{name[:6]}_pool"
                file.create_group(pool).attrs["weight_names"] = np.array([], "S1")
                layers.append(pool)
        file.attrs["layer_names"] = [name.encode() for name in layers]
    assert_as_keras_wrote(read(path), keras_files)


def test_our_own_export_is_read(keras_files: Path, narrow_export: Callable[[str], Path]) -> None:
    assert_as_keras_wrote(read(narrow_export("finetuned.keras")), keras_files)


def test_the_base_of_a_graph_with_another_head_is_read(keras_files: Path) -> None:
    weights = read(keras_files / "naive_other_top.onnx")
    assert not weights.top
    assert weights.source == "naive_other_top.onnx, without its own head"
    assert len(weights.layers) == N_CONVOLUTIONS


def test_a_top_is_refused_if_the_file_has_none(keras_files: Path) -> None:
    with pytest.raises(WeightsError, match=r"base\.weights\.h5 has no fc1"):
        read(keras_files / "base.weights.h5", top=True)


def test_a_weights_file_with_another_top_is_refused_by_name(keras_files: Path) -> None:
    with pytest.raises(WeightsError, match=r"other_top.*'batch_normalization'.*\.keras"):
        read(keras_files / "other_top.weights.h5")
    weights = read(keras_files / "other_top.weights.h5", top=False)
    assert len(weights.layers) == N_CONVOLUTIONS


def test_weights_of_another_width_are_refused_by_the_first_layer(keras_files: Path) -> None:
    for file in ("keras2.h5", "base.weights.h5", "naive.onnx"):
        with pytest.raises(WeightsError, match=r"block1_conv1.*\(3, 3, 3, 4\).*\(3, 3, 3, 64\)"):
            read(keras_files / file, divisor=1)


def change_h5(source: Path, target: Path, layer: str, change: str) -> None:
    """Make files as they result from editing weights by hand."""
    import h5py

    shutil.copy(source, target)
    with h5py.File(target, "r+") as file:
        names = [str(name) for name in file.attrs["layer_names"]]
        if change == "missing":
            names.remove(layer)
        elif change == "extra":
            names.insert(names.index(layer), layer)
        elif change == "gone":
            del file[f"{layer}/{layer}/bias:0"]
        elif change == "no bias":
            group = file[layer]
            group.attrs["weight_names"] = group.attrs["weight_names"][:1]
        elif change == "integers":
            kernel = file[f"{layer}/{layer}/kernel:0"]
            integers = np.asarray(kernel).astype(np.int32)
            del file[f"{layer}/{layer}/kernel:0"]
            file[f"{layer}/{layer}/kernel:0"] = integers
        file.attrs["layer_names"] = [name.encode() for name in names]


@pytest.mark.parametrize(
    ("layer", "change", "message"),
    [
        (
            "block5_conv3",
            "missing",
            r"block5_conv3 is missing.*\(3, 3, 32, 32\).*found 12 layers of its kind, expected 13",
        ),
        ("block2_conv1", "missing", r"block2_conv1 .*'block2_conv2'.*\(3, 3, 8, 8\).*4, 8\)"),
        ("block5_conv3", "extra", r"'block5_conv3'.*not a layer of VGG16.*14.*13"),
        ("block3_conv1", "no bias", r"block3_conv1 has no bias, expected \(16,\)"),
        (
            "predictions",
            "missing",
            r"predictions is missing.*found 2 layers of its kind, expected 3",
        ),
        ("fc2", "extra", r"predictions .called 'fc2' there.*256, 256.*256, 7"),
        ("block4_conv3", "gone", r"lists block4_conv3/bias:0 but lacks it"),
        ("block4_conv1", "integers", r"block4_conv1 holds int32, expected float32"),
    ],
)
def test_missing_extra_and_changed_arrays_are_refused(
    keras_files: Path, tmp_path: Path, layer: str, change: str, message: str
) -> None:
    changed = tmp_path / "changed.h5"
    change_h5(keras_files / "keras2.h5", changed, layer, change)
    with pytest.raises(WeightsError, match=message):
        read(changed)


def test_an_onnx_graph_without_a_convolution_is_refused(keras_files: Path, tmp_path: Path) -> None:
    model = onnx.load(keras_files / "naive.onnx")
    (last,) = [
        node for node in model.graph.node if node.op_type == "Conv" and "block5_conv3" in node.name
    ]
    model.graph.node.remove(last)
    onnx.save(model, tmp_path / "lacking.onnx")
    with pytest.raises(WeightsError, match="block5_conv3 is missing"):
        read(tmp_path / "lacking.onnx")


@pytest.mark.parametrize(
    ("layer", "operator", "message"),
    [
        ("block2_conv2", "LeakyRelu", "block2_conv2 .*followed by LeakyRelu, expected Relu"),
        ("predictions", "Sigmoid", "predictions .*followed by Sigmoid, expected Softmax"),
    ],
)
def test_an_onnx_graph_with_another_activation_is_refused(
    keras_files: Path, tmp_path: Path, layer: str, operator: str, message: str
) -> None:
    model = onnx.load(keras_files / "naive.onnx")
    (node,) = [
        node
        for node in model.graph.node
        if node.op_type in ("Relu", "Softmax") and layer in node.name
    ]
    node.op_type = operator
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(WeightsError, match=message):
        read(tmp_path / "other.onnx")


def test_an_onnx_graph_with_pre_activations_as_outputs_is_read(
    keras_files: Path, tmp_path: Path
) -> None:
    """It has a Transpose to an output beside every Relu and the Softmax, and one before a bias."""
    model = onnx.load(keras_files / "naive.onnx")
    nodes = []
    for node in model.graph.node:
        if node.op_type in ("Conv", "MatMul", "Add", "Relu"):
            perm = [0, 2, 3, 1] if "conv" in node.name else [0, 1]
            shown = f"{node.output[0]}/shown"
            nodes.append(onnx.helper.make_node("Transpose", [node.output[0]], [shown], perm=perm))
            model.graph.output.append(onnx.ValueInfoProto(name=shown))
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, tmp_path / "shown.onnx")
    assert len(model.graph.output) > 16
    assert_as_keras_wrote(read(tmp_path / "shown.onnx"), keras_files)


def test_an_onnx_graph_that_branches_is_refused(keras_files: Path, tmp_path: Path) -> None:
    model = onnx.load(keras_files / "naive.onnx")
    (relu,) = [
        node
        for node in model.graph.node
        if node.op_type == "Relu" and "block2_conv2" in node.output[0] + node.name
    ]
    model.graph.node.append(onnx.helper.make_node("Sigmoid", [relu.input[0]], ["side"]))
    onnx.save(model, tmp_path / "side.onnx")
    with pytest.raises(WeightsError, match=r"block2_conv2 .*followed by Relu and Sigmoid"):
        read(tmp_path / "side.onnx")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("rank", r"block3_conv1\S* has a kernel of shape \(1152,\), expected 4 axes"),
        ("short", r"block3_conv1\S* has weights that cannot be read .*damaged"),
        ("bias", r"block3_conv1\S* has a bias 'nowhere' that is not a constant"),
    ],
)
def test_a_damaged_onnx_file_names_the_layer(
    keras_files: Path, tmp_path: Path, change: str, message: str
) -> None:
    model = onnx.load(keras_files / "naive.onnx")
    (node,) = [
        one for one in model.graph.node if one.op_type == "Conv" and "block3_conv1" in one.name
    ]
    node.name = "block3_conv1"
    (kernel,) = [one for one in model.graph.initializer if one.name == node.input[1]]
    if change == "rank":
        kernel.dims[:] = [int(np.prod(kernel.dims))]
    elif change == "short":
        kernel.raw_data = kernel.raw_data[:-8]
    else:
        node.input[:] = [*node.input[:2], "nowhere"]
    onnx.save(model, tmp_path / "damaged.onnx")
    with pytest.raises(WeightsError, match=message):
        list(read(tmp_path / "damaged.onnx").arrays())


def test_an_onnx_graph_that_ends_in_logits_is_recognized(keras_files: Path, tmp_path: Path) -> None:
    model = onnx.load(keras_files / "naive.onnx")
    softmax = model.graph.node[-1]
    assert softmax.op_type == "Softmax"
    model.graph.output[0].name = softmax.input[0]
    model.graph.node.remove(softmax)
    onnx.save(model, tmp_path / "logits.onnx")
    assert read(tmp_path / "logits.onnx").logits
    assert not read(keras_files / "naive.onnx").logits


def test_missing_external_data_are_reported(
    narrow_export: Callable[[str], Path], tmp_path: Path
) -> None:
    shutil.copy(narrow_export("finetuned.keras"), tmp_path / "model.onnx")
    weights = read(tmp_path / "model.onnx")
    with pytest.raises(WeightsError, match=r"its weights .* are not beside it"):
        list(weights.arrays())


@pytest.mark.parametrize("suffix", [".h5", ".onnx"])
def test_files_that_are_not_weights_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(b"these are no weights" * 100)
    with pytest.raises(WeightsError, match=r"not a readable HDF5|can't be read as an ONNX"):
        read(path)


@pytest.mark.parametrize("suffix", [".h5", ".keras", ".onnx"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "is a folder"),
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"<!DOCTYPE html><title>Sign in</title>", "is a web page"),
    ],
)
def test_a_folder_an_empty_file_a_pointer_or_a_page_is_named(
    tmp_path: Path, suffix: str, content: bytes | None, says: str
) -> None:
    path = tmp_path / f"weights{suffix}"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=says):
        resolve(path, tmp_path)


@pytest.mark.parametrize("offset", [3, 70_003, -1])
def test_a_damaged_export_is_refused(
    narrow_export: Callable[[str], Path], tmp_path: Path, offset: int
) -> None:
    graph, data = tmp_path / "model.onnx", tmp_path / "model.onnx.data"
    shutil.copy(narrow_export("finetuned.keras"), graph)
    content = bytearray(Path(f"{narrow_export('finetuned.keras')}.data").read_bytes())
    content[offset] ^= 0x40
    data.write_bytes(content)
    with pytest.raises(WeightsError, match=r"the digest of the weights \S+ does not match"):
        list(read(graph).arrays())


def test_linked_files_as_in_download_caches_are_read(
    keras_files: Path, narrow_export: Callable[[str], Path], tmp_path: Path
) -> None:
    """Graph and weights are links to files of other names, which have hard links."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots/1"
    for folder in (blobs, snapshot):
        folder.mkdir(parents=True)
    source = narrow_export("finetuned.keras")
    for name, blob in ((source.name, "a1"), (f"{source.name}.data", "b2")):
        shutil.copy(source.with_name(name), blobs / blob)
        (blobs / f"{blob}-again").hardlink_to(blobs / blob)
        (snapshot / name).symlink_to(f"../../blobs/{blob}")
    (tmp_path / "mine.onnx").symlink_to(snapshot / source.name)
    for path in (snapshot / source.name, tmp_path / "mine.onnx"):
        assert_as_keras_wrote(read(path), keras_files)


def test_a_truncated_h5_file_is_refused(keras_files: Path, tmp_path: Path) -> None:
    whole = (keras_files / "keras2.h5").read_bytes()
    path = tmp_path / "half.h5"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match="not a readable HDF5 file"):
        read(path)


def test_random_weights_depend_on_their_seed_alone() -> None:
    def values(name: str, top: bool) -> list[tuple[str, bytes, bytes]]:
        return [(n, k.tobytes(), b.tobytes()) for n, k, b in read(name, top).arrays()]

    assert values("random:5", True) == values("random:5", True)
    assert values("random:5", True)[:N_CONVOLUTIONS] == values("random:5", False)
    assert values("random:5", True) != values("random:6", True)


@pytest.mark.parametrize("name", ["imagenet", "pretrained", "random:0", "random:12345"])
def test_names_of_weights_are_accepted(name: str, tmp_path: Path) -> None:
    assert resolve(name, tmp_path) == name


@pytest.mark.parametrize("name", ["random:", "random:x", "random:-1", "image-net", "weights.txt"])
def test_other_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"expected imagenet, pretrained, random:SEED or"):
        resolve(name, tmp_path)


def test_missing_files_and_broken_links_are_reported(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match=r"no weights file .*gone\.h5"):
        resolve(tmp_path / "gone.h5", tmp_path)
    (tmp_path / "link.h5").symlink_to("gone.h5")
    with pytest.raises(WeightsNotFoundError, match=r"link\.h5 is a link to gone\.h5, which is"):
        resolve(tmp_path / "link.h5", tmp_path)
    (tmp_path / "loop.onnx").symlink_to("loop.onnx")
    with pytest.raises(WeightsError, match=r"loop\.onnx is a link that points to itself"):
        resolve(tmp_path / "loop.onnx", tmp_path)


def test_an_object_that_is_not_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="weights is a list"):
        resolve([1, 2], tmp_path)
