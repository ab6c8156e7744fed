"""All commands treat names of output files in the same way."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from ..command import assert_one_line, run
from ..store.data import make_batch, write_store

# Keras can't compute this layer, so it isn't started to compare outputs.
BENCH = (
    "bench --engines onnxruntime-cpu --layers block5_conv3/pre --batch-sizes 1 --rounds 1 "
    "--size 32x32 --threads 1"
)
# By option: the command, which ends with the option, and a valid name for its output.
OUTPUTS = {
    "report": ("report store -o", "page.html"),
    "maps, page": ("maps photos/a.png -l block5_pool --size 32x32 -o", "maps.html"),
    "maps, image": ("maps photos/a.png -l block5_pool --size 32x32 -o", "maps.png"),
    "bench, page": (
        f"{BENCH} --html",
        "bench.html",
    ),
    "bench, JSON": (
        f"{BENCH} --json",
        "bench.json",
    ),
    "sparsity": ("sparsity store --csv", "zeros.csv"),
    "h5ad": ("convert store --force -o", "all.h5ad"),
    "parquet": ("convert store --force -o", "all.parquet"),
    "npz": ("convert store --force -l block5_pool -o", "one.npz"),
}
OTHERS = {
    "npz folder": ("convert store --to npz --force -o", "all"),
    "extract": ("extract photos -o", "new"),
    "merge": ("merge store -o", "new"),
    "demo": ("demo -o", "new"),
    "export": ("export -o", "new.onnx"),
    "quantize": ("quantize MODEL --calibration photos -o", "new.onnx"),
}
TEXTS = ("report", "maps, page", "bench, page", "bench, JSON", "sparsity")
# A benchmark takes seconds, and treats names as the other commands do.
QUICK = [name for name in OUTPUTS if not name.startswith("bench")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_store(tmp_path / "store", [make_batch(range(3))])
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (40, 40), "red").save(tmp_path / "photos/a.png")
    return tmp_path


LIMITED = """
import resource, sys
limit = int(sys.argv.pop(1))
sys.dont_write_bytecode = True
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from sparsefeat.cli import main
main(sys.argv[1:], prog_name="sparsefeat")
"""


def limited(folder: Path, line: str, output: str, model: Path, limit: int) -> tuple[int, str]:
    """Run a command that can't write files of more than `limit` bytes.

    Returns its exit code and standard error. HDF5 gets a process of its own, because a failed write
    may break the process.
    """
    words, env = [*line.split(), output], {"SPARSEFEAT_MODEL": str(model)}
    if output.endswith(".h5ad"):
        process = subprocess.run(
            [sys.executable, "-c", LIMITED, str(limit), *words],
            cwd=folder,
            env=os.environ | env,
            capture_output=True,
            text=True,
            check=False,
        )
        return process.returncode, process.stderr
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        done = run(folder, *words, env=env)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    return done.exit_code, done.stderr


@pytest.mark.parametrize("name", QUICK)
def test_a_full_disk_does_not_change_the_old_file(
    folder: Path, small_vgg16: Path, name: str
) -> None:
    line, output = OUTPUTS[name]
    # Compiles the kernels and loads packages, because writing caches would be refused first.
    run(folder, *line.split(), output, env={"SPARSEFEAT_MODEL": str(small_vgg16)})
    (folder / output).write_text("good")
    before = set(folder.iterdir())
    exit_code, errors = limited(folder, line, output, small_vgg16, 400)
    assert exit_code == 2, errors
    (said,) = [line for line in errors.splitlines() if line.startswith("Error: ")]
    assert said == (
        f"Error: can't write {output!r} (File too large), expected a file that may be written, in "
        "a folder that may be written to and has room: make room, or name another one"
    )
    assert "Traceback" not in errors
    assert (folder / output).read_text() == "good"
    assert set(folder.iterdir()) == before


@pytest.mark.parametrize("name", [*QUICK, "bench, page"])
def test_a_good_file_is_replaced_with_its_permissions(
    folder: Path, small_vgg16: Path, name: str
) -> None:
    line, output = OUTPUTS[name]
    (folder / "there").mkdir()
    (folder / "there" / output).write_text("good")
    (folder / "there" / output).chmod(0o604)
    (folder / output).symlink_to(f"there/{output}")
    done = run(folder, *line.split(), output, env={"SPARSEFEAT_MODEL": str(small_vgg16)})
    assert done.exit_code == 0, done.stderr
    assert (folder / output).is_symlink()
    assert (folder / "there" / output).stat().st_mode & 0o777 == 0o604
    assert (folder / "there" / output).stat().st_size > 10
    assert [entry.name for entry in (folder / "there").iterdir()] == [output]


@pytest.mark.parametrize("name", [*OUTPUTS, *OTHERS])
def test_invalid_names_of_outputs_are_refused(folder: Path, small_vgg16: Path, name: str) -> None:
    line, output = (OUTPUTS | OTHERS)[name]
    words = line.replace("MODEL", str(small_vgg16)).split()
    before = set(folder.rglob("*"))
    wrong = ["", " "]
    if name not in TEXTS:
        wrong += ["-"] * (name != "maps, image")
    if name in OUTPUTS or output.endswith(".onnx"):
        wrong += ["name.docx", "name", "photos", f"photos/a.png/{output}"]
    for each in wrong:
        done = run(folder, *words, each, env={"SPARSEFEAT_MODEL": str(small_vgg16)})
        assert_one_line(done)
        said = done.stderr.splitlines()[-1]
        assert (f"{each}'" if each.strip(" -") else line.split()[-1]) in said
        assert set(folder.rglob("*")) == before


@pytest.mark.parametrize("name", QUICK)
def test_capital_endings_and_missing_folders_are_accepted(
    folder: Path, small_vgg16: Path, name: str
) -> None:
    line, output = OUTPUTS[name]
    path = f"new/newer/{output.upper()}"
    done = run(folder, *line.split(), path, env={"SPARSEFEAT_MODEL": str(small_vgg16)})
    assert done.exit_code == 0, done.stderr
    assert (folder / path).stat().st_size > 10


@pytest.mark.parametrize("name", [name for name in TEXTS if name in QUICK])
def test_a_device_may_have_any_name(folder: Path, small_vgg16: Path, name: str) -> None:
    line, _ = OUTPUTS[name]
    done = run(folder, *line.split(), "/dev/null", env={"SPARSEFEAT_MODEL": str(small_vgg16)})
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize("name", [name for name in TEXTS if name != "bench, page"])
def test_a_dash_means_standard_output_without_other_text(
    folder: Path, small_vgg16: Path, name: str
) -> None:
    line, output = OUTPUTS[name]
    done = run(folder, *line.split(), "-", env={"SPARSEFEAT_MODEL": str(small_vgg16)})
    assert done.exit_code == 0, done.stderr
    assert not (folder / "-").exists()
    if output.endswith(".html"):
        assert done.stdout.startswith("<!DOCTYPE html>")
        assert done.stdout.rstrip().endswith("</html>")
    elif output.endswith(".json"):
        assert json.loads(done.stdout)["measurements"]
    else:
        assert done.stdout.startswith("layer,")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("sparsity store --size 32x32", "--size: a store's features are computed"),
        ("sparsity store --preprocess crop", "--preprocess: a store's features are computed"),
        ("sparsity store -m vgg16.onnx", "--model: a store's features are computed"),
        ("sparsity store --flatness --by channel", "--by channel shows no flatness"),
        ("sparsity store --images photos --by label", "leave --images out"),
        ("extract photos -o new --root photos", "--root is for single files"),
        ("extract photos/a.png -o new --root nowhere", "'nowhere' as root"),
        ("extract photos/a.png -o new --root photos/a.png", "as root"),
        ("extract photos/a.png -o new --root ''", "the root of images"),
        ("bench --rounds 3 --seconds 3", "--rounds: --seconds"),
        ("bench --int8 MODEL --engines onnxruntime-cpu", "got an int8 model, but no engine among"),
        ("bench --json - --html -", "both print"),
        ("report store -o - --json", "both print"),
        ("maps photos/a.png -l block5_pool --reference photos", "selectivity"),
    ],
)
def test_options_without_effect_are_errors(
    folder: Path, small_vgg16: Path, line: str, says: str
) -> None:
    words = [word.strip("'") for word in line.replace("MODEL", str(small_vgg16)).split()]
    done = run(folder, *words, env={"SPARSEFEAT_MODEL": str(small_vgg16)})
    assert_one_line(done)
    assert says in done.stderr
    assert not (folder / "new").exists()
