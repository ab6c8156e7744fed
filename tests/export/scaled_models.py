"""Makes models as users fine-tune them: ``python scaled_models.py FOLDER PHOTOGRAPH...``.

Each takes images of 150 x 150 pixels and is narrow, as those of `keras_models`. ``<name>.npz``
holds every layer's output from its own ``predict``, for images read by ``load_img``, for those
models that the tests export. Graphs are made of models that end after their first block.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf2onnx
from keras import layers
from keras.applications import imagenet_utils, vgg16
from keras_models import base  # type: ignore[import-not-found]

SIDE = 150
PREDICTED = ("plain", "guide", "normalization")
Made = tuple[Any, dict[str, Any]]  # a model, and some tensors in it by their layers' names


def top(x: Any) -> dict[str, Any]:
    """Add global pooling and dense layers after the tensor of block5_pool."""
    named = {"block5_pool": x}
    x = named["gap"] = layers.GlobalAveragePooling2D(name="gap")(x)
    x = layers.Dropout(0.2, name="drop")(x)
    x = named["hidden"] = layers.Dense(16, "relu", name="hidden")(x)
    named["classes"] = layers.Dense(3, activation="softmax", name="classes")(x)
    return named


def plain() -> Made:
    """A model that was trained on pixels / 255, which nothing in it shows."""
    model = base(SIDE)
    named = top(model.output)
    return keras.Model(model.input, named["classes"]), named


def nested(*front: Callable[[Any], Any], blocks: int = 5) -> Made:
    """A model as in Keras' guide to transfer learning, with the base as a model inside."""
    inner = base(SIDE, blocks=blocks)
    inner.trainable = False
    images = x = keras.Input((SIDE, SIDE, 3))
    for one in front:
        x = one(x)
    named = top(inner(x, training=False))
    return keras.Model(images, named["classes"]), named


def augmentation() -> Any:
    return keras.Sequential(
        [layers.RandomFlip("horizontal"), layers.RandomRotation(0.1), layers.RandomZoom(0.1)],
        name="augmentation",
    )


def torch_inside(x: Any) -> Any:
    return imagenet_utils.preprocess_input(x, mode="torch")


def sequential(blocks: int = 5) -> Made:
    """A chain of augmentation, rescaling, the base's own layers and a head."""
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            layers.RandomFlip(name="flip"),
            layers.Rescaling(1 / 255, name="scale"),
            *[
                type(one).from_config(one.get_config())
                for one in base(SIDE, blocks=blocks).layers[1:]
            ],
            layers.Flatten(name="flatten"),
            layers.Dense(16, "relu", name="hidden"),
            layers.Dense(3, name="classes"),
        ]
    )
    names = ("block1_conv1", f"block{blocks}_pool", "hidden", "classes")
    return model, {name: model.get_layer(name).output for name in names}


def preprocessing(blocks: int = 5) -> Made:
    return nested(augmentation(), vgg16.preprocess_input, blocks=blocks)


def sequential_nested() -> Made:
    inner = base(SIDE)
    head = [layers.Flatten(name="flatten"), layers.Dense(3, name="classes")]
    model = keras.Sequential(
        [keras.Input((SIDE, SIDE, 3)), layers.Rescaling(1 / 127.5, offset=-1), inner, *head]
    )
    return model, {one.name: one.output for one in head}


MODELS: dict[str, Callable[[], Made]] = {
    "plain": plain,
    "rescaling": lambda: nested(layers.Rescaling(1 / 255, name="scale")),
    "guide": lambda: nested(augmentation(), layers.Rescaling(1 / 127.5, offset=-1)),
    "preprocess_input": preprocessing,
    "torch": lambda: nested(torch_inside),
    "normalization": lambda: nested(
        layers.Normalization(mean=[120.0, 115.0, 100.0], variance=[4100.0, 3900.0, 4400.0])
    ),
    "sequential": sequential,
    "sequential_nested": sequential_nested,
    "augmented": lambda: nested(augmentation()),
}

# What the program that uses the model does to pixels; nothing if the model scales them itself.
BEFORE = {
    "plain": lambda pixels: pixels / 255,
}


def flat_top(x: Any) -> Any:
    return layers.Dense(2, name="classes")(layers.Flatten(name="flatten")(x))


def of(images: Any, x: Any, blocks: int = 5) -> Any:
    return keras.Model(images, flat_top(base(SIDE, blocks=blocks)(x)))


def own_mean(blocks: int = 5) -> Any:
    images = keras.Input((SIDE, SIDE, 3))
    means = keras.ops.mean(images, axis=(1, 2, 3), keepdims=True)
    return of(images, images - means, blocks)


def unusable() -> dict[str, Any]:
    """Make models that can't be exported."""
    images = keras.Input((SIDE, SIDE, 3))
    grey, four = keras.Input((SIDE, SIDE, 1)), keras.Input((SIDE, SIDE, 4))
    large = keras.Input((180, 180, 3))
    return {
        "own_mean": own_mean(),
        "mixed": of(images, layers.Dense(3, name="mix")(images)),
        "resizing": of(large, layers.Resizing(SIDE, SIDE, name="resizing")(large)),
        "clipped": of(images, layers.ReLU(128.0, name="clip")(images)),
        "lambda": of(images, layers.Lambda(lambda x: x / 255, name="divide")(images)),
        "grey": of(grey, layers.Concatenate(name="thrice")([grey, grey, grey])),
        "four": of(four, four[..., :3]),
        "unbuilt": keras.Sequential([layers.Conv2D(4, 3, padding="same", activation="relu")]),
        **{name: base_with(**changes) for name, changes in CHANGES.items()},
    }


CHANGES: dict[str, dict[str, Any]] = {
    "leaky": {"activation": "leaky_relu"},
    "valid": {"padding": "valid"},
    "strided": {"strides": 2},
    "dilated": {"dilation_rate": 2},
    "no_bias": {"use_bias": False},
    "half": {"dtype": "mixed_float16"},
}


def base_with(**changes: Any) -> Any:
    """Make the base with a first convolution that differs slightly from VGG16's."""
    model = base(SIDE)
    config = model.get_config()
    config["layers"][1]["config"] |= changes
    config["layers"][1].pop("build_config", None)
    return keras.Model.from_config(config)


def write_graph(model: Any, path: Path) -> None:
    signature = [tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32, "images")]
    function = tf.function(lambda x: model(x, training=False), input_signature=signature)
    tf2onnx.convert.from_function(function, input_signature=signature, output_path=str(path))


def main() -> None:
    folder, photographs = Path(sys.argv[1]), sys.argv[2:]
    keras.utils.set_random_seed(1)
    pixels = np.stack(
        [
            keras.utils.img_to_array(keras.utils.load_img(path, target_size=(SIDE, SIDE)))
            for path in photographs
        ]
    )
    for name, make in MODELS.items():
        model, named = make()
        model.save(folder / f"{name}.keras")
        if name not in PREDICTED:
            continue
        given = BEFORE.get(name, lambda pixels: pixels)(pixels)
        outputs = keras.Model(model.inputs, named).predict(given, verbose=0)
        np.testing.assert_allclose(outputs["classes"], model.predict(given, verbose=0), rtol=1e-5)
        np.savez(folder / f"{name}.npz", **outputs)
    for name, model in unusable().items():
        model.save(folder / f"{name}.keras")
    for name, model in {
        "preprocess_input": preprocessing(blocks=1)[0],
        "sequential": sequential(blocks=1)[0],
        "own_mean": own_mean(blocks=1),
    }.items():
        write_graph(model, folder / f"{name}.onnx")
    levels = np.arange(256, dtype=np.float32).repeat(3).reshape(16, 16, 3)
    modes = {
        mode: imagenet_utils.preprocess_input(levels.copy(), mode=mode)
        for mode in ("caffe", "tf", "torch")
    }
    np.savez(folder / "modes.npz", **modes)


if __name__ == "__main__":
    main()
