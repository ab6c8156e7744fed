"""The OpenVINO provider, from the plug-in onnxruntime-ep-openvino for the stock ONNX Runtime."""

import functools
import json
import threading
from typing import TYPE_CHECKING, Any

from sparsefeat.errors import DependencyError, ProviderError
from sparsefeat.runtime.registry import PROVIDERS, Precision
from sparsefeat.system import describe_exception, importing

if TYPE_CHECKING:
    import onnxruntime

OPENVINO = PROVIDERS["openvino"]

# Without a hint, OpenVINO computes in bfloat16 on every processor that supports it. In an int8
# graph the hint applies to the operators that are not quantized.
HINTS: dict[Precision, str] = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}

_registering = threading.Lock()


def options(precision: Precision, threads: int) -> dict[str, str]:
    """Return the plug-in's options.

    Compiled graphs are not cached, because compiling takes no longer than reading the cache
    (docs/providers.md).

    Examples
    --------
    >>> options("bf16", 2)["load_config"]
    '{"CPU": {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": "2"}}'
    """
    config = {"INFERENCE_PRECISION_HINT": HINTS[precision], "INFERENCE_NUM_THREADS": str(threads)}
    return {"load_config": json.dumps({"CPU": config})}


def device(ort: Any) -> "onnxruntime.OrtEpDevice":
    """Find OpenVINO's CPU device; the first call registers the plug-in.

    Raises
    ------
    ProviderError
        The plug-in is not installed, does not work with this ONNX Runtime, or finds no CPU device.
    """
    with _registering:
        _register(ort)
        found: list[onnxruntime.OrtEpDevice] = [
            device
            for device in ort.get_ep_devices()
            if device.ep_name == OPENVINO.ort_name
            and device.device.type == ort.OrtHardwareDeviceType.CPU
        ]
    if not found:
        raise ProviderError(
            "provider openvino was asked for, but its plug-in does not support this processor (it "
            "supports those of Intel); use --provider cpu"
        )
    return found[0]


@functools.cache  # ONNX Runtime allows only one registration
def _register(ort: Any) -> None:
    try:
        with importing("onnxruntime_ep_openvino", OPENVINO.install):
            import onnxruntime_ep_openvino
    except DependencyError as exc:
        raise ProviderError(f"provider openvino was asked for, but {exc}") from exc
    try:
        ort.register_execution_provider_library(
            "sparsefeat_openvino", onnxruntime_ep_openvino.get_library_path()
        )
    except Exception as exc:  # onnxruntime's exceptions share no other base
        raise ProviderError(
            f"provider openvino was asked for, but ONNX Runtime {ort.__version__} can't load its "
            f"plug-in ({describe_exception(exc)}); install both again: {OPENVINO.install}"
        ) from exc
