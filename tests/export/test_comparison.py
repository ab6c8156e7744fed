from pathlib import Path

import numpy as np
import onnx
import pytest

from sparsefeat_export.comparison import open_session, probe_pixels, summarise
from sparsefeat_export.model_file import read_metadata
from sparsefeat_export.scaling import MODES


def test_the_probe_s_input_follows_its_formula() -> None:
    pixels = probe_pixels(40, 50)
    assert pixels.shape == (1, 40, 50, 3)
    assert pixels.dtype == np.uint8
    for y, x, c in ((0, 0, 0), (1, 2, 2), (39, 49, 1)):
        expected = (37 * y + 61 * x + 89 * c + 3 * y * x + 7 * y * y) % 256
        assert pixels[0, y, x, c] == expected
    np.testing.assert_array_equal(probe_pixels(64, 64)[:, :40, :50], pixels)


def test_a_map_is_summarized_by_corner_maximum_and_mean() -> None:
    activation = np.zeros((2, 3, 10), np.float32)
    activation[0, 0] = [5, -9, 1, 8, 2, 7, -3, 4, 0, 6]
    activation[1, 2] = 100
    summary = summarise(activation)
    assert summary["channels"] == [0, 1, 3, 4, 5, 6, 7, 9]
    assert summary["corner"] == [5, -9, 8, 2, 7, -3, 4, 6]
    assert summary["max"] == [100] * 8
    assert summary["avg"][1] == pytest.approx((-9 + 100) / 6, rel=1e-8)


def test_a_vector_is_summarized_by_its_values() -> None:
    summary = summarise(np.array([1, -2, 0.5], np.float32))
    assert summary == {"channels": [0, 1, 2], "corner": [1, -2, 0.5]}


@pytest.mark.parametrize(
    ("fixture", "sizes"),
    [("vgg16", [(32, 32), (224, 224)]), ("small_vgg16_top", [(224, 224)])],
)
def test_a_model_reproduces_the_values_of_its_probe(
    request: pytest.FixtureRequest, fixture: str, sizes: list[tuple[int, int]]
) -> None:
    path: Path = request.getfixturevalue(fixture)
    metadata = read_metadata(path)
    layers = [layer["name"] for layer in metadata["layers"]]
    names = layers + [f"{one['name']}/pre" for one in metadata["layers"] if one["rectified"]]
    model = onnx.load(path, load_external_data=False)
    inferred = {value.name: value for value in model.graph.value_info}
    model.graph.output.extend(inferred[name] for name in names if name.endswith("/pre"))
    session = open_session(model, path.parent)
    assert [(one["height"], one["width"]) for one in metadata["probe"]] == sizes
    for probe in metadata["probe"]:
        assert list(probe["expected"]) == names
        images = MODES["caffe"].apply(probe_pixels(probe["height"], probe["width"]))
        activations = dict(zip(names, session.run(names, {"images": images}), strict=True))
        for name, summary in probe["expected"].items():
            activation = activations[name][0]
            if name.endswith("/pre") and activation.ndim == 3:
                activation = activation.transpose(1, 2, 0)
            corner = activation[0, 0] if activation.ndim == 3 else activation
            channels = summary["channels"]
            assert channels == sorted(channels)
            assert len(channels) == min(8, corner.size)
            scale = np.abs(corner).max() + 1e-6
            assert np.abs(corner[channels] - summary["corner"]).max() <= 1e-4 * scale, name
            smallest = np.abs(corner[channels]).min()
            assert np.sum(np.abs(corner) > smallest + 1e-4 * scale) < 8
            assert ("avg" in summary) == ("max" in summary) == (activation.ndim == 3)
            if activation.ndim == 3:
                got = activation[..., channels]
                np.testing.assert_allclose(
                    got.mean(axis=(0, 1)), summary["avg"], rtol=1e-3, atol=1e-4 * scale
                )
                np.testing.assert_allclose(
                    got.max(axis=(0, 1)), summary["max"], rtol=1e-3, atol=1e-3
                )
