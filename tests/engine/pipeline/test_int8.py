"""Extraction with an int8 model, from quantizing to the store."""

from pathlib import Path

import numpy as np
import pytest

import sparsefeat
import sparsefeat_export
from sparsefeat.bench import compare
from sparsefeat.cli.demo import copy_photographs
from sparsefeat.images import list_images
from sparsefeat.model import Pool


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    copy_photographs(folder)
    return folder


@pytest.fixture(scope="module")
def int8(small_int8: sparsefeat_export.QuantizeResult) -> Path:
    return small_int8.path


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_features_of_an_int8_model_are_stored_and_read(
    int8: Path, small_vgg16: Path, photos: Path, tmp_path: Path, provider: str
) -> None:
    try:
        extractor = sparsefeat.Extractor(int8, "pools,block5_conv3/pre", provider=provider)
    except sparsefeat.ProviderError as exc:
        pytest.skip(str(exc))
    assert extractor.precision == "int8"
    images = list_images([photos])
    sparsefeat.extract(images, tmp_path / "int8", model=extractor)
    _check_codes(sparsefeat.open(tmp_path / "int8"), extractor, photos)
    float32 = sparsefeat.Extractor(small_vgg16, "pools,block5_conv3/pre")
    sparsefeat.extract(images, tmp_path / "fp32", model=float32)
    ours, reference = (sparsefeat.open(tmp_path / name) for name in ("int8", "fp32"))
    for name in ours.layers:
        got, expected = ours[name].to_numpy(), reference[name].to_numpy().astype(np.float64)
        error = np.linalg.norm(got - expected) / np.linalg.norm(expected)
        assert 1e-4 < error < 0.25, "int8 differs from float32, but not by much"
        if not name.endswith("/pre"):
            assert got.min() == 0
    with pytest.raises(sparsefeat.StoreMismatchError, match="precision"):
        sparsefeat.extract(images, tmp_path / "int8", model=float32)


def _check_codes(store: sparsefeat.Store, extractor: sparsefeat.Extractor, photos: Path) -> None:
    """Check that values stored in a byte or two equal the computed ones bit for bit."""
    batches = list(extractor.extract(list_images([photos])))
    for name in store.layers:
        (part,) = store.parts
        stored = part.layers[name]
        computed = np.concatenate([batch.layers[name].data for batch in batches])
        np.testing.assert_array_equal(store[name].to_scipy().data, computed)
        if name.endswith("/pre"):
            assert stored.values is None
            continue
        assert stored.companding == "linear"
        split = name in ("block1_pool", "block5_pool")
        assert stored.dtype == (np.uint16 if split else np.uint8)


POOLINGS: tuple[tuple[Pool, bool], ...] = (("none", True), ("max", True), ("avg", False))


def test_averages_and_pre_activations_have_no_scales(int8: Path) -> None:
    for pool, expected in POOLINGS:
        extractor = sparsefeat.Extractor(int8, "block3_pool,block3_conv1/pre", pool=pool)
        assert list(extractor.channel_scales) == ["block3_pool"] * expected


def test_pooling_and_other_sizes_work(int8: Path) -> None:
    images = np.random.default_rng(0).uniform(-120, 150, (2, 96, 64, 3)).astype(np.float32)
    maps = sparsefeat.Extractor(int8, "pools").run(images)
    pooled = sparsefeat.Extractor(int8, "pools", pool="max").run(images)
    for name, values in maps.items():
        np.testing.assert_allclose(pooled[name], values.max(axis=(1, 2)), rtol=1e-6)


def test_bench_compares_int8_with_float32(int8: Path, small_vgg16: Path) -> None:
    result = compare(
        small_vgg16,
        int8=int8,
        layers="pools",
        engines="onnxruntime-cpu,onnxruntime-cpu-int8",
        baseline="onnxruntime-cpu",
        batch_sizes=[1],
        rounds=1,
    )
    float32, ours = result.rows()
    assert float32.ratio is None
    assert float32.agreement.relative_l2 < 1e-5
    assert result.engines["onnxruntime-cpu-int8"]["precision"] == "int8"
    assert result.settings["int8"] == "int8.onnx"
    assert ours.agreement.reference == "keras-predict"
    assert ours.agreement.relative_l2 > 1e-3
