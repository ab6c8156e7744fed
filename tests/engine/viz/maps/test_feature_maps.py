import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from skimage import data

import sparsefeat
from sparsefeat.errors import InputError, LayerError, SourceError
from sparsefeat.pipeline.extractor import Extractor
from sparsefeat.viz.maps.channels import OF_ONE_IMAGE

from .made import made

LAYERS = ("block1_conv1", "block2_conv2", "block4_conv1", "block5_conv3")

# Independent of sparsefeat, except for the weights. Computes the same layers once with and once
# without their own ReLU.
KERAS = """
import sys
import keras, numpy as np, onnx
from keras.applications.vgg16 import VGG16, preprocess_input
model_path, photo, output, *names = sys.argv[1:]
weights = {w.name: onnx.numpy_helper.to_array(w) for w in onnx.load(model_path).graph.initializer}
array = keras.utils.img_to_array(keras.utils.load_img(photo, target_size=(224, 224)))
images = preprocess_input(array[None])
vgg16 = VGG16(weights=None, include_top=False, input_shape=(224, 224, 3))
for layer in vgg16.layers:
    if layer.weights:
        kernel = weights[f"{layer.name}/kernel"].transpose(2, 3, 1, 0)
        layer.set_weights([kernel, weights[f"{layer.name}/bias"]])
layers = [vgg16.get_layer(name) for name in names]
ends = keras.Model(vgg16.input, [[layer.input, layer.output] for layer in layers])
found = {}
for layer, (before, post) in zip(layers, ends(images), strict=True):
    found[layer.name] = np.asarray(post)[0]
    found[layer.name + "-again"] = np.asarray(keras.ops.relu(post))[0]
    layer.activation = keras.activations.linear
    found[layer.name + "-pre"] = np.asarray(layer(before))[0]
np.savez(output, **found)
"""


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "coffee.jpg"
    Image.fromarray(data.coffee()).save(path)
    return path


@pytest.fixture
def extractor(small_vgg16: Path) -> Extractor:
    return Extractor(small_vgg16, size=(64, 96))


def off(ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> float:
    return float(np.linalg.norm(ours.astype(np.float64) - theirs) / np.linalg.norm(theirs))


def test_maps_equal_keras_layers_before_and_after_relu(
    vgg16: Path, photo: Path, tmp_path: Path
) -> None:
    arrays = tmp_path / "keras.npz"
    subprocess.run(
        [sys.executable, "-c", KERAS, str(vgg16), str(photo), str(arrays), *LAYERS],
        check=True,
        capture_output=True,
    )
    extractor = Extractor(vgg16, "block5_conv3")
    with np.load(arrays) as keras:
        for layer in LAYERS:
            maps = sparsefeat.maps(extractor, photo, layer)
            assert maps.pre is not None
            assert off(maps.post, keras[layer]) < 1e-5
            assert np.mean((maps.post == 0) == (keras[layer] == 0)) >= 0.9999
            # Keras' output is rectified: ReLU changes nothing. Ours is ReLU of `pre`, exactly.
            np.testing.assert_array_equal(keras[layer + "-again"], keras[layer])
            np.testing.assert_array_equal(np.maximum(maps.post, 0), maps.post)
            np.testing.assert_array_equal(np.maximum(maps.pre, 0), maps.post)
            assert off(maps.pre, keras[layer + "-pre"]) < 1e-5
            assert maps.clipped is not None
            theirs = np.mean(keras[layer + "-pre"] < 0, axis=(0, 1))
            np.testing.assert_allclose(maps.clipped, theirs, atol=2e-3)
            assert maps.zeros.tolist() == [
                np.mean(maps.post[..., channel] == 0) for channel in range(maps.n_channels)
            ]
            np.testing.assert_allclose(maps.zeros.mean(), np.mean(keras[layer] == 0), atol=1e-5)


def test_maps_equal_the_network_s_outputs(extractor: Extractor, photo: Path) -> None:
    whole = sparsefeat.maps(extractor, photo, "block3_conv2")
    decoded = extractor.read(photo)
    np.testing.assert_array_equal(whole.pixels, decoded.pixels)
    both = extractor.with_layers("block3_conv2,block3_conv2/pre")
    outputs = both.run(sparsefeat.normalize(decoded.pixels)[None])
    assert whole.pre is not None
    np.testing.assert_array_equal(whole.post, outputs["block3_conv2"][0])
    np.testing.assert_array_equal(whole.pre, outputs["block3_conv2/pre"][0])
    assert whole.shape == (16, 24, 16)
    assert (whole.stage, whole.rectified, whole.n_channels) == ("both", True, 16)
    some = sparsefeat.maps(extractor, photo, "block3_conv2", channels="9,2-4", stage="post")
    assert some.pre is None
    assert some.channels.tolist() == [9, 2, 3, 4]
    np.testing.assert_array_equal(some.post, whole.post[..., [9, 2, 3, 4]])


@pytest.mark.parametrize("best", OF_ONE_IMAGE)
def test_top_channels_are_those_with_the_best_scores(
    extractor: Extractor, photo: Path, best: Any
) -> None:
    whole = sparsefeat.maps(extractor, photo, "block2_conv1")
    maps = sparsefeat.maps(extractor, photo, "block2_conv1", channels="top:3", best=best)
    scores = OF_ONE_IMAGE[best](whole.post)
    assert maps.channels.tolist() == sorted(range(8), key=lambda n: -scores[n])[:3]
    assert maps.scores is not None
    assert maps.scores.tolist() == sorted(scores.tolist(), reverse=True)[:3]
    assert maps.best == best


def test_top_ranks_by_energy_by_default(extractor: Extractor, photo: Path) -> None:
    assert sparsefeat.maps(extractor, photo, "block2_conv1", channels="top:2").best == "energy"
    assert sparsefeat.maps(extractor, photo, "block2_conv1").best is None


def test_pools_have_only_an_output(extractor: Extractor, photo: Path) -> None:
    maps = sparsefeat.maps(extractor, photo)
    assert (maps.layer, maps.stage, maps.pre, maps.clipped) == ("block5_pool", "post", None, None)
    assert not maps.rectified
    with pytest.raises(LayerError, match="no ReLU"):
        sparsefeat.maps(extractor, photo, stage="both")


def test_a_pooled_extractor_has_maps(small_vgg16: Path, photo: Path) -> None:
    pooled = Extractor(small_vgg16, "block2_pool", pool="avg", size=(64, 96))
    maps = sparsefeat.maps(pooled, photo)
    assert maps.shape == (16, 24, 8)
    assert maps.settings["pool"] == "none"


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"layer": "block1_conv1/pre"}, LayerError, "stage pre"),
        ({"layer": "pools"}, LayerError, "one layer"),
        ({"layer": "block1_cnv1"}, LayerError, "block1_conv1"),
        ({"layer": "block1_pool", "stage": "pre"}, LayerError, "use stage post"),
        ({"stage": "middle"}, InputError, "pre, post, both"),
        ({"best": "beauty"}, InputError, "energy, variance, contrast, selectivity"),
        ({"best": "selectivity"}, InputError, "reference"),
        ({"best": "energy", "reference": "x"}, InputError, "selectivity"),
        ({"channels": "0-99"}, InputError, "0 to 31"),
    ],
)
def test_wrong_options_are_refused(
    extractor: Extractor, photo: Path, options: dict[str, Any], error: type, says: str
) -> None:
    with pytest.raises(error, match=says):
        sparsefeat.maps(extractor, photo, **options)


def test_layers_without_positions_are_refused(small_vgg16_top: Path, photo: Path) -> None:
    extractor = Extractor(small_vgg16_top, "fc1")
    with pytest.raises(LayerError, match=r"fc1 has no rows and columns.*block1_conv1"):
        sparsefeat.maps(extractor, photo)
    several = extractor.with_layers("block1_pool,block2_conv1,block2_conv1/pre")
    with pytest.raises(LayerError, match="block1_pool, block2_conv1: name the one"):
        sparsefeat.maps(several, photo)


def test_unreadable_images_are_an_error(extractor: Extractor, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.jpg: no such file"):
        sparsefeat.maps(extractor, tmp_path / "none.jpg")
    (tmp_path / "notes.jpg").write_text("no image")
    with pytest.raises(InputError, match=r"notes\.jpg: not an image"):
        sparsefeat.maps(extractor, tmp_path / "notes.jpg")
    with pytest.raises(InputError, match="the image: the file is empty"):
        sparsefeat.maps(extractor, b"")
    assert sparsefeat.maps(extractor, np.zeros((9, 9, 3), np.uint8)).image == ""


def test_the_format_follows_from_the_ending(tmp_path: Path) -> None:
    maps = made(stage="post")
    maps.save(tmp_path / "a.HTML")
    maps.save(tmp_path / "a.png")
    assert (tmp_path / "a.HTML").read_text().startswith("<!DOCTYPE html>")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    for name in ("a.svg", "a"):
        with pytest.raises(InputError, match=r"\.html or \.png"):
            maps.save(tmp_path / name)
    with pytest.raises(InputError, match="can't write"):
        maps.save(tmp_path / "a.png" / "a.png")
