import json
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest
from onnx import TensorProto, helper

from sparsefeat.errors import ProviderError
from sparsefeat.runtime import PROVIDERS, Setup, check_active, configure_session
from sparsefeat.runtime.openvino import device, options

HAS_CUDA = PROVIDERS["cuda"].ort_name in onnxruntime.get_available_providers()


@pytest.mark.skipif(HAS_CUDA, reason="this onnxruntime has CUDA")
def test_missing_cuda_is_an_error() -> None:
    with pytest.raises(ProviderError, match=r"has only: cpu.*sparsefeat\[gpu\]") as caught:
        configure_session(PROVIDERS["cuda"], precision="fp32", threads=1)
    assert "\n" not in str(caught.value)


def test_a_missing_plugin_is_an_error(small_vgg16: Path) -> None:
    """In a process that can't import the plug-in, as if it wasn't installed."""
    program = (
        "import sys; sys.modules['onnxruntime_ep_openvino'] = None\n"
        "import sparsefeat\n"
        f"try: sparsefeat.Extractor({str(small_vgg16)!r}, provider='openvino')\n"
        "except sparsefeat.ProviderError as exc: print(exc)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("\n") == 1
    assert "pip install 'sparsefeat[cpu,fast]'" in done.stdout


def test_openvino_s_precision_is_always_set() -> None:
    for precision, hint in {"fp32": "f32", "bf16": "bf16", "int8": "f32"}.items():
        config = json.loads(options(precision, 3)["load_config"])["CPU"]  # type: ignore[arg-type]
        assert config == {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": "3"}


@pytest.mark.openvino
def test_the_plugin_is_registered_once() -> None:
    first, second = device(onnxruntime), device(onnxruntime)
    assert first.ep_name == second.ep_name == PROVIDERS["openvino"].ort_name
    assert first.device.type == onnxruntime.OrtHardwareDeviceType.CPU


def graph(op_type: str, domain: str) -> bytes:
    """Write a graph with a given node in the middle."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node(op_type, ["a"], ["b"], domain=domain),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 4]) for name in ("x", "y")
    ]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(
        helper.make_graph(nodes, "three", tensors[:1], tensors[1:]),
        opset_imports=opsets,
        ir_version=9,
    )
    return bytes(model.SerializeToString())


def session(setup: Setup, model: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(
        model, sess_options=setup.settings, providers=setup.providers
    )


@pytest.mark.openvino
def test_a_provider_that_runs_all_nodes_is_accepted() -> None:
    for name in ("cpu", "openvino"):
        setup = configure_session(PROVIDERS[name], precision="fp32", threads=1)
        check_active(session(setup, graph("Transpose", "")), PROVIDERS[name])


@pytest.mark.openvino
def test_a_provider_that_runs_only_some_nodes_is_refused() -> None:
    """OpenVINO has no Inverse, so ONNX Runtime runs that node on its CPU provider."""
    setup = configure_session(PROVIDERS["openvino"], precision="fp32", threads=1)
    partly = session(setup, graph("Inverse", "com.microsoft"))
    assert partly.get_providers()[0] == "OpenVINOExecutionProvider"
    with pytest.raises(ProviderError, match="2 of the graph's 3 nodes and left 1 Inverse to CPU"):
        check_active(partly, PROVIDERS["openvino"])


def test_a_provider_that_was_not_activated_is_refused() -> None:
    setup = configure_session(PROVIDERS["cpu"], precision="fp32", threads=1)
    on_cpu = session(setup, graph("Transpose", ""))
    with pytest.raises(ProviderError, match=r"activated CPUExecutionProvider.*sparsefeat\[gpu\]"):
        check_active(on_cpu, PROVIDERS["cuda"])
