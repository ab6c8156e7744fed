"""Run the original network in Keras, as a baseline for benchmarks of the exported model."""

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
    """Runs the network of a model file in Keras on the CPU.

    Parameters
    ----------
    model
        The exported file; its weights are used.
    layers
        Names of the wanted layers; layers after the deepest one are not computed.
    mode
        ``predict`` calls ``Model.predict``, ``function`` calls the model in a ``tf.function``,
        ``jit`` in a ``tf.function`` compiled by XLA.
    threads
        Number of threads inside an operation, and of threads that load images. Operations run one
        at a time, as in ONNX Runtime: VGG16 is a chain of layers.

    Attributes
    ----------
    model
        The Keras model: images -> {layer: activation}.
    facts
        Versions, device, precision and numbers of threads.

    Raises
    ------
    WeightsError
        The weights that Keras gets are not those that were exported.
    DependencyError
        TensorFlow is not installed or does not load.
    RuntimeError
        TensorFlow has already run in this process with other numbers of threads.
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
            raise WeightsError(
                f"{model}: the weights that Keras gets are not those that were exported; export "
                "the model again"
            )
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
        """Run float32 (N, H, W, 3) through the network; return one array for each layer."""
        outputs = self._call(images)
        return {name: outputs[name] for name in self._layers}  # Keras and TensorFlow sort them

    def extract(
        self, files: Sequence[str], *, batch_size: int, size: tuple[int, int]
    ) -> Iterator[dict[str, Float32]]:
        """Load JPEG files and run them in batches.

        With the mode ``predict``, the files of a batch are loaded one after the other, as scripts
        do. The other modes use a `tf.data` pipeline, which loads while the network computes. The
        pixels are the same.
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
    """Load images and scale them to the network's input, as in Keras' documentation."""
    import keras

    images = [
        keras.utils.img_to_array(keras.utils.load_img(file, target_size=size)) for file in files
    ]
    return scale_as_keras(np.stack(images), scaling)


def _make_pipeline(
    files: Sequence[str], batch_size: int, size: tuple[int, int], scaling: Scaling, threads: int
) -> Any:
    """Make a `tf.data.Dataset` of batches with exactly the pixels of `_load`."""
    import tensorflow as tf

    def load(file: Any) -> Any:
        # As Pillow decodes. TensorFlow's default, IFAST, is faster and less accurate.
        pixels = tf.io.decode_jpeg(tf.io.read_file(file), channels=3, dct_method="INTEGER_ACCURATE")
        for axis, wanted in enumerate(size):
            pixels = tf.gather(pixels, _nearest(tf.shape(pixels)[axis], wanted), axis=axis)
        return _scaled(tf.cast(pixels, tf.float32), scaling)

    # A separate thread pool, because TensorFlow's inter-op pool has only one thread here.
    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    data = tf.data.Dataset.from_tensor_slices([os.fsencode(file) for file in files])
    data = data.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size)
    return data.prefetch(tf.data.AUTOTUNE).with_options(options)


def _scaled(pixels: Any, scaling: Scaling) -> Any:
    """Scale a tensor of pixels, with Keras' function for the modes that it has."""
    import keras

    if scaling.mode in KERAS_MODES:
        return keras.applications.imagenet_utils.preprocess_input(pixels, mode=scaling.mode)
    ordered = pixels[..., ::-1] if scaling.channel_order == "BGR" else pixels
    return (ordered / scaling.divisor - list(scaling.mean)) / list(scaling.std)


def _nearest(extent: Any, wanted: int) -> Any:
    """Return the rows or columns that Pillow picks when it resizes with nearest neighbour.

    For extents that are multiples of 64, `tf.image.resize` picks others: Pillow accumulates the
    step, and rounding then puts some centres just below the border between two pixels.
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
