"""The notebooks run from top to bottom, and their results are correct."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import onnxruntime
import pytest
from ipykernel.kernelspec import write_kernel_spec
from nbclient import NotebookClient
from PIL import Image

import sparsefeat

from .conftest import EXAMPLES

NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
FIGURE_BYTES = 100_000
NAMES = ["astronaut", "chelsea", "china", "coffee", "flower", "rocket"]

Run = Callable[[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def run_notebook(furnished: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a notebook beside `demo/`; return the value of an expression at its end.

    The kernel is this interpreter, whatever kernels the user has installed.
    """
    jupyter = tmp_path_factory.mktemp("jupyter")
    write_kernel_spec(jupyter / "kernels/python3")
    folder = furnished / "examples"
    folder.mkdir()

    def run(name: str, expression: str) -> dict[str, Any]:
        notebook = nbformat.read(EXAMPLES / name, as_version=4)
        code = f"import json, sys\nprint(json.dumps({{'python': sys.executable, **{expression}}}))"
        notebook.cells.append(nbformat.v4.new_code_cell(code))
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("JUPYTER_PATH", str(jupyter))
            environment.setenv("PYTHONWARNINGS", "default")
            resources = {"metadata": {"path": str(folder)}}
            NotebookClient(notebook, timeout=300, resources=resources).execute()
        (printed,) = (one for one in notebook.cells[-1].outputs if one.output_type == "stream")
        found: dict[str, Any] = json.loads(printed.text)
        assert found.pop("python") == sys.executable
        return found

    return run


@pytest.fixture(scope="module")
def activations(furnished: Path) -> dict[str, list[Any]]:
    """The activations of the six photographs, from ONNX Runtime alone."""
    layers = ["block1_pool", "block3_conv3", "block5_conv3", "block5_pool"]
    session = onnxruntime.InferenceSession(
        furnished / "demo/vgg16.onnx", providers=["CPUExecutionProvider"]
    )
    found: dict[str, list[Any]] = {layer: [] for layer in layers}
    for path in sorted((furnished / "demo/photos").iterdir()):
        image = Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.NEAREST)
        scaled = np.asarray(image)[..., ::-1].astype(np.float32)
        scaled -= np.array([103.939, 116.779, 123.68], np.float32)
        for layer, output in zip(
            layers, session.run(layers, {"images": scaled[None]}), strict=True
        ):
            found[layer].append(output)
    return found


def test_zeros_notebook_counts_the_same_zeros_as_onnxruntime(
    run_notebook: Run, activations: dict[str, list[Any]]
) -> None:
    found = run_notebook(
        "zeros.ipynb",
        "{'shares': shares.to_dict(), 'zeros': zeros, 'not_positive': not_positive,"
        " 'channels': maps.channels.tolist()}",
    )
    assert len(found["shares"]) == 18
    for layer, outputs in activations.items():
        expected = np.mean([np.mean(output == 0) for output in outputs])
        assert found["shares"][layer] == pytest.approx(expected, abs=1e-5)
    for layer in ("block3_conv3", "block5_conv3"):
        expected = np.mean(activations[layer][NAMES.index("chelsea")] == 0)
        assert found["zeros"][layer] == pytest.approx(expected, abs=1e-5)
        assert found["not_positive"][layer] == pytest.approx(expected, abs=1e-5)
    assert len(found["channels"]) == 4


def test_classifier_notebook_beats_chance(run_notebook: Run, furnished: Path) -> None:
    pytest.importorskip("torch")
    found = run_notebook(
        "classifier.ipynb",
        "{'svm': svm_accuracy, 'torch': torch_accuracy, 'classes': data.classes,"
        " 'train': train.tolist(), 'test': test.tolist()}",
    )
    assert found["classes"] == NAMES
    assert min(found["svm"], found["torch"]) > 0.6  # by chance 0.17
    assert not {*found["train"]} & {*found["test"]}

    store = sparsefeat.open(furnished / "demo/crops-features")
    assert sorted(found["train"] + found["test"]) == [*range(144)]
    assert store.obs["label"].value_counts().to_dict() == dict.fromkeys(NAMES, 24)
    splits = store.obs["path"].str.split("/").str[0]
    assert {*splits.iloc[found["train"]]} == {"train"}
    assert {*splits.iloc[found["test"]]} == {"test"}


def test_similar_notebook_finds_versions_of_the_same_photograph(
    run_notebook: Run, activations: dict[str, list[Any]]
) -> None:
    found = run_notebook(
        "similar.ipynb",
        "{'precisions': precisions, 'pooled': pooled_precision, 'names': names,"
        " 'cosines': cosines.tolist(), 'nearest': nearest.tolist()}",
    )
    cosines, photos = np.array(found["cosines"]), [photo for photo, _ in found["names"]]
    rows = np.stack([output.ravel() for output in activations["block5_pool"]]).astype(float)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    expected = rows @ rows.T
    np.fill_diagonal(expected, -1)
    np.testing.assert_allclose(cosines[::4, ::4], expected, atol=1e-5)

    share = np.mean(
        [[photos[k] == photos[i] for k in row] for i, row in enumerate(found["nearest"])]
    )
    assert found["precisions"]["block5_pool"] == pytest.approx(share)
    assert share > 0.6
    assert found["pooled"] >= share > found["precisions"]["block1_pool"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_outputs_come_from_one_complete_run(path: Path) -> None:
    """To run a changed notebook again: `jupyter nbconvert --to notebook --execute --inplace`."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    outputs = [output for cell in cells for output in cell.outputs]
    assert outputs
    for output in outputs:
        assert output.output_type != "error"
        assert output.get("name") != "stderr"
        for kind, content in output.get("data", {}).items():
            assert len(content) < FIGURE_BYTES, kind
    assert str(EXAMPLES.parent) not in path.read_text()
    assert notebook.metadata.kernelspec.name == "python3"


def test_the_readme_lists_all_examples() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    for path in EXAMPLES.iterdir():
        if path.suffix in (".py", ".ipynb"):
            assert f"]({path.name})" in listed, path.name
