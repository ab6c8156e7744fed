"""Keras' network as it is usually run, to be compared with what was exported."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sparsefeat_export.dependencies import load, quiet_tensorflow
from sparsefeat_export.errors import WeightsError
from sparsefeat_export.model_file import read_metadata
from sparsefeat_export.network import digest
from sparsefeat_export.network import load as load_network
from sparsefeat_export.scaling import KERAS_MODES, Scaling, scale_as_keras
from sparsefeat_export.sources import BLOCKS, Request

Float32 = npt.NDArray[np.float32]
Mode = Literal["predict", "function", "jit"]


class KerasEngine:
    """Runs the network that a model file was made of, on the processor.

    Parameters
    ----------
    model
        The exported file, from which the weights are taken.
    layers
        Keras' names of the wanted layers; what lies behind the deepest one isn't run.
    mode
        ``predict`` calls ``Model.predict``, ``function`` a ``tf.function`` of the model, ``jit``
        one compiled by XLA.
    threads
        For the pool inside an operation, and for the one that loads images. Operations are
        started from one thread, as ONNX Runtime starts them: VGG16 is a chain, so that no two can
        run at the same time.

    Attributes
    ----------
    model
        The Keras model: images -> {layer: activation}.
    facts
        What it runs on, in words, and its numbers of threads.

    Raises
    ------
    WeightsError
        The file's weights are not those that it was exported with.
    DependencyError
        TensorFlow isn't installed, or doesn't load.
    RuntimeError
        TensorFlow has computed in this process before, with other numbers of threads.
    """

    def __init__(self, *, model: str, layers: list[str], mode: Mode, threads: int) -> None:
        quiet_tensorflow()
        load("tensorflow", "keras")
        import keras
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        metadata = read_metadata(Path(model))
        channels = metadata["layers"][0]["shape"][-1]
        network = load_network(
            Request(weights=model, top=None, channels_divisor=BLOCKS[0][1] // channels)
        )
        if digest(network) != metadata["weights"]["sha256"]:
            raise WeightsError(f"{model}: Keras is not given the weights that were exported")
        self.model = keras.Model(
            network.model.inputs, {name: network.model.output[name] for name in layers}
        )
        self._layers = tuple(layers)
        self._mode, self._threads, self._scaling = mode, threads, network.scaling
        self._pipeline: Any = None
        self._loads: tuple[Sequence[str], int] | None = None
        self._call = _caller(self.model, mode)
        self.facts: dict[str, Any] = {
            "device": "cpu",
            "precision": "fp32",
            "runs_on": f"TensorFlow {tf.__version__}, Keras {keras.__version__}",
            "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
            "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads(),
        }

    def run(self, images: Float32) -> dict[str, Float32]:
        """Run float32 (N, H, W, 3) through the network; one array for each layer comes back."""
        outputs = self._call(images)
        return {name: outputs[name] for name in self._layers}  # Keras and TensorFlow sort them

    def extract(
        self, files: Sequence[str], *, batch_size: int, size: tuple[int, int]
    ) -> Iterator[dict[str, Float32]]:
        """Load JPEG files and run them in batches, in the way that suits the engine's.

        ``predict`` loads the files of a batch one after the other, as scripts do; the others run
        a `tf.data` pipeline, which loads while the network computes. The pixels are the same.
        """
        if self._mode == "predict":
            for start in range(0, len(files), batch_size):
                yield self.run(_load(files[start : start + batch_size], size, self._scaling))
            return
        if self._loads != (files, batch_size):
            self._loads = (files, batch_size)
            self._pipeline = _make_pipeline(files, batch_size, size, self._scaling, self._threads)
        for images in self._pipeline:
            yield self.run(images)


def _load(files: Sequence[str], size: tuple[int, int], scaling: Scaling) -> Float32:
    """Make the network's input of some images, as Keras' documentation does."""
    import keras

    images = [
        keras.utils.img_to_array(keras.utils.load_img(file, target_size=size)) for file in files
    ]
    return scale_as_keras(np.stack(images), scaling)


def _make_pipeline(
    files: Sequence[str], batch_size: int, size: tuple[int, int], scaling: Scaling, threads: int
) -> Any:
    """Make a `tf.data.Dataset` of batches, of the very pixels that `_load` gives."""
    import tensorflow as tf

    def load(file: Any) -> Any:
        # As Pillow decodes; TensorFlow's own choice is the faster and less accurate IFAST.
        pixels = tf.io.decode_jpeg(tf.io.read_file(file), channels=3, dct_method="INTEGER_ACCURATE")
        for axis, wanted in enumerate(size):
            pixels = tf.gather(pixels, _nearest(tf.shape(pixels)[axis], wanted), axis=axis)
        return _scaled(tf.cast(pixels, tf.float32), scaling)

    # In a thread pool of its own: TensorFlow's for several operations has one thread here.
    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    data = tf.data.Dataset.from_tensor_slices([os.fsencode(file) for file in files])
    data = data.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size)
    return data.prefetch(tf.data.AUTOTUNE).with_options(options)


def _scaled(pixels: Any, scaling: Scaling) -> Any:
    """Scale a tensor of pixels, by Keras' own function where it has one."""
    import keras

    if scaling.mode in KERAS_MODES:
        return keras.applications.imagenet_utils.preprocess_input(pixels, mode=scaling.mode)
    ordered = pixels[..., ::-1] if scaling.channel_order == "BGR" else pixels
    return (ordered / scaling.divisor - list(scaling.mean)) / list(scaling.std)


def _nearest(extent: Any, wanted: int) -> Any:
    """Say which rows, or columns, Pillow takes where it resizes to the nearest.

    `tf.image.resize` takes others where the extent is a multiple of 64: Pillow adds up steps, and
    so ends a little below where the middle of a pixel lies on the border between two.
    """
    import tensorflow as tf

    step = tf.cast(extent, tf.float64) / wanted
    middles = tf.cumsum(tf.concat([[step / 2], tf.fill([wanted - 1], step)], axis=0))
    return tf.minimum(tf.cast(middles, tf.int32), extent - 1)


def _caller(model: Any, mode: Mode) -> Callable[[Float32], dict[str, Float32]]:
    import tensorflow as tf

    if mode == "predict":
        return lambda images: model.predict(images, batch_size=len(images), verbose=0)
    function = tf.function(lambda images: model(images, training=False), jit_compile=mode == "jit")

    def call(images: Float32) -> dict[str, Float32]:
        outputs = function(tf.constant(images))
        return {name: output.numpy() for name, output in outputs.items()}

    return call
