import pytest

from sparsefeat.bench.engines import ENGINES, choose_baseline, choose_engines
from sparsefeat.errors import InputError


def test_all_and_named_engines_are_chosen() -> None:
    assert [one.name for one in choose_engines("all")] == list(ENGINES)
    assert [one.name for one in choose_engines(["onnxruntime-cpu", "keras-predict"])] == [
        "keras-predict",
        "onnxruntime-cpu",
    ]
    assert choose_engines(" onnxruntime-cpu, onnxruntime-cpu,") == (ENGINES["onnxruntime-cpu"],)


@pytest.mark.parametrize("wanted", ["onnxruntime-gpu", "", ",", "onnxruntime-cpu,tf"])
def test_unknown_engines_are_refused_with_the_known_names(wanted: str) -> None:
    with pytest.raises(InputError, match=r"unknown engine .*expected one of: .*tf-jit"):
        choose_engines(wanted)


def test_the_baseline_is_the_requested_engine_or_tensorflow_s_fastest() -> None:
    speeds = {
        "keras-predict": 3.0,
        "tf-jit": 5.0,
        "onnxruntime-cpu": 9.0,
        "onnxruntime-openvino": 9.5,
    }
    assert choose_baseline(speeds, "onnxruntime-openvino") == "onnxruntime-openvino"
    assert choose_baseline(speeds, None) == "tf-jit"
    assert (
        choose_baseline({"onnxruntime-openvino": 9.5, "onnxruntime-cpu": 9.0}, None)
        == "onnxruntime-cpu"
    )
    assert choose_baseline({"onnxruntime-openvino": 9.5}, None) == "onnxruntime-openvino"
