"""`sparsefeat quantize` prints the measured errors; tests/export runs the whole command."""

import json
from pathlib import Path
from typing import Any

import pytest

import sparsefeat_export

from .test_cli import ok, run

LINE = "quantize vgg16.onnx --calibration images -o int8.onnx --views 12"


@pytest.fixture(autouse=True)
def given(
    small_int8: sparsefeat_export.QuantizeResult, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Give the command a prepared result, and record the arguments of its call."""
    asked: dict[str, Any] = {}

    def quantize(model: str, output: str, **options: Any) -> sparsefeat_export.QuantizeResult:
        asked.update(options, model=model, output=output)
        return small_int8

    monkeypatch.setattr(sparsefeat_export, "quantize", quantize)
    return asked


def test_quantize_prints_a_table_of_layers(
    given: dict[str, Any], small_int8: sparsefeat_export.QuantizeResult, tmp_path: Path
) -> None:
    heading, *lines = ok(LINE, tmp_path).splitlines()
    names = ("model", "output", "calibration", "validation", "views")
    expected = ["vgg16.onnx", "int8.onnx", "images", None, 12]
    assert [given[name] for name in names] == expected
    columns = ["layer", "relative error", "zeros agree", "mean cosine", "lowest", "5 neighbours"]
    assert " ".join(heading.split()) == " ".join(columns)
    rows = [line.split() for line in lines[: len(small_int8.layers)]]
    assert rows[0][0] == "block1_conv1"
    for (name, *cells), layer in zip(rows, small_int8.layers, strict=True):
        assert name == layer.layer
        measured = [layer.relative_l2, layer.agreement, layer.cosine_mean, layer.cosine_min]
        assert [*map(float, cells)] == pytest.approx([*measured, layer.neighbours], rel=0.05)
    said, *files = lines[len(small_int8.layers) :]
    assert said == (
        "measured against float32 on 4 images (12 views) that were not used for calibration"
    )  # every fourth of sixteen
    path = small_int8.path
    for file, line in zip((path, Path(f"{path}.data")), files, strict=True):
        assert line.startswith(f"{file}: ")
        size, unit = line.removeprefix(f"{file}: ").split()
        n_bytes = float(size) * {"B": 1, "kB": 1e3, "MB": 1e6}[unit]
        assert n_bytes == pytest.approx(file.stat().st_size, rel=0.01)


def test_quantize_prints_json(small_int8: sparsefeat_export.QuantizeResult, tmp_path: Path) -> None:
    printed = json.loads(ok(f"{LINE} --json", tmp_path))
    path = small_int8.path
    sizes = {str(file): file.stat().st_size for file in (path, Path(f"{path}.data"))}
    assert printed == {"files": sizes, "quantization": small_int8.metadata["quantization"]}


def test_errors_are_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    (tmp_path / "images").mkdir()
    done = run(LINE, tmp_path)
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "int8.onnx").exists()
