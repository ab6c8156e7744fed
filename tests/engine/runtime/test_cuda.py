from typing import Any

import pytest

from sparsefeat.errors import InputError
from sparsefeat.runtime import CudaOptions


def test_options_are_passed_to_onnxruntime() -> None:
    assert CudaOptions().for_onnxruntime() == {
        "device_id": "0",
        "use_tf32": "0",
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "EXHAUSTIVE",
    }
    told = CudaOptions(device_id=1, memory_limit=1 << 30, conv_search="heuristic").for_onnxruntime()
    assert told["device_id"] == "1"
    assert told["gpu_mem_limit"] == "1073741824"
    assert told["cudnn_conv_algo_search"] == "HEURISTIC"


def test_options_may_be_text() -> None:
    given = {"device_id": "2", "memory_limit": "1000", "conv_search": "default"}
    assert CudaOptions.of(given) == CudaOptions(
        device_id=2, memory_limit=1000, conv_search="default"
    )
    assert eval(repr(CudaOptions(device_id=2))) == CudaOptions(device_id=2)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"device_id": -1}, "device_id is -1"),
        ({"device_id": "first"}, "device_id is 'first'"),
        ({"device_id": True}, "device_id is True"),
        ({"memory_limit": 0}, "memory_limit is 0"),
        ({"memory_limit": 1.5}, "memory_limit is 1.5"),
        ({"conv_search": "EXHAUSTIVE"}, "expected one of: exhaustive"),
        ({"use_tf32": 1}, "unknown cuda option 'use_tf32', expected one of: device_id"),
    ],
)
def test_wrong_options_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        CudaOptions.of(values)
