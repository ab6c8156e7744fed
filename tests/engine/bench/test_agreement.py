from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sparsefeat.bench.agreement import compare_answers
from sparsefeat.bench.engines import ENGINES
from sparsefeat.errors import BenchmarkError

KERAS = ENGINES["keras-predict"]


@pytest.fixture
def expected() -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    return np.maximum(rng.normal(size=(2, 4, 4, 8)), 0).astype(np.float32)


def check(
    folder: Path, engine: str, got: NDArray[np.float32], expected: NDArray[np.float32]
) -> tuple[float, float]:
    for name, array in (("ours", got), ("theirs", expected)):
        (folder / name).mkdir()
        np.save(folder / name / "0.npy", array)
    found = compare_answers(
        ENGINES[engine], KERAS, ["block5_pool"], ours=folder / "ours", theirs=folder / "theirs"
    )
    assert found.reference == "keras-predict"
    return found.relative_l2, found.zeros_agree


def test_equal_outputs_agree(tmp_path: Path, expected: NDArray[np.float32]) -> None:
    assert check(tmp_path, "onnxruntime-cpu", expected, expected) == (0.0, 1.0)
    assert check(tmp_path / "ours", "onnxruntime-cpu", 0 * expected, 0 * expected) == (0.0, 1.0)


def test_each_precision_has_its_limit(tmp_path: Path, expected: NDArray[np.float32]) -> None:
    rough = expected * np.float32(1.01)
    error, agreeing = check(tmp_path, "onnxruntime-openvino-bf16", rough, expected)
    assert error == pytest.approx(0.01, rel=1e-4)
    assert agreeing == 1
    for name in ("fp32", "int8"):
        (tmp_path / name).mkdir()
    with pytest.raises(
        BenchmarkError, match=r"onnxruntime-cpu computes block5_pool .*1\.0e-02.*fp32"
    ):
        check(tmp_path / "fp32", "onnxruntime-cpu", rough, expected)
    check(tmp_path / "int8", "onnxruntime-cpu-int8", rough, expected)


def test_wrong_zeros_are_found_even_if_errors_are_small(
    tmp_path: Path, expected: NDArray[np.float32]
) -> None:
    got = expected + np.where(expected == 0, np.float32(1e-7), np.float32(0))
    with pytest.raises(BenchmarkError, match="of the zeros"):
        check(tmp_path, "tf-jit", got, expected)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_nan_and_infinity_are_errors(
    tmp_path: Path, expected: NDArray[np.float32], wrong: float
) -> None:
    got = expected.copy()
    got[0, 0, 0, 0] = wrong
    with pytest.raises(BenchmarkError, match="relative error"):
        check(tmp_path, "onnxruntime-openvino-int8", got, expected)


def test_another_shape_is_an_error(tmp_path: Path, expected: NDArray[np.float32]) -> None:
    with pytest.raises(BenchmarkError, match="shape"):
        check(tmp_path, "onnxruntime-cpu", expected.transpose(0, 3, 1, 2), expected)
