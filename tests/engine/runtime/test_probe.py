from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from sparsefeat.errors import PrecisionError
from sparsefeat.images import MEAN_BGR, SCALINGS
from sparsefeat.model import ModelFile
from sparsefeat.pipeline.extractor import Extractor
from sparsefeat.runtime.probe import probe_input
from sparsefeat_export.model_file import read_metadata, write_model

Float32 = NDArray[np.float32]


def with_weights(model: Path, folder: Path, edit: Callable[[Float32], Float32]) -> Path:
    """Copy a model with every weight and its digest changed, so that only the probe can tell."""
    data = f"{model.name}.data"
    weights = np.fromfile(model.with_name(data), np.float32)
    edit(weights).astype(np.float32).tofile(folder / data)
    graph = onnx.load(model, load_external_data=False)
    write_model(folder / model.name, graph, read_metadata(model))
    return folder / model.name


def rounded(bits: int) -> Callable[[Float32], Float32]:
    """Round the mantissa to a number of bits: 7 is bfloat16, 10 is TF32."""

    def edit(weights: Float32) -> Float32:
        drop = 23 - bits
        codes = weights.view(np.uint32) + np.uint32(1 << (drop - 1))
        return (codes & np.uint32(~((1 << drop) - 1) & 0xFFFFFFFF)).view(np.float32)

    return edit


def test_the_probe_s_input_follows_its_formula() -> None:
    image = probe_input(40, 33)
    assert image.shape == (1, 40, 33, 3)
    assert image.dtype == np.float32
    for y, x, c in [(0, 0, 0), (39, 32, 2), (17, 5, 1)]:
        level = (37 * y + 61 * x + 89 * c + 3 * y * x + 7 * y * y) % 256
        assert image[0, y, x, 2 - c] == np.float32(level) - np.float32(MEAN_BGR[2 - c])
        raw = probe_input(40, 33, SCALINGS["none"])
        assert raw[0, y, x, c] == level


def test_float32_is_far_within_the_tolerance(vgg16: Path) -> None:
    assert Extractor(vgg16, "all,*/pre").probe_error < 1e-5


@pytest.mark.parametrize("bits", [7, 10])
@pytest.mark.parametrize("layers", ["block1_conv1", "block5_pool"])
def test_arithmetic_of_lower_precision_is_detected(
    vgg16: Path, tmp_path: Path, bits: int, layers: str
) -> None:
    """Rounding only the weights gives a smaller error than such a provider, which rounds more."""
    model = with_weights(vgg16, tmp_path, rounded(bits))
    with pytest.raises(PrecisionError, match="computes in a lower precision"):
        Extractor(model, layers)


@pytest.mark.parametrize(
    "edit",
    [lambda w: w[::-1].copy(), lambda w: w * np.float32(1.001), lambda w: w * np.nan],
    ids=["other", "scaled", "nan"],
)
@pytest.mark.parametrize("options", [{}, {"pool": "max"}, {"pool": "avg"}, {"size": (160, 160)}])
def test_other_weights_are_detected(
    small_vgg16: Path,
    tmp_path: Path,
    edit: Callable[[Float32], Float32],
    options: dict[str, str],
) -> None:
    model = with_weights(small_vgg16, tmp_path, edit)
    with pytest.raises(PrecisionError) as caught:
        Extractor(model, "pools", **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_every_output_has_probe_values(small_vgg16_top: Path) -> None:
    metadata = ModelFile.open(small_vgg16_top).metadata
    names = {layer.name for layer in metadata.layers}
    names |= {f"{layer.name}/pre" for layer in metadata.layers if layer.rectified}
    for probe in metadata.probe:
        assert set(probe.expected) == names
        assert all(np.abs(expected.corner).max() > 0 for expected in probe.expected.values())
