"""Activations of exported models equal those of Keras models that the exporter did not make."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from sparsefeat_export.comparison import open_session
from sparsefeat_export.model_file import read_metadata

Array = npt.NDArray[np.float32]


def run(path: Path, images: Array, extra: list[str] | None = None) -> dict[str, Array]:
    model = onnx.load(path, load_external_data=False)
    inferred = {value.name: value for value in model.graph.value_info}
    model.graph.output.extend(inferred[name] for name in extra or [])
    session = open_session(model, path.parent)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"images": images}), strict=True))


def assert_like_keras(got: dict[str, Array], expected: dict[str, Array]) -> None:
    assert got.keys() == expected.keys()
    for name, activation in expected.items():
        error = np.linalg.norm((got[name] - activation).astype(np.float64))
        assert error <= 1e-5 * np.linalg.norm(activation.astype(np.float64)), name
        agreement = np.mean((got[name] == 0) == (activation == 0))
        assert agreement >= 0.9999, (name, agreement)


@pytest.mark.parametrize("name", ["finetuned", "other_top", "convolutional_top"])
def test_layers_of_finetuned_models_equal_keras(
    keras_files: Path, narrow_export: Callable[[str], Path], name: str
) -> None:
    images = np.load(keras_files / f"{name}-images.npy")
    expected = dict(np.load(keras_files / f"{name}.npz"))
    path = narrow_export(f"{name}.keras")
    got = run(path, images)
    assert list(got) == list(expected)  # in the order of the network
    assert_like_keras(got, expected)


def test_imagenet_convolutions_equal_keras_at_an_odd_size(keras_files: Path, vgg16: Path) -> None:
    images = np.load(keras_files / "real-images.npy")
    assert images.shape == (2, 97, 131, 3)
    assert_like_keras(run(vgg16, images), dict(np.load(keras_files / "real.npz")))


@pytest.mark.parametrize("name", ["finetuned", "other_top", "convolutional_top"])
def test_rectified_pre_activations_equal_the_layers(
    keras_files: Path, narrow_export: Callable[[str], Path], name: str
) -> None:
    path = narrow_export(f"{name}.keras")
    layers = read_metadata(path)["layers"]
    rectified = [layer["name"] for layer in layers if layer["rectified"]]
    extra = [f"{layer}/pre" for layer in rectified]
    got = run(path, np.load(keras_files / f"{name}-images.npy"), extra)
    assert len(rectified) >= 14
    for layer in rectified:
        before = got[f"{layer}/pre"]
        assert (before < 0).any(), layer
        if before.ndim == 4:
            before = before.transpose(0, 2, 3, 1)
        np.testing.assert_array_equal(np.maximum(before, 0), got[layer])
