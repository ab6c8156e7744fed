import json
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest

from sparsefeat.errors import ProviderError
from sparsefeat.runtime import PROVIDERS, set_up
from sparsefeat.runtime.openvino import device, options

HAS_CUDA = PROVIDERS["cuda"].ort_name in onnxruntime.get_available_providers()


@pytest.mark.skipif(HAS_CUDA, reason="this onnxruntime has CUDA")
def test_cuda_that_is_not_there() -> None:
    with pytest.raises(ProviderError, match=r"has only: cpu.*sparsefeat\[gpu\]") as caught:
        set_up(PROVIDERS["cuda"], precision="fp32", threads=1)
    assert "\n" not in str(caught.value)


def test_a_plugin_that_is_not_there(small_vgg16: Path) -> None:
    """In a process that can't import it, as where it isn't installed."""
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


def test_openvino_is_always_told_its_precision() -> None:
    for precision, hint in {"fp32": "f32", "bf16": "bf16", "int8": "f32"}.items():
        config = json.loads(options(precision, 3)["load_config"])["CPU"]  # type: ignore[arg-type]
        assert config == {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": "3"}


@pytest.mark.openvino
def test_the_plugin_is_registered_once() -> None:
    first, second = device(onnxruntime), device(onnxruntime)
    assert first.ep_name == second.ep_name == PROVIDERS["openvino"].ort_name
    assert first.device.type == onnxruntime.OrtHardwareDeviceType.CPU
