"""Tests that need an NVIDIA GPU: ``pytest -m gpu``."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from sparsefeat.errors import ProviderError
from sparsefeat.pipeline.extractor import Extractor
from sparsefeat.runtime import CudaOptions

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        "CUDAExecutionProvider" not in onnxruntime.get_available_providers(),
        reason="this onnxruntime has no CUDA provider",
    ),
]


@pytest.mark.parametrize("options", [{}, {"pool": "avg"}, {"size": (160, 160)}])
def test_cuda_computes_float32_in_float32(vgg16: Path, options: dict[str, Any]) -> None:
    images = np.random.default_rng(5).uniform(-120, 150, (5, 160, 160, 3)).astype(np.float32)
    expected = Extractor(vgg16, "pools", **options).run(images)
    extractor = Extractor(vgg16, "pools", provider="cuda", batch_size=2, **options)
    assert extractor.provider == "CUDAExecutionProvider"
    for name, values in extractor.run(images).items():
        error = np.linalg.norm(values - expected[name]) / np.linalg.norm(expected[name])
        assert error < 1e-5, name


def test_auto_chooses_the_gpu(vgg16: Path) -> None:
    assert Extractor(vgg16, provider="auto").provider == "CUDAExecutionProvider"


def test_a_memory_limit_is_obeyed(vgg16: Path) -> None:
    images = np.zeros((32, 512, 512, 3), np.float32)
    limit = CudaOptions(memory_limit=256 << 20)
    with pytest.raises(ProviderError, match=r"CUDAExecutionProvider failed|can't load"):
        Extractor(
            vgg16, "block1_conv1", provider="cuda", provider_options=limit, batch_size=32
        ).run(images)


def test_a_missing_gpu_is_an_error(vgg16: Path) -> None:
    with pytest.raises(ProviderError, match="provider cuda"):
        Extractor(vgg16, provider="cuda", provider_options={"device_id": 99})
