"""Makes files with Keras, run as a script: ``python keras_models.py FOLDER``.

Every model but the real one is narrow (a sixteenth of VGG16's channels). All are built here by
hand, so that the exporter is compared with models that it did not make. ``<name>.npz`` holds
Keras' outputs for ``<name>-images.npy``.
"""

import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import h5py
import keras
import numpy as np
import tensorflow as tf
import tf2onnx

DIVISOR = 16
BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
SIDE = 64


def base(side: int | None = SIDE, divisor: int = DIVISOR, blocks: int = 5) -> Any:
    images = x = keras.Input((side, side, 3))
    for block, (count, channels) in enumerate(BLOCKS[:blocks], start=1):
        for index in range(1, count + 1):
            x = keras.layers.Conv2D(
                channels // divisor,
                3,
                padding="same",
                activation="relu",
                kernel_initializer="he_normal",
                bias_initializer=keras.initializers.RandomNormal(stddev=0.1),
                name=f"block{block}_conv{index}",
            )(x)
        x = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    model = keras.Model(images, x, name="narrow_vgg16")
    first = model.get_layer("block1_conv1").kernel
    first.assign(first / 64)
    return model


def finetuned(classes: int = 7) -> Any:
    """The same layers as VGG16, with another number of classes."""
    model = base()
    x = keras.layers.Flatten(name="flatten")(model.output)
    # Only this bias is not zero; tf2onnx omits biases that are zero.
    x = keras.layers.Dense(256, "relu", bias_initializer="random_normal", name="fc1")(x)
    x = keras.layers.Dense(256, activation="relu", name="fc2")(x)
    x = keras.layers.Dense(classes, activation="softmax", name="predictions")(x)
    return keras.Model(model.input, x)


def other_top() -> Any:
    """VGG16 as a frozen model inside another one, with a top as in fine-tuning tutorials."""
    inner = base()
    inner.trainable = False
    images = keras.Input((SIDE, SIDE, 3))
    x = inner(images, training=False)
    x = keras.layers.GlobalAveragePooling2D(name="gap")(x)
    x = keras.layers.BatchNormalization(
        beta_initializer="random_normal", moving_mean_initializer="random_normal", name="norm"
    )(x)
    x = keras.layers.Dropout(0.5, name="drop")(x)
    x = keras.layers.Dense(24, name="hidden")(x)
    x = keras.layers.ReLU(name="rectify")(x)
    x = keras.layers.Dense(4, activation="sigmoid", name="labels")(x)
    return keras.Model(images, x)


def convolutional_top() -> Any:
    """Spatial layers after VGG16, for images of any size."""
    model = base(None)
    x = keras.layers.Dropout(0.3, name="drop")(model.output)
    x = keras.layers.Conv2D(12, 1, name="squeeze")(x)
    x = keras.layers.BatchNormalization(
        beta_initializer="random_normal", moving_mean_initializer="random_normal", name="norm"
    )(x)
    x = keras.layers.Activation("relu", name="rectify")(x)
    x = keras.layers.Rescaling(0.5, name="half")(x)
    x = keras.layers.GlobalMaxPooling2D(name="maximum")(x)
    return keras.Model(model.input, x)


def branched() -> Any:
    model = base()
    x = keras.layers.Conv2D(32, 3, padding="same", name="side")(model.output)
    x = keras.layers.Add(name="sum")([x, model.output])
    return keras.Model(model.input, x)


def repeated() -> Any:
    """A layer that is used twice, which is not possible in a chain of layers."""
    model = base()
    dense = keras.layers.Dense(32, name="again")
    x = keras.layers.GlobalAveragePooling2D(name="average")(model.output)
    return keras.Model(model.input, dense(dense(x)))


def summed() -> Any:
    """A model with an operation that is not a layer."""
    model = base()
    return keras.Model(model.input, keras.ops.sum(model.output, axis=(1, 2)))


def separate_relu() -> Any:
    """VGG16 with each ReLU as a layer after its convolution."""
    images = x = keras.Input((SIDE, SIDE, 3))
    for layer in base().layers[1:]:
        config = layer.get_config() | ({"activation": "linear"} if layer.weights else {})
        x = type(layer).from_config(config)(x)
        if layer.weights:
            x = keras.layers.ReLU(name=f"{layer.name}_relu")(x)
    return keras.Model(images, x)


def overlapping_pools() -> Any:
    """VGG16 with pools of three by three."""
    images = x = keras.Input((SIDE, SIDE, 3))
    for layer in base().layers[1:]:
        config = layer.get_config() | ({} if layer.weights else {"pool_size": (3, 3)})
        x = type(layer).from_config(config)(x)
    return keras.Model(images, x)


def with_lambda() -> Any:
    model = base()
    return keras.Model(
        model.input, keras.layers.Lambda(lambda x: x * 2, name="twice")(model.output)
    )


def two_heads() -> Any:
    model = base()
    x = keras.layers.GlobalAveragePooling2D(name="average")(model.output)
    heads = [keras.layers.Dense(3, name=name)(x) for name in ("one", "other")]
    return keras.Model(model.input, heads)


def two_inputs() -> Any:
    model = base()
    x = keras.layers.GlobalAveragePooling2D(name="average")(model.output)
    further = keras.Input((3,))
    x = keras.layers.Concatenate(name="both")([x, further])
    return keras.Model([model.input, further], x)


def dotted() -> Any:
    """A layer's name with a dot, which Keras allows."""
    model = base()
    x = keras.layers.GlobalAveragePooling2D(name="average pool.v2")(model.output)
    return keras.Model(model.input, x)


def odd_size() -> Any:
    """Images of 150 pixels, which the five pools do not divide evenly; upsampled at the end."""
    model = base(150)
    x = keras.layers.Conv2D(8, 3, strides=(2, 2), padding="same", name="halved")(model.output)
    x = keras.layers.UpSampling2D(4, name="upsampled")(x)
    x = keras.layers.Conv2DTranspose(8, 2, strides=2, name="transposed")(x)
    return keras.Model(model.input, keras.layers.Flatten(name="flatten")(x))


def trained() -> Any:
    """Compiled and fitted: its optimizer's variables are saved with it."""
    model = finetuned()
    model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)  # without tracing
    rng = np.random.default_rng(0)
    model.fit(rng.uniform(-1, 1, (2, SIDE, SIDE, 3)), np.array([0, 1]), verbose=0)
    return model


def infinite() -> Any:
    model = finetuned()
    bias = model.get_layer("block3_conv2").bias
    bias.assign(np.where(np.arange(bias.shape[0]) == 5, np.inf, np.asarray(bias)))
    return model


def real(wheel: str) -> Any:
    """Keras' own VGG16 with the ImageNet convolutions, read by their names."""
    import zipfile

    import onnx

    with zipfile.ZipFile(wheel) as archive:
        (member,) = [name for name in archive.namelist() if name.endswith("vgg16.onnx")]
        graph = onnx.load_from_string(archive.read(member)).graph
    found = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    model = keras.applications.VGG16(include_top=False, weights=None, input_shape=(None, None, 3))
    for layer in model.layers:
        if layer.weights:
            kernel = found[f"functional_1/{layer.name}_1/convolution/ReadVariableOp:0"]
            bias = found[f"functional_1/{layer.name}_1/Squeeze:0"]
            layer.set_weights([kernel.transpose(2, 3, 1, 0), bias])
    return model


def activations(model: Any, images: Any) -> dict[str, Any]:
    """Compute every layer's output by calling one layer after the other."""
    outputs: dict[str, Any] = {}

    def call(inner: Any, x: Any) -> Any:
        for layer in inner.layers:
            if isinstance(layer, keras.Model):
                x = call(layer, x)
            elif not isinstance(layer, keras.layers.InputLayer):
                x = outputs[layer.name] = layer(x, training=False)
        return x

    call(model, tf.constant(images))
    return {name: np.asarray(value) for name, value in outputs.items()}


def write_keras2(model: Any, path: Path) -> None:
    """Write Keras 2's layout of `save_weights`: names in attributes, ``layer/layer/kernel:0``."""
    with h5py.File(path, "w") as file:
        layers = [layer for layer in model.layers if layer.weights]
        file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        for layer in reversed(layers):  # the order is in the attribute, not in the file
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, layer.weights, strict=True):
                group[name] = np.asarray(weight)


def write_naive_onnx(model: Any, path: Path) -> None:
    side = model.input_shape[1]
    signature = (tf.TensorSpec((None, side, side, 3), tf.float32, name="x"),)
    tf2onnx.convert.from_keras(model, input_signature=signature, output_path=str(path))


def write_arrays(model: Any, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for layer in model.layers:
        if layer.weights:
            np.savez(folder / f"weights-{layer.name}.npz", *map(np.asarray, layer.weights))


def main() -> None:
    folder = Path(sys.argv[1])
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    models = {
        "finetuned": finetuned(),
        "other_top": other_top(),
        "convolutional_top": convolutional_top(),
    }
    sizes = {"finetuned": (SIDE, SIDE), "other_top": (SIDE, SIDE), "convolutional_top": (77, 101)}
    for name, model in models.items():
        images = rng.uniform(-124, 152, (3, *sizes[name], 3)).astype(np.float32)
        np.save(folder / f"{name}-images.npy", images)
        np.savez(folder / f"{name}.npz", **activations(model, images))
        model.save(folder / f"{name}.keras")
    model = models["finetuned"]
    write_arrays(model, folder)
    model.save(folder / "whole.h5")
    model.save_weights(folder / "finetuned.weights.h5")
    models["other_top"].save_weights(folder / "other_top.weights.h5")
    base().save_weights(folder / "base.weights.h5")
    write_keras2(model, folder / "keras2.h5")
    write_naive_onnx(model, folder / "naive.onnx")
    write_naive_onnx(models["other_top"], folder / "naive_other_top.onnx")
    base().save(folder / "headless.keras")
    for make in (
        branched, repeated, summed, with_lambda, infinite, two_heads, two_inputs, dotted,
        odd_size, separate_relu, overlapping_pools,
    ):  # fmt: skip
        make().save(folder / f"{make.__name__}.keras")
    model = trained()
    model.save_weights(folder / "trained.weights.h5")
    write_arrays(model, folder / "trained")
    images = rng.uniform(-124, 152, (2, 97, 131, 3)).astype(np.float32)
    np.save(folder / "real-images.npy", images)
    np.savez(folder / "real.npz", **activations(real(sys.argv[2]), images))


if __name__ == "__main__":
    main()
