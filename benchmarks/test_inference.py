"""The network alone, on ready arrays: images/s by provider, precision, outputs and batch size."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture
from skimage import data

import sparsefeat

# Relative L2 error against float32 on the CPU provider that each may show.
WAYS = {
    ("cpu", "fp32"): 0.0,
    ("openvino", "fp32"): 1e-5,
    ("openvino", "bf16"): 2e-2,
}


@pytest.fixture(scope="module")
def images() -> NDArray[np.float32]:
    """Crops of a photograph, float32 (32, 224, 224, 3)."""
    rng = np.random.default_rng(0)
    picture = data.astronaut()
    corners = rng.integers(0, 512 - 224, (32, 2))
    crops = np.stack([picture[y : y + 224, x : x + 224] for y, x in corners])
    return sparsefeat.normalize(crops)


@pytest.mark.parametrize("batch_size", [1, 8, 32])
@pytest.mark.parametrize("layers", ["block5_pool", "pools"])
@pytest.mark.parametrize(("provider", "precision"), WAYS)
def test_run(
    benchmark: BenchmarkFixture,
    vgg16: Path,
    images: NDArray[np.float32],
    provider: str,
    precision: sparsefeat.Precision,
    layers: str,
    batch_size: int,
) -> None:
    if not benchmark.enabled and (batch_size > 1 or layers == "pools"):
        pytest.skip("one of each kind is enough for a test: make bench runs all")
    batch = images[:batch_size]
    try:
        extractor = sparsefeat.Extractor(
            vgg16, layers, provider=provider, precision=precision, batch_size=batch_size
        )
    except sparsefeat.ProviderError as exc:
        pytest.skip(str(exc))
    reference = sparsefeat.Extractor(vgg16, layers).run(batch)
    for name, values in extractor.run(batch).items():
        difference = np.linalg.norm((values - reference[name]).astype(np.float64))
        assert difference <= WAYS[provider, precision] * np.linalg.norm(reference[name])
    benchmark(extractor.run, batch)
    benchmark.extra_info["probe_error"] = extractor.probe_error
    if benchmark.stats is not None:
        benchmark.extra_info["images_per_second"] = batch_size / benchmark.stats.stats.median
