"""The graph and its weights are replaced together, whatever kills or refuses the export."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sparsefeat_export.committing import commit, data_path, working_folder
from sparsefeat_export.errors import OutputError, WeightsError

# Kills itself just before its rename number argv[2].
COMMIT = """
import os, signal, sys
from pathlib import Path
from sparsefeat_export.committing import commit, data_path, working_folder

path, left = Path(sys.argv[1]), int(sys.argv[2])

def count(event, _):
    global left
    if event == "os.rename":
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

with working_folder(path) as folder:
    (folder / "graph.onnx").write_text("new")
    (folder / "data").write_text("new")
    sys.addaudithook(count)
    commit(folder / "graph.onnx", folder / "data", path)
"""


def write(path: Path, text: str) -> None:
    with working_folder(path) as folder:
        (folder / "graph.onnx").write_text(text)
        (folder / "data").write_text(text)
        commit(folder / "graph.onnx", folder / "data", path)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_graph_and_weights_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "model.onnx"
    for text in ("first", "second"):
        write(path, text)
        assert path.read_text() == data_path(path).read_text() == text
        assert names(path.parent) == ["model.onnx", "model.onnx.data"]


def test_a_kill_leaves_no_graph_with_other_weights(tmp_path: Path) -> None:
    graphs = []
    for renames in (1, 2, 3, 4):
        path = tmp_path / "model.onnx"
        write(path, "old")
        done = subprocess.run([sys.executable, "-c", COMMIT, path, str(renames)], check=False)
        if path.exists():
            assert path.read_text() == data_path(path).read_text()
            graphs.append(path.read_text())
        assert done.returncode == (-signal.SIGKILL if renames < 4 else 0)
    assert graphs == ["old", "new"]
    assert names(tmp_path) == ["model.onnx", "model.onnx.data"]  # nothing of the killed ones


def test_a_refused_commit_leaves_the_former_model(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("old")
    (data_path(path) / "in the way").mkdir(parents=True)
    with pytest.raises(OutputError, match="cannot write"):
        write(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["model.onnx", "model.onnx.data"]


def test_a_second_export_to_the_same_path_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with working_folder(path) as folder:
        (folder / "mine").write_text("")
        done = subprocess.run(
            [sys.executable, "-c", COMMIT, path, "0"], capture_output=True, text=True, check=False
        )
        assert "OutputError: another process is exporting to" in done.stderr
        assert names(folder) == ["mine"]
        write(tmp_path / "model.onnx-export.onnx", "another")
    write(path, "new")
    assert path.read_text() == "new"


def test_new_folders_are_removed_unless_a_model_is_in_them(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    path = tmp_path / "there" / "new" / "newer" / "model.onnx"
    with pytest.raises(WeightsError), working_folder(path):
        raise WeightsError("none")
    assert names(tmp_path / "there") == []
