"""From a file on disk to the stored rows, against the script that everybody writes with Keras."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sparsefeat
from sparsefeat.demo import copy_photographs
from sparsefeat.pictures import list_pictures

POOLS = [f"block{block}_pool" for block in range(1, 6)]

# Independent of sparsefeat but for the weights, which it takes from the model file.
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


def test_stored_features_are_those_of_keras(vgg16: Path, photos: Path, tmp_path: Path) -> None:
    arrays = tmp_path / "keras.npz"
    subprocess.run(
        [sys.executable, "-c", KERAS, str(vgg16), str(photos), str(arrays), *POOLS],
        check=True,
        capture_output=True,
    )
    extractor = sparsefeat.Extractor(vgg16, "pools")
    sparsefeat.extract_to_store(extractor, list_pictures([photos]), tmp_path / "features")
    store = sparsefeat.open(tmp_path / "features")
    facts: Any = sparsefeat.info(tmp_path / "features")
    assert store.obs["path"].tolist() == sorted(path.name for path in photos.iterdir())
    with np.load(arrays) as keras:
        for name in POOLS:
            ours, theirs = store.dense(name), keras[name]
            assert ours.shape == theirs.shape
            error = np.linalg.norm(ours.astype(np.float64) - theirs) / np.linalg.norm(theirs)
            assert error < 1e-5
            assert np.mean((ours == 0) == (theirs == 0)) >= 0.9999
            # What `sparsefeat info` says, numpy on our activations, and numpy on Keras'.
            share = facts["layers"][name]["zeros"]
            assert share == np.mean(ours == 0)
            assert abs(share - np.mean(theirs == 0)) < 1e-5
