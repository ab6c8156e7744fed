"""Exports that fail leave no files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest
from PIL import Image

import sparsefeat_export
from sparsefeat_export.errors import (
    CertificateError,
    ExportError,
    ImagesError,
    OutputError,
    WeightsError,
    WeightsNotFoundError,
)
from sparsefeat_export.exporter import export
from sparsefeat_export.images import SHIPPED
from sparsefeat_export.model_file import read_metadata


def save_twice(folder: Path) -> None:
    """Save the shipped images, and each of them upside down."""
    folder.mkdir()
    for path in SHIPPED.glob("*.jpg"):
        shutil.copy(path, folder)
        with Image.open(path) as image:
            image.transpose(Image.Transpose.ROTATE_180).save(folder / f"again-{path.name}")


def test_a_wrong_weight_is_caught_and_nothing_is_written(tmp_path: Path) -> None:
    """The data file is damaged between conversion and certification, as if by a faulty disk."""
    output = tmp_path / "new" / "folder" / "model.onnx"

    def damage(line: str) -> None:
        if line.startswith("certifying"):
            (data,) = tmp_path.glob("new/folder/.model.onnx-*/model.onnx.data")
            values = np.memmap(data, dtype="<f4", mode="r+")
            values[5] += 0.01  # in block1_conv1/kernel
            values.flush()

    with pytest.raises(CertificateError, match=r"'block1_conv1'.*relative L2.*nothing was written"):
        export(output, weights="random:0", top=False, channels_divisor=16, log=damage)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_does_not_change_the_former_one(
    small_vgg16: Path, keras_files: Path, tmp_path: Path
) -> None:
    output = tmp_path / "vgg16.onnx"
    for name in ("vgg16.onnx", "vgg16.onnx.data"):
        shutil.copy(small_vgg16.with_name(name), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(WeightsError, match="block1_conv1"):
        export(output, weights=keras_files / "keras2.h5")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_weights_that_change_during_the_export_are_noticed(
    keras_files: Path, tmp_path: Path
) -> None:
    """With more images than one block, the network is loaded again and the change is found.

    Before that, the log says what the export assumed about the file of weights.
    """
    said: list[str] = []
    weights, photos = tmp_path / "weights.h5", tmp_path / "photos"
    shutil.copy(keras_files / "keras2.h5", weights)
    save_twice(photos)

    def swap(line: str) -> None:
        said.append(line)
        if line.startswith("certifying"):
            import h5py

            with h5py.File(weights, "r+") as file:
                file["block1_conv1/block1_conv1/bias:0"][0] += 0.5

    with pytest.raises(WeightsError, match=r"weights\.h5 changed while it was exported"):
        export(
            tmp_path / "model.onnx",
            weights=weights,
            images=photos,
            scaling="caffe",
            channels_divisor=16,
            log=swap,
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "weights.h5"]
    (assumption,) = [line for line in said if line.startswith("weights.h5 records neither")]
    assert "64 x 64 pixels" in assumption
    assert "softmax" in assumption


def test_the_certificate_covers_several_blocks_of_photographs(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packages that Keras imports if they are installed are not imported: here they would fail."""
    photos, broken = tmp_path / "photos", tmp_path_factory.mktemp("broken")
    save_twice(photos)
    for name in ("matplotlib", "pandas", "sklearn"):
        (broken / f"{name}.py").write_text("raise RuntimeError('it is not needed')")
    monkeypatch.setenv("PYTHONPATH", str(broken), prepend=os.pathsep)
    result = export(
        tmp_path / "model.onnx", weights="random:1", top=False, images=photos, channels_divisor=32
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


def test_a_model_in_memory_is_exported(tmp_path: Path) -> None:
    """Runs in a separate process, because this one must not load TensorFlow."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import keras_models, sparsefeat_export; "
        "sparsefeat_export.export(sys.argv[2], weights=keras_models.finetuned(classes=3), "
        "channels_divisor=16)"
    )
    output = tmp_path / "model.onnx"
    done = subprocess.run(
        [sys.executable, "-c", code, Path(__file__).parent, output],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (warned,) = [line for line in done.stderr.splitlines() if "Warning" in line]
    assert warned.startswith("<string>:1: AssumedScalingWarning: ")
    assert "assuming --scaling caffe" in warned
    assert read_metadata(output)["layers"][-1]["shape"] == [3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
