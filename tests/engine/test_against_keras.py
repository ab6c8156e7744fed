"""Stored rows of files equal the features of a usual script with Keras."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import sparsefeat
from sparsefeat.cli.demo import copy_photographs
from sparsefeat.images import list_images

POOLS = [f"block{block}_pool" for block in range(1, 6)]

# Independent of sparsefeat, except that the weights come from the model file.
KERAS = """
import sys
from pathlib import Path
import keras, numpy as np, onnx
from keras.applications.vgg16 import VGG16, preprocess_input
model_path, photos, output, *names = sys.argv[1:]
vgg16 = VGG16(weights=None, include_top=False, input_shape=(224, 224, 3))
weights = {w.name: onnx.numpy_helper.to_array(w) for w in onnx.load(model_path).graph.initializer}
for layer in vgg16.layers:
    if layer.weights:
        kernel = weights[f"{layer.name}/kernel"].transpose(2, 3, 1, 0)
        layer.set_weights([kernel, weights[f"{layer.name}/bias"]])
outputs = keras.Model(vgg16.input, [vgg16.get_layer(name).output for name in names])
found = {name: [] for name in names}
for path in sorted(Path(photos).iterdir()):
    array = keras.utils.img_to_array(keras.utils.load_img(path, target_size=(224, 224)))
    for name, value in zip(names, outputs.predict(preprocess_input(array[None]), verbose=0)):
        found[name].append(value[0])
np.savez(output, **{name: np.stack(values) for name, values in found.items()})
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    copy_photographs(folder)
    return folder


@pytest.fixture(scope="module")
def keras(
    vgg16: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, npt.NDArray[np.float32]]:
    """Keras' output of each pool: float32 (6, H, W, C)."""
    arrays = tmp_path_factory.mktemp("keras") / "keras.npz"
    subprocess.run(
        [sys.executable, "-c", KERAS, str(vgg16), str(photos), str(arrays), *POOLS],
        check=True,
        capture_output=True,
    )
    with np.load(arrays) as found:
        return dict(found)


@pytest.fixture(scope="module")
def store(vgg16: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> sparsefeat.Store:
    folder = tmp_path_factory.mktemp("store") / "features"
    extractor = sparsefeat.Extractor(vgg16, "pools")
    sparsefeat.extract(list_images([photos]), folder, model=extractor)
    return sparsefeat.open(folder)


def test_stored_features_equal_those_of_keras(
    keras: dict[str, npt.NDArray[np.float32]], store: sparsefeat.Store, photos: Path
) -> None:
    facts: Any = sparsefeat.info(store.folder)
    assert store.obs["path"].tolist() == sorted(path.name for path in photos.iterdir())
    for name in POOLS:
        ours, theirs = store[name].to_numpy(), keras[name]
        assert ours.shape == theirs.shape
        error = np.linalg.norm(ours.astype(np.float64) - theirs) / np.linalg.norm(theirs)
        assert error < 1e-5
        assert np.mean((ours == 0) == (theirs == 0)) >= 0.9999
        # Shares of zeros: of `sparsefeat info`, of our activations, and of Keras' activations.
        share = facts["layers"][name]["zeros"]
        assert share == np.mean(ours == 0)
        assert abs(share - np.mean(theirs == 0)) < 1e-5


def test_counted_zeros_equal_those_of_keras(
    keras: dict[str, npt.NDArray[np.float32]], store: sparsefeat.Store, vgg16: Path, photos: Path
) -> None:
    from_store = sparsefeat.analyse(store)
    from_photos = sparsefeat.analyse(photos, extractor=sparsefeat.Extractor(vgg16, "pools"))
    for name in POOLS:
        ours, theirs = store[name].to_numpy(), keras[name]
        for sparsity in (from_store, from_photos):
            zeros = sparsity.counts[name]
            assert zeros.sparsity == np.mean(ours == 0)
            assert zeros.row_sparsity.tolist() == np.mean(ours == 0, axis=(1, 2, 3)).tolist()
            assert zeros.channel_sparsity.tolist() == np.mean(ours == 0, axis=(0, 1, 2)).tolist()
            assert zeros.position_sparsity is not None
            assert zeros.position_sparsity.tolist() == np.mean(ours == 0, axis=(0, 3)).tolist()
            assert zeros.active_rows is not None
            assert (zeros.active_rows == (ours != 0).any(axis=(1, 2)).sum(axis=0)).all()
            assert zeros.sparsity is not None
            assert abs(zeros.sparsity - np.mean(theirs == 0)) < 1e-5
            by_image = zeros.row_sparsity - np.mean(theirs == 0, axis=(1, 2, 3))
            assert np.abs(by_image).max() < 1e-5
            by_channel = zeros.channel_sparsity - np.mean(theirs == 0, axis=(0, 1, 2))
            assert np.abs(by_channel).mean() < 1e-5
            by_position = zeros.position_sparsity - np.mean(theirs == 0, axis=(0, 3))
            assert np.abs(by_position).mean() < 1e-5


# Measured on the demo's images. Another processor may round a few elements the other way.
GOLDEN = {
    "block1_pool": [0.202666, 0.019014, 0.180932, 0.226880],
    "block2_pool": [0.335891, 0.034250, 0.304747, 0.380705],
    "block3_pool": [0.538403, 0.034920, 0.489886, 0.588633],
    "block4_pool": [0.764731, 0.027711, 0.733219, 0.796865],
    "block5_pool": [0.883118, 0.035933, 0.822425, 0.926180],
}


def test_shares_of_zeros_of_the_demo_s_images_do_not_change(store: sparsefeat.Store) -> None:
    layers = sparsefeat.analyse(store).layers
    for name, shares in GOLDEN.items():
        found = [layers[column][name] for column in ("zeros", "std", "min", "max")]
        assert found == pytest.approx(shares, abs=2e-5)
