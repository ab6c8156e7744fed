"""The network run by Keras, by TensorFlow and by ONNX Runtime: images in, numpy arrays out.

All use the same number of threads, and every call pays for copies in and out, as users do.
"""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

import sparsefeat
from sparsefeat.model import ModelFile, choose, cut
from sparsefeat.providers import set_up
from sparsefeat.providers.known import PROVIDERS
from sparsefeat.threads import available_threads
from sparsefeat_export.network import load
from sparsefeat_export.quiet import quiet_tensorflow
from sparsefeat_export.request import Request

Float32 = NDArray[np.float32]
Run = Callable[[Float32], dict[str, Float32]]

SIZE = (224, 224)

# Relative L2 error against float32 on the CPU provider that each may show.
LIMITS: dict[sparsefeat.Precision, float] = {"fp32": 2e-5, "bf16": 3e-2, "int8": 1e-1}

KERAS = ("keras-predict", "tf-function", "tf-function-jit")
ORT: dict[str, tuple[str, sparsefeat.Precision]] = {
    "cpu-fp32": ("cpu", "fp32"),
    "cpu-int8": ("cpu", "int8"),
    "openvino-fp32": ("openvino", "fp32"),
    "openvino-bf16": ("openvino", "bf16"),
    "openvino-int8": ("openvino", "int8"),
}


def precision_of(way: str) -> sparsefeat.Precision:
    """Say what one of `KERAS` or `ORT` computes in."""
    return ORT[way][1] if way in ORT else "fp32"


def check(got: dict[str, Float32], expected: dict[str, Float32], limit: float) -> None:
    """Fail where an output's relative L2 error is above `limit`."""
    assert list(got) == list(expected)
    for name, values in got.items():
        assert values.shape == expected[name].shape
        difference = np.linalg.norm((values - expected[name]).astype(np.float64))
        assert difference <= limit * np.linalg.norm(expected[name]), name


@cache
def tensorflow_with_our_threads() -> Any:
    """Import TensorFlow and give it as many threads as ONNX Runtime gets.

    Raises
    ------
    RuntimeError
        TensorFlow has been at work in this process before, with another number of threads.
    """
    quiet_tensorflow()
    import tensorflow as tf

    threads = available_threads()
    if tf.config.threading.get_intra_op_parallelism_threads() != threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    return tf


@cache
def keras_network(request: Request) -> Any:
    """Load the network with the same weights as the model file that `request` gives."""
    return load(request).model


def keras_model(request: Request, names: Sequence[str]) -> Any:
    """Make a Keras model of the network as far as the layers `names`, its outputs a dict."""
    import keras

    network = keras_network(request)
    return keras.Model(network.inputs, {name: network.output[name] for name in names})


def keras_engine(request: Request, names: Sequence[str], way: str) -> Run:
    """Make one of `KERAS`."""
    tf = tensorflow_with_our_threads()
    model = keras_model(request, names)
    if way == "keras-predict":

        def predict(images: Float32) -> dict[str, Float32]:
            outputs: dict[str, Float32] = model.predict(images, batch_size=len(images), verbose=0)
            return {name: outputs[name] for name in names}

        return predict

    @tf.function(jit_compile=way == "tf-function-jit")  # type: ignore[untyped-decorator]
    def call(images: Any) -> Any:
        return model(images, training=False)

    def run(images: Float32) -> dict[str, Float32]:
        outputs = call(tf.constant(images))
        return {name: outputs[name].numpy() for name in names}

    return run


def bare_session(
    path: Path, names: Sequence[str], way: str
) -> Callable[[Float32], dict[str, Float32]]:
    """Make a plain ONNX Runtime session on the cut graph, set up as sparsefeat sets it up."""
    provider, precision = ORT[way]
    file = ModelFile.open(path)
    wanted = choose(names, file.metadata.layers)
    graph = cut(file, wanted, size=SIZE)
    setup = set_up(PROVIDERS[provider], precision=precision, threads=available_threads())
    setup.settings.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(file.folder)
    )
    session = onnxruntime.InferenceSession(
        graph.model.SerializeToString(), sess_options=setup.settings, providers=setup.providers
    )
    tensors = [graph.tensors[name] for name in wanted]

    def run(images: Float32) -> dict[str, Float32]:
        outputs = session.run(tensors, {file.metadata.input.name: images})
        return dict(zip(wanted, outputs, strict=True))

    return run
