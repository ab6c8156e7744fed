import onnxruntime
import pytest
from onnx import TensorProto, helper

from sparsefeat.errors import ProviderError
from sparsefeat.runtime import PROVIDERS, Setup, check_active, set_up


def graph(op_type: str, domain: str) -> bytes:
    """Write a graph whose middle node is the one asked for."""
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
def test_a_provider_that_takes_all_is_active() -> None:
    for name in ("cpu", "openvino"):
        setup = set_up(PROVIDERS[name], precision="fp32", threads=1)
        check_active(session(setup, graph("Transpose", "")), PROVIDERS[name])


@pytest.mark.openvino
def test_one_that_took_a_part_is_not() -> None:
    """OpenVINO knows no Inverse: ONNX Runtime gives that node to its CPU provider."""
    setup = set_up(PROVIDERS["openvino"], precision="fp32", threads=1)
    partly = session(setup, graph("Inverse", "com.microsoft"))
    assert partly.get_providers()[0] == "OpenVINOExecutionProvider"
    with pytest.raises(ProviderError, match="2 of the graph's 3 nodes and left 1 Inverse to CPU"):
        check_active(partly, PROVIDERS["openvino"])


def test_one_that_was_not_activated_is_not() -> None:
    setup = set_up(PROVIDERS["cpu"], precision="fp32", threads=1)
    on_cpu = session(setup, graph("Transpose", ""))
    with pytest.raises(ProviderError, match=r"activated CPUExecutionProvider.*sparsefeat\[gpu\]"):
        check_active(on_cpu, PROVIDERS["cuda"])
