"""The ways of running the network that can be compared."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from sparsefeat.errors import InputError

KERAS = "sparsefeat_export.keras_engine:KerasEngine"
ORT = "sparsefeat.benchmark.ort_engine:OrtEngine"

ALL = "all"

# With whose answers all others are compared; and where that one can't be had.
REFERENCE = "keras-predict"
FALLBACK = "ort-cpu"


@dataclass(frozen=True, kw_only=True)
class Engine:
    """One way of running the network.

    `build` names what a worker makes of `options`; `label` says in words what it is.
    """

    name: str
    label: str
    framework: Literal["tensorflow", "onnxruntime"]
    precision: Literal["fp32", "bf16", "int8"]
    build: str
    options: dict[str, str] = field(default_factory=dict)


def _keras(name: str, way: str, label: str) -> Engine:
    return Engine(
        name=name,
        label=label,
        framework="tensorflow",
        precision="fp32",
        build=KERAS,
        options={"way": way},
    )


def _ort(name: str, provider: str, precision: Literal["fp32", "bf16", "int8"]) -> Engine:
    titles = {"cpu": "CPU provider", "openvino": "OpenVINO plug-in", "cuda": "CUDA provider"}
    return Engine(
        name=name,
        label=f"ONNX Runtime, {titles[provider]}, {precision}",
        framework="onnxruntime",
        precision=precision,
        build=ORT,
        options={"provider": provider, "precision": precision},
    )


ENGINES = {
    engine.name: engine
    for engine in (
        _keras("keras-predict", "predict", "Keras, model.predict"),
        _keras("tf-function", "function", "TensorFlow, tf.function"),
        _keras("tf-jit", "jit", "TensorFlow, tf.function compiled by XLA"),
        _ort("ort-cpu", "cpu", "fp32"),
        _ort("ort-openvino", "openvino", "fp32"),
        _ort("ort-openvino-bf16", "openvino", "bf16"),
        _ort("ort-cpu-int8", "cpu", "int8"),
        _ort("ort-openvino-int8", "openvino", "int8"),
        _ort("ort-cuda", "cuda", "fp32"),
    )
}


def engine_names(wanted: str | Collection[str]) -> set[str]:
    """Take names apart that are separated by commas, or in a sequence."""
    words = wanted.split(",") if isinstance(wanted, str) else wanted
    return {word.strip() for word in words if word.strip()}


def choose_engines(wanted: str | Collection[str]) -> tuple[Engine, ...]:
    """Resolve names, separated by commas or in a sequence, to engines; `all` means all.

    Raises
    ------
    InputError
        A name is no engine's, or there is none.

    Examples
    --------
    >>> [engine.name for engine in choose_engines("ort-cpu,tf-function")]
    ['tf-function', 'ort-cpu']
    """
    names = engine_names(wanted)
    unknown = sorted(names - {ALL, *ENGINES})
    if unknown or not names:
        raise InputError(
            f"unknown engine {(unknown or [''])[0]!r}, expected some of: "
            f"{', '.join([ALL, *ENGINES])}; separate them by commas"
        )
    return tuple(engine for name, engine in ENGINES.items() if ALL in names or name in names)


def choose_baseline(speeds: Mapping[str, float], asked: str | None) -> str:
    """Take the engine asked for, else TensorFlow's fastest, else the CPU provider, else any.

    Parameters
    ----------
    speeds
        Engines by name, the greatest number the fastest.
    asked
        A name among them, or None.

    Examples
    --------
    >>> choose_baseline({"tf-function": 5.0, "tf-jit": 6.0, "ort-cpu": 7.0}, None)
    'tf-jit'
    """
    if asked is not None:
        return asked
    tensorflow = [name for name in speeds if ENGINES[name].framework == "tensorflow"]
    if tensorflow:
        return max(tensorflow, key=speeds.__getitem__)
    return "ort-cpu" if "ort-cpu" in speeds else next(iter(speeds))
