"""Keras' network as it is usually run, to be compared with what was exported."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sparsefeat_export.dependencies import load
from sparsefeat_export.description import digest
from sparsefeat_export.errors import WeightsError
from sparsefeat_export.metadata import read_metadata
from sparsefeat_export.network import load as load_network
from sparsefeat_export.plan import BLOCKS
from sparsefeat_export.quiet import quiet_tensorflow
from sparsefeat_export.request import Request

Float32 = npt.NDArray[np.float32]
Way = Literal["predict", "function", "jit"]


class KerasEngine:
    """Runs the network that a model file was made of, on the processor.

    Parameters
    ----------
    model
        The exported file, from which the weights are taken.
    layers
        Keras' names of the wanted layers; what lies behind the deepest one isn't run.
    way
        ``predict`` calls ``Model.predict``, ``function`` a ``tf.function`` of the model, ``jit``
        one compiled by XLA.
    threads
        For the pool inside an operation; operations are started from one thread, as ONNX Runtime
        starts them: VGG16 is a chain, so that no two can run at the same time.

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

    def __init__(self, *, model: str, layers: list[str], way: Way, threads: int) -> None:
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
        self._call = _caller(self.model, way)
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


def _caller(model: Any, way: Way) -> Callable[[Float32], dict[str, Float32]]:
    import tensorflow as tf

    if way == "predict":
        return lambda images: model.predict(images, batch_size=len(images), verbose=0)
    function = tf.function(lambda images: model(images, training=False), jit_compile=way == "jit")

    def call(images: Float32) -> dict[str, Float32]:
        outputs = function(tf.constant(images))
        return {name: output.numpy() for name, output in outputs.items()}

    return call
