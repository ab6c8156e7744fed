"""The engines that can be compared."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from sparsefeat.system import check_choice

KERAS = "sparsefeat_export.keras_engine:KerasEngine"
TORCH = "sparsefeat.bench.torch_engine:TorchEngine"
ORT = "sparsefeat.bench.ort_engine:OrtEngine"

ALL = "all"

# The engine whose outputs all others are compared with, and the one used if it isn't available.
REFERENCE = "keras-predict"
FALLBACK = "onnxruntime-cpu"

Framework = Literal["tensorflow", "pytorch", "sparsefeat", "onnxruntime"]
Precision = Literal["fp32", "bf16", "int8"]


@dataclass(frozen=True, kw_only=True)
class Engine:
    """One way of running the network.

    `build` names the class, as ``module:name``, that a worker builds with `options`; `label`
    describes the engine, and `loader` how it turns files into arrays.
    """

    name: str
    label: str
    framework: Framework
    precision: Precision
    loader: str
    build: str
    options: dict[str, str] = field(default_factory=dict)


def _keras(name: str, mode: str, label: str, loader: str) -> Engine:
    return Engine(
        name=name,
        label=label,
        framework="tensorflow",
        precision="fp32",
        loader=loader,
        build=KERAS,
        options={"mode": mode},
    )


def _torch(name: str, mode: str, label: str) -> Engine:
    return Engine(
        name=name,
        label=label,
        framework="pytorch",
        precision="fp32",
        loader="DataLoader, Pillow",
        build=TORCH,
        options={"mode": mode},
    )


def _extractor(
    name: str,
    label: str,
    provider: str,
    precision: Precision,
    *,
    framework: Framework = "onnxruntime",
    convolution: str = "direct",
) -> Engine:
    """Describe an engine that is an `Extractor` with these options."""
    return Engine(
        name=name,
        label=f"{label}, {precision}",
        framework=framework,
        precision=precision,
        loader="Extractor.extract",
        build=ORT,
        options={"provider": provider, "precision": precision, "convolution": convolution},
    )


SCRIPT = "load_img, img_to_array, preprocess_input"
PIPELINE = "tf.data: decode_jpeg, preprocess_input"
CPU = "ONNX Runtime, CPU provider"
OPENVINO = "ONNX Runtime, OpenVINO plug-in"

ENGINES = {
    engine.name: engine
    for engine in (
        _keras("keras-predict", "predict", "Keras, model.predict", SCRIPT),
        _keras("tf-function", "function", "TensorFlow, tf.function", PIPELINE),
        _keras("tf-jit", "jit", "TensorFlow, tf.function compiled by XLA", PIPELINE),
        _torch("torch-eager", "eager", "PyTorch, channels last"),
        _torch("torch-compile", "compile", "PyTorch, channels last, torch.compile"),
        _extractor(
            *("sparsefeat", "sparsefeat, CPU", "cpu", "fp32"),
            framework="sparsefeat",
            convolution="auto",
        ),
        _extractor("onnxruntime-cpu", CPU, "cpu", "fp32"),
        _extractor("onnxruntime-openvino", OPENVINO, "openvino", "fp32"),
        _extractor("onnxruntime-openvino-bf16", OPENVINO, "openvino", "bf16"),
        _extractor("onnxruntime-cpu-int8", CPU, "cpu", "int8"),
        _extractor("onnxruntime-openvino-int8", OPENVINO, "openvino", "int8"),
        _extractor("onnxruntime-cuda", "ONNX Runtime, CUDA provider", "cuda", "fp32"),
    )
}


def engine_names(wanted: str | Collection[str]) -> set[str]:
    """Split names that are separated by commas, or in a sequence."""
    words = wanted.split(",") if isinstance(wanted, str) else wanted
    return {word.strip() for word in words if word.strip()}


def choose_engines(wanted: str | Collection[str]) -> tuple[Engine, ...]:
    """Return the engines with these names, separated by commas or in a sequence, or ``all``.

    Raises
    ------
    InputError
        A name is unknown, or no name was given.

    Examples
    --------
    >>> [engine.name for engine in choose_engines("onnxruntime-cpu,tf-function")]
    ['tf-function', 'onnxruntime-cpu']
    """
    names = engine_names(wanted)
    for name in sorted(names) or [""]:
        check_choice(name, [ALL, *ENGINES], "engine")
    return tuple(engine for name, engine in ENGINES.items() if ALL in names or name in names)


def choose_baseline(speeds: Mapping[str, float], asked: str | None) -> str:
    """Return the engine asked for, else TensorFlow's fastest, else the CPU provider, else any.

    Parameters
    ----------
    speeds
        The speed of each engine, by name; larger is faster.
    asked
        The name of an engine in `speeds`, or None.

    Examples
    --------
    >>> choose_baseline({"tf-function": 5.0, "tf-jit": 6.0, "onnxruntime-cpu": 7.0}, None)
    'tf-jit'
    """
    if asked is not None:
        return asked
    tensorflow = [name for name in speeds if ENGINES[name].framework == "tensorflow"]
    if tensorflow:
        return max(tensorflow, key=speeds.__getitem__)
    return FALLBACK if FALLBACK in speeds else next(iter(speeds))
