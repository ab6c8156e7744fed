"""Exports that fail leave no files."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType

import pytest
from PIL import Image

import sparsefeat_export
from sparsefeat_export.errors import (
    ExportError,
    ImagesError,
    OutputError,
    WeightsNotFoundError,
)
from sparsefeat_export.exporter import export
from sparsefeat_export.images import SHIPPED
from sparsefeat_export.model_file import read_metadata

from .conftest import EXPORT_HERE, RunInKeras


def save_twice(folder: Path) -> None:
    """Save the shipped images, and each of them upside down."""
    folder.mkdir()
    for path in SHIPPED.glob("*.jpg"):
        shutil.copy(path, folder)
        with Image.open(path) as image:
            image.transpose(Image.Transpose.ROTATE_180).save(folder / f"again-{path.name}")


DAMAGE = f"""{EXPORT_HERE}
from pathlib import Path
import numpy as np

def damage(line):
    if line.startswith("certifying"):
        (data,) = Path(sys.argv[1]).glob("new/folder/.model.onnx-*/model.onnx.data")
        values = np.memmap(data, dtype="<f4", mode="r+")
        values[5] += 0.01  # in block1_conv1/kernel
        values.flush()

output = Path(sys.argv[1], "new/folder/model.onnx")
try:
    exporter.export(output, weights="random:0", top=False, channels_divisor=16, log=damage)
except sparsefeat_export.CertificateError as exc:
    print(exc)
"""


def test_a_wrong_weight_is_caught_and_nothing_is_written(
    run_in_keras: RunInKeras, tmp_path: Path
) -> None:
    """The data file is damaged between conversion and certification, as if by a faulty disk."""
    done = run_in_keras(DAMAGE, tmp_path)
    assert re.match(r"layer 'block1_conv1'.*relative L2.*nothing was written", done.stdout), done
    assert list(tmp_path.iterdir()) == []


SWAP = f"""{EXPORT_HERE}
from pathlib import Path
import h5py

def swap(line):
    print(line)
    if line.startswith("certifying"):
        with h5py.File(weights, "r+") as file:
            file["block1_conv1/block1_conv1/bias:0"][0] += 0.5

folder = Path(sys.argv[1])
weights = folder / "weights.h5"
try:
    exporter.export(
        folder / "vgg16.onnx",
        weights=weights,
        images=folder / "photos",
        scaling="caffe",
        channels_divisor=16,
        log=swap,
    )
except sparsefeat_export.WeightsError as exc:
    print(exc)
"""


def test_weights_that_change_during_the_export_are_noticed(
    keras_files: Path, small_vgg16: Path, run_in_keras: RunInKeras, tmp_path: Path
) -> None:
    """With more images than one block, the network is loaded again and the change is found.

    Before that, the log says what the export assumed about the file of weights. The model that is
    there already stays as it was.
    """
    shutil.copy(keras_files / "keras2.h5", tmp_path / "weights.h5")
    save_twice(tmp_path / "photos")
    former = [small_vgg16, small_vgg16.with_name(f"{small_vgg16.name}.data")]
    for path in former:
        shutil.copy(path, tmp_path)
    *said, error = run_in_keras(SWAP, tmp_path).stdout.splitlines()
    assert error == "weights.h5 changed while it was exported: start again"
    for path in former:
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {
        "photos", "weights.h5", "vgg16.onnx", "vgg16.onnx.data",
    }  # fmt: skip
    (assumption,) = [line for line in said if line.startswith("weights.h5 records neither")]
    assert "64 x 64 pixels" in assumption
    assert "softmax" in assumption


def test_the_certificate_covers_several_blocks_of_photographs(
    keras_files: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Packages that Keras imports if they are installed are not imported: here they would fail."""
    photos, broken = tmp_path / "photos", tmp_path_factory.mktemp("broken")
    save_twice(photos)
    for name in ("matplotlib", "pandas", "sklearn"):
        (broken / f"{name}.py").write_text("raise RuntimeError('it is not needed')")
    monkeypatch.setenv("PYTHONPATH", str(broken), prepend=os.pathsep)
    result = export(
        tmp_path / "model.onnx",
        weights=keras_files / "keras2.h5",
        images=photos,
        scaling="caffe",
        channels_divisor=16,
    )
    assert len(result.certificate.images) == 2 * len(list(SHIPPED.glob("*.jpg")))
    assert result.path == tmp_path / "model.onnx"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "model.onnx",
        "model.onnx.data",
        "photos",
    ]


def test_a_full_disk_is_reported_in_one_line(tmp_path: Path) -> None:
    """Simulated by a limit on the size of files, which the data file exceeds."""
    code = (
        "import resource, sys, sparsefeat_export; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); "
        "sparsefeat_export.export(sys.argv[1], weights='random:0', channels_divisor=16)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "new" / "model.onnx"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "OutputError: convert cannot work in" in done.stderr.splitlines()[-1]
    assert "File too large" in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_wrong_arguments_are_refused_without_loading_keras(
    tmp_path: Path, small_vgg16: Path
) -> None:
    with pytest.raises(OutputError, match="does not end in"):
        export(tmp_path / "model.pb")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        export(tmp_path / "folder.onnx")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        export(tmp_path / "file" / "model.onnx")
    with pytest.raises(OutputError, match="that the weights are read from"):
        export(small_vgg16, weights=small_vgg16)
    with pytest.raises(ExportError, match="channels_divisor is 3"):
        export(tmp_path / "model.onnx", channels_divisor=3)
    with pytest.raises(ExportError, match=r"scaling is 'vgg', expected one of: caffe, tf, torch"):
        export(tmp_path / "model.onnx", scaling="vgg")
    with pytest.raises(WeightsNotFoundError):
        export(tmp_path / "model.onnx", weights="gone.keras")
    with pytest.raises(ImagesError):
        export(tmp_path / "model.onnx", images=tmp_path / "folder.onnx")
    with pytest.raises(ImagesError, match="got '' for the folder of images"):
        export(tmp_path / "model.onnx", images="")


def test_importing_loads_no_tensorflow() -> None:
    code = (
        "import sys, sparsefeat_export; "
        "print(*{'keras', 'tensorflow', 'tf2onnx', 'onnxruntime'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.strip() == b""


def test_all_lists_every_public_name() -> None:
    public = {
        name
        for name in vars(sparsefeat_export)
        if isinstance(getattr(sparsefeat_export, name), type | FunctionType)
    }
    assert set(sparsefeat_export.__all__) == public
    assert "export" in public


def test_a_model_in_memory_is_exported(narrow_export: Callable[[str], Path]) -> None:
    output = narrow_export("finetuned.keras")
    warnings = (output.parents[1] / "warned").read_text().splitlines()
    (warned,) = [line for line in warnings if "Warning" in line]
    assert re.match("<string>:[0-9]+: AssumedScalingWarning: ", warned)  # where it was called
    assert "assuming --scaling caffe" in warned
    assert read_metadata(output)["layers"][-1]["shape"] == [7]
    assert sorted(path.name for path in output.parent.iterdir()) == [
        "model.onnx",
        "model.onnx.data",
    ]
