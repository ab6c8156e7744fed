"""Train a top of your own on VGG16's convolutions, export the model, and extract its layers.

python examples/own_top.py demo/ -o own_top/

The classes are a toy: which of six photographs a crop was cut from. Crops to train on come from
the left half of each photograph and crops to test on from the right half, so that no pixel is in
both. A useful classifier needs images of its own.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import keras
import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from PIL import Image

import sparsefeat

SIZE = 96
CROPS = 12  # of each half of each photograph


def crops(photos: Path, seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Cut squares from the left halves, then the right ones: uint8 (N, 96, 96, 3), and labels."""
    random = np.random.default_rng(seed)
    images, labels = [], []
    for right in (False, True):
        for label, path in enumerate(sorted(photos.iterdir())):
            pixels = np.asarray(Image.open(path).convert("RGB").resize((384, 256)))
            half = pixels[:, 192:] if right else pixels[:, :192]
            for _ in range(CROPS):
                row, column = random.integers(0, (256 - SIZE, 192 - SIZE))
                images.append(half[row : row + SIZE, column : column + SIZE])
                labels.append(label)
    return np.stack(images), np.array(labels)


def convolutions(model: Path) -> keras.Model:
    """Make Keras' VGG16 without its top, with the weights of an exported model.

    `keras.applications.VGG16(include_top=False)` does the same where its download can be reached.
    """
    base = keras.applications.VGG16(weights=None, include_top=False, input_shape=(SIZE, SIZE, 3))
    tensors = {one.name: numpy_helper.to_array(one) for one in onnx.load(model).graph.initializer}
    for layer in base.layers:
        if layer.weights:
            kernel = tensors[f"{layer.name}/kernel"].transpose(2, 3, 1, 0)  # ONNX: out, in, H, W
            layer.set_weights([kernel, tensors[f"{layer.name}/bias"]])
    base.trainable = False
    return base


def main() -> None:
    """Train a top on VGG16's convolutions, export the model, and extract its layers."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("demo", type=Path, help="the folder that `make demo` made")
    parser.add_argument("-o", "--output", type=Path, default=Path("own_top"))
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(0)

    images, labels = crops(given.demo / "photos", seed=0)
    train = np.arange(len(images)) < len(images) // 2

    # The convolutions are frozen, so their features are computed once, and not in every epoch.
    extractor = sparsefeat.Extractor(given.demo / "vgg16.onnx", "block5_pool", size=(SIZE, SIZE))
    pixels = sparsefeat.normalize(images, extractor.scaling)
    features = extractor.run(pixels)["block5_pool"]  # float32 (N, 3, 3, 512)

    top = keras.Sequential(
        [
            keras.Input(features.shape[1:]),
            keras.layers.GlobalAveragePooling2D(name="pooled"),
            keras.layers.UnitNormalization(name="unit"),  # raw sums make softmax underflow to 0
            keras.layers.Dense(32, activation="relu", name="hidden"),
            keras.layers.Dense(6, activation="softmax", name="classes"),
        ]
    )
    optimizer = keras.optimizers.Adam(0.01)
    top.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    top.fit(features[train], labels[train], epochs=60, verbose=0)
    _, accuracy = top.evaluate(features[~train], labels[~train], verbose=0)
    print(f"accuracy on crops of the other halves: {accuracy:.2f} (by chance 0.17)")

    # One model: pixels scaled as VGG16 wants them -> convolutions -> top.
    base = convolutions(given.demo / "vgg16.onnx")
    model = keras.Model(base.input, top(base.output))
    model.save(given.output / "own_top.keras")
    exported = sparsefeat.export(given.output / "own_top.onnx", weights=model, scaling="caffe")
    print(exported.path, "exported and verified against Keras")

    # Its layers are extracted by the names that they have in Keras.
    own = sparsefeat.Extractor(exported.path, "hidden,classes")
    found = own.run(pixels[~train])
    expected = model.predict(pixels[~train], verbose=0)
    print(f"largest difference from Keras: {np.abs(found['classes'] - expected).max():.1e}")
    print(f"hidden: {found['hidden'].shape}, {np.mean(found['hidden'] == 0):.0%} zeros")


if __name__ == "__main__":
    main()
