import json
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from PIL import Image
from skimage import data

from sparsefeat.cli.main import COMMANDS, GROUPS

from .. import command
from ..model.test_file import change_metadata
from ..store.data import part_folders


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("coffee", "rocket"):
        Image.fromarray(getattr(data, name)()).save(folder / f"{name}.jpg")
    return folder


def run(line: str, cwd: Path, **options: Any) -> Result:
    return command.run(cwd, *shlex.split(line), **options)


def ok(line: str, cwd: Path, **options: Any) -> str:
    done = run(line, cwd, **options)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def process(
    line: str, cwd: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in a new process, as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "sparsefeat", *shlex.split(line)],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def store(small_vgg16: Path, photos: Path) -> Path:
    ok(f"extract photos -o features -m {small_vgg16} -l pools --size 64x64", photos.parent)
    return photos.parent / "features"


def test_every_command_has_help_with_examples(tmp_path: Path) -> None:
    text = ok("--help", tmp_path)
    headings = re.findall(r"^(?!Usage|Options|Exit)([A-Z][\w ]+):$", text, re.MULTILINE)
    assert headings == list(GROUPS)
    for heading, commands in GROUPS.items():
        section = text.split(f"\n{heading}:\n")[1].split("\n\n")[0]
        assert re.findall(r"^  (\w+) {2,}\w", section, re.MULTILINE) == list(commands)
    for name in COMMANDS:
        text = ok(f"{name} --help", tmp_path)
        assert text.startswith(f"Usage: sparsefeat {name}")
        assert name == "demo" or f"sparsefeat {name}" in text.split("Examples:")[1]
    assert "Exit codes:" in ok("-h", tmp_path)
    assert re.search(r"\d+\.\d+\.\d+", ok("--version", tmp_path))


@pytest.mark.parametrize("name", COMMANDS)
def test_wrong_usage_is_reported_in_one_line(tmp_path: Path, name: str) -> None:
    done = run(f"{name} --unheard-of", tmp_path)
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert re.match(r"Error: No such option:? '?--unheard-of'?", line)
    assert line.endswith(f" (see sparsefeat {name} --help)")


def test_extract_info_and_verify_agree(store: Path) -> None:
    folder = store.parent
    said = ok("info features", folder)
    assert re.search(r"features: 2 rows, 0 rejected, 1 part, ", said)
    assert re.search(r"block5_pool +2x2x32 +[\d.]+ % ", said)
    facts = json.loads(ok("info features --json", folder))
    assert facts["rows"] == 2
    assert list(facts["layers"]) == [f"block{n}_pool" for n in range(1, 6)]
    assert ok("verify features --source photos", folder).startswith("features: undamaged; 2 rows")
    assert json.loads(ok("verify features --json", folder))["ok"]


def test_info_describes_a_model(small_vgg16: Path, tmp_path: Path) -> None:
    said = ok(f"info {small_vgg16}", tmp_path)
    assert "images of any size" in said
    assert "block5_conv3/pre" in said
    assert json.loads(ok(f"info {small_vgg16} --json", tmp_path))["format"] == 1


def test_values_of_fewer_bits_are_stored_with_their_error(small_vgg16: Path, photos: Path) -> None:
    line = f"extract photos -o small -m {small_vgg16} -l pools --size 64x64 --values BFloat16"
    said = ok(line, photos.parent)
    assert "stored as bits:7" in said
    assert said.count("1.00000") + said.count("0.99999") == 10
    facts = json.loads(ok("info small --json", photos.parent))
    assert facts["values"] == "bits:7"
    for layer in facts["layers"].values():
        assert layer["values"] == "bits:7"
        assert 0 < layer["loss"]["relative_l2"] < 4e-3
        assert f"{layer['loss']['relative_l2']:.1e}" in said
    assert "worst error" in ok("info small", photos.parent)
    assert "small: undamaged; " in ok("verify small", photos.parent)
    mismatch = run(line.replace("BFloat16", "FLOAT16"), photos.parent)
    assert mismatch.exit_code == 2
    assert "values: got 'float16', expected 'bits:7'" in mismatch.stderr


def test_extract_prints_json(small_vgg16: Path, photos: Path) -> None:
    (photos / "notes.jpg").write_text("no")
    words = "--provider CPU --preprocess KERAS --pool None --convolution Auto"
    line = f"extract photos -o features -m {small_vgg16} --size 64x64 {words} --json"
    outcome = json.loads(ok(line, photos.parent))
    assert (outcome["rows"], outcome["rejected"], outcome["total"]) == (2, 1, 3)


def test_lists_and_patterns_name_images(small_vgg16: Path, photos: Path) -> None:
    folder = photos.parent
    common = f"-m {small_vgg16} --size 64x64"
    listing = "photos/rocket.jpg\nphotos/gone.jpg\n"
    done = run(f"extract --files-from - -o listed {common}", folder, stdin=listing)
    assert done.exit_code == 1
    assert "1 row added, 0 rejected, 1 could not be read this time" in done.stdout
    assert "could not be read: photos/gone.jpg: no such file" in done.stderr
    assert "1 row added" in ok(f"extract 'photos/c*.jpg' -o matched {common}", folder)
    assert "1 row added" in ok(f"extract photos -o matched {common}", folder)


def test_lists_of_other_programs_are_read(small_vgg16: Path, photos: Path) -> None:
    folder = photos.parent
    common = f"-m {small_vgg16} --size 64x64"
    (folder / "list").write_bytes(
        b"\xff\xfe" + '"photos/rocket.jpg"\r\nphotos/coffee.jpg\r\n'.encode("utf-16-le")
    )
    assert "2 rows added, 0 rejected" in ok(f"extract --files-from list -o f {common}", folder)
    (folder / "empty").write_bytes(b"")
    for line, stdin in (("--files-from empty", ""), ("--files-from -", "\n")):
        done = run(f"extract {line} -o nothing {common}", folder, stdin=stdin)
        assert done.exit_code == 0
        assert done.stderr.endswith(" lists no images: there is nothing to do\n")
        assert not (folder / "nothing").exists()
    outcome = json.loads(ok(f"extract --files-from empty -o nothing {common} --json", folder))
    assert (outcome["store"], outcome["total"], outcome["rows"]) == ("nothing", 0, 0)
    # An empty folder may be a drive that isn't attached.
    (folder / "mount").mkdir()
    done = run(f"extract mount -o nothing {common}", folder)
    assert done.exit_code == 2
    assert "Error: got 'mount', expected images" in done.stderr
    done = run(f"extract --files-from - -o nothing {common}", folder, stdin="mount\n")
    assert done.exit_code == 2
    assert "Error: got 1 path in standard input, expected images" in done.stderr


def test_a_list_given_as_an_image_gives_a_hint_at_files_from(
    small_vgg16: Path, photos: Path
) -> None:
    folder = photos.parent
    common = f"-m {small_vgg16} --size 64x64"
    (folder / "list.csv").write_text("path\nphotos/rocket.jpg\n")
    hint = "to extract the images that list.csv lists, use --files-from"
    done = run(f"extract list.csv -o f {common}", folder)
    assert (done.exit_code, "list.csv: not an image" in done.stderr) == (1, True)
    assert hint in done.stderr
    for _ in range(2):
        done = run(f"extract --files-from list.csv -o f {common}", folder)
        assert (done.exit_code, done.stderr) == (0, "")
    assert "images/s" not in done.stdout  # none was extracted


def test_companions_are_skipped_and_patterns_choose_files(small_vgg16: Path, photos: Path) -> None:
    common = f"-m {small_vgg16} --size 64x64"
    (photos / "raw").mkdir()
    shutil.copy(photos / "rocket.jpg", photos / "raw" / "copy.JPG")
    for name in ("a.mov", "b.MOV", "desktop.ini", "bad.png"):
        (photos / name).write_text("no")
    skipped = "3 files that accompany images were skipped: 2 .mov, 1 .ini\n"
    first = run(f"extract photos -o f {common} --exclude RAW", photos.parent)
    assert "2 rows added, 1 rejected" in first.stdout
    unmatched = run(f"sparsity photos -l block1_pool {common} --exclude photos/raw", photos.parent)
    assert "warning: --exclude photos/raw matched nothing: " in unmatched.stderr
    assert first.stderr == f"{skipped}rejected: bad.png: not an image\n"
    again = run(f"extract photos -o f {common} --include '*.jpg'", photos.parent)
    assert "1 row added, 0 rejected" in again.stdout
    assert "bad.png" not in again.stderr
    other = run(f"extract photos -o f {common} --include '*.jpg' --include '*.x'", photos.parent)
    assert other.stderr.count("matched nothing") == 1
    assert "warning: --include *.x matched nothing: patterns are compared with" in other.stderr
    named = run(f"extract photos/a.mov -o f {common}", photos.parent)
    assert "rejected: photos/a.mov: not an image" in named.stderr
    # Rejects are listed on request.
    assert ok("info f --rejects", photos.parent).splitlines() == [
        f"{photos}/bad.png: not an image",
        f"{photos.parent}/photos/a.mov: not an image",
    ]
    listed = json.loads(ok("info f --rejects --json", photos.parent))
    assert [(each["path"], each["reason"]) for each in listed] == [
        ("bad.png", "not an image"),
        ("photos/a.mov", "not an image"),
    ]
    assert "bad.png" not in run("sparsity f", photos.parent).stderr
    counted = run(f"sparsity photos {common} -l block1_pool --include '*.jpg'", photos.parent)
    assert counted.stdout.startswith("photos: 3 images, 0 rejected")
    for line in ("sparsity f --include '*.jpg'", "bench --exclude x"):
        refused = run(f"{line} -m {small_vgg16}", photos.parent)
        assert refused.exit_code == 2
        assert "--include and --exclude choose among" in refused.stderr


def test_the_model_may_be_named_by_an_environment_variable(small_vgg16: Path, photos: Path) -> None:
    said = run("extract photos -o features", photos.parent)
    assert said.exit_code == 2
    assert "sparsefeat export -o vgg16.onnx" in said.stderr
    env = {"SPARSEFEAT_MODEL": str(small_vgg16)}
    assert run("extract photos -o features --size 64x64", photos.parent, env=env).exit_code == 0


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("extract photos -o f -m MODEL -l block9", "no layer 'block9'"),
        ("extract photos -o f -m MODEL --preprocess kears", "keras"),
        ("extract photos -o f -m MODEL --size 224", "224x224"),
        ("extract photos -o f -m MODEL --size 8x8", "at least 32x32"),
        ("extract photos -o photos -m MODEL", "photos"),
        ("extract -o f -m MODEL", "IMAGES"),
        ("extract nowhere -o f -m MODEL", "nowhere"),
        ("extract photos -o f -m photos/coffee.jpg", "coffee.jpg"),
        ("extract photos -o f -m MODEL --values float8", "bfloat16, bits:1 to bits:23 or uint8"),
        ("extract photos -o f -m MODEL -l */pre --values uint8", "has negative values"),
        ("extract photos -o f -m MODEL --provider tpu", "tpu"),
        ("extract photos -o f -m MODEL --precision bf16", "--provider openvino"),
        ("extract photos -o f -m MODEL --precision int8", "sparsefeat quantize"),
        ("extract photos -o f -m MODEL --provider cuda --provider-option tf32=1", "tf32"),
        ("extract photos -o f -m MODEL --provider-option device_id", "device_id=1"),
        ("extract photos -o f -m MODEL --provider-option device_id=1", "which has none"),
        ("extract photos --files-from nolist -o f -m MODEL", "nolist"),
        ("extract photos -o /proc/f -m MODEL --size 32x32", "/proc/f"),
        ("bench -m MODEL --engines onnxruntime-tpu", "onnxruntime-openvino"),
        ("bench -m MODEL --batch-sizes 1,x", "1,8,32"),
        ("bench -m MODEL --html nowhere/f", "nowhere/f"),
        ("bench -m MODEL --json photos", "photos"),
        ("bench gone.jpg -m MODEL --engines onnxruntime-cpu", "gone.jpg"),
        ("bench -m photos/coffee.jpg", "coffee.jpg"),
        ("info none.onnx", "there is nothing at none.onnx: name a store's folder or a model"),
        ("info nowhere --rejects", "there is nothing at nowhere"),
        ("info MODEL --rejects", "is a model, which has no rejects: name a store"),
        ("info photos", "photos"),
        ("verify none.onnx", "there is nothing at none.onnx: name a store's folder or a model"),
        ("nonsense", "nonsense"),
    ],
)
def test_errors_are_one_line_and_exit_2(
    small_vgg16: Path, photos: Path, line: str, says: str
) -> None:
    done = run(line.replace("MODEL", str(small_vgg16)), photos.parent)
    command.assert_one_line(done)
    assert says in done.stderr
    assert not (photos.parent / "f").exists()


def test_errors_are_one_line_in_a_new_process_too(photos: Path) -> None:
    done = process("extract photos -o f -m photos/coffee.jpg", photos.parent)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")


def test_only_rejects_give_exit_code_1(small_vgg16: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("no")
    done = run(f"extract notes.jpg -o features -m {small_vgg16}", tmp_path)
    assert done.exit_code == 1
    assert "0 rows added, 1 rejected" in done.stdout
    assert "notes.jpg: " in done.stderr
    again = run(f"extract notes.jpg -o features -m {small_vgg16}", tmp_path)
    assert again.exit_code == 1, "nothing of it can be read, today as yesterday"
    (tmp_path / "more.png").write_bytes(b"")
    Image.fromarray(data.coffee()).save(tmp_path / "good.png")
    assert run(f"extract . -o features -m {small_vgg16}", tmp_path).exit_code == 0


def test_damage_is_named_with_exit_code_1(store: Path) -> None:
    (part,) = part_folders(store)
    data_file = part / "obsm/block4_pool/data/c.0"
    damaged = bytearray(data_file.read_bytes())
    damaged[len(damaged) // 2] ^= 4
    data_file.write_bytes(damaged)
    done = run("verify features", store.parent)
    assert done.exit_code == 1
    assert f"{part.stem}, block4_pool" in done.stdout
    assert "DAMAGED" in done.stdout


def test_changed_images_are_not_damage(store: Path) -> None:
    folder = store.parent
    (folder / "photos/rocket.jpg").unlink()
    done = run("verify features --source photos", folder)
    assert done.exit_code == 1
    assert "DAMAGED" not in done.stdout
    missing, undamaged, compared = done.stdout.splitlines()
    assert missing.endswith("rocket.jpg is missing in photos")
    assert undamaged.startswith("features: undamaged; 2 rows, 1 part, ")
    assert compared.startswith("photos: 2 images compared, 1 changed, missing or unreadable")
    said = json.loads(run("verify features --source photos --json", folder).stdout)
    assert (said["ok"], len(said["findings"]), len(said["changes"])) == (True, 0, 1)


def test_layers_that_differ_from_the_store_s_are_named(small_vgg16: Path, photos: Path) -> None:
    line = f"extract photos -o features -m {small_vgg16} --size 64x64 -l "
    ok(line + "all", photos.parent)
    done = run(line + "block5_pool", photos.parent)
    command.assert_one_line(done)
    assert (
        "layers: got 'block5_pool', expected 18 layers from 'block1_conv1' to 'block5_pool': use "
        "the same ones"
    ) in done.stderr


def test_a_failed_extraction_leaves_no_files(small_vgg16: Path, photos: Path) -> None:
    folder = photos.parent
    line = f"extract -o new/features -m {small_vgg16} --size 64x64 "
    for words in ("--files-from gone.txt", "photos --values bits:99", "photos --rows-per-part 0"):
        assert run(line + words, folder).exit_code == 2
        assert not (folder / "new").exists()
    (folder / "gone.txt").write_text("photos/gone.jpg")
    assert run(line + "--files-from gone.txt", folder).exit_code == 1
    assert not (folder / "new").exists()
    (folder / "new/features").mkdir(parents=True)
    assert run(line + "--files-from gone.txt", folder).exit_code == 1
    assert list((folder / "new/features").iterdir()) == [], "who made it may want it"


def test_unprintable_names_are_escaped(small_vgg16: Path, photos: Path) -> None:
    (photos / "two\nlines.jpg").write_text("no")
    done = process(f"extract photos -o features -m {small_vgg16} --size 64x64", photos.parent)
    assert "rejected: two\\nlines.jpg: " in done.stderr
    odd = os.fsdecode(b"caf\xe9")
    (photos.parent / "features").rename(photos.parent / odd)
    strict = {"PYTHONIOENCODING": "utf-8:strict"}
    assert process(f"info {odd}", photos.parent, env=strict).returncode == 0


def test_metadata_of_a_model_are_escaped(small_vgg16: Path, tmp_path: Path) -> None:
    """A model from anybody may contain control sequences of terminals."""
    for name in (small_vgg16.name, f"{small_vgg16.name}.data"):
        shutil.copy(small_vgg16.with_name(name), tmp_path / name)
    model = tmp_path / small_vgg16.name

    def edit(metadata: dict[str, Any]) -> None:
        metadata["weights"]["source"] = "a\x1b[2Jb\nc"

    change_metadata(model, edit)
    assert "weights a\\x1b[2Jb\\nc, fp32" in ok(f"info {model.name}", tmp_path)


def test_a_reader_that_closes_the_pipe_is_not_an_error(store: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "sparsefeat", "info", str(store)],
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert done.returncode == 141
    assert done.stderr == b""


def test_the_demo_shows_its_results(vgg16: Path, tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    for name in ("vgg16.onnx", "vgg16.onnx.data"):
        shutil.copy(vgg16.with_name(name), tmp_path / "demo" / name)
    done = process("demo", tmp_path)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert re.search(r"block1_pool +112x112x64 +2\d\.\d % +19\.3 MB +1\d", said)
    assert re.search(r"block5_pool +7x7x512 +8\d\.\d % +602 kB +\d\d", said)
    lines = said.splitlines()
    assert lines[-1] == "Open the report in a browser: demo/report.html"
    assert (tmp_path / "demo/report.html").is_file()
    line = lines[lines.index("To open the store:") + 1]
    opened = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert "csr_array" in opened.stdout or "Compressed Sparse Row" in opened.stdout, opened.stderr
    assert "6 already in the store" in ok("demo", tmp_path)


def test_quirks_give_one_line_on_standard_error(small_vgg16: Path, photos: Path) -> None:
    image = Image.fromarray(data.coffee())
    exif = image.getexif()
    exif[0x0112] = 3
    image.save(photos / "turned.jpg", exif=exif)
    done = process(f"extract photos -o features -m {small_vgg16} --size 64x64", photos.parent)
    warned = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert len(warned) == 1
    assert "--preprocess bilinear" in warned[0]
    assert ".py" not in done.stderr


def test_a_bar_is_shown_only_on_a_terminal(small_vgg16: Path, photos: Path) -> None:
    line = f"extract photos -o quiet -m {small_vgg16} --size 64x64"
    assert process(line, photos.parent).stderr == ""
    told = process(f"-v {line.replace('quiet', 'told')}", photos.parent).stderr
    model, commit = told.splitlines()
    assert re.search(r"vgg16.*: CPUExecutionProvider in fp32, convolution \w+, \d+ threads", model)
    assert re.fullmatch(r".*told: snapshot 1 committed \(extract\), 2 rows in 1 part", commit)
    master, slave = pty.openpty()
    started = subprocess.Popen(
        [sys.executable, "-m", "sparsefeat", *shlex.split(line.replace("quiet", "shown"))],
        cwd=photos.parent,
        stdout=subprocess.DEVNULL,
        stderr=slave,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            shown += os.read(master, 4096)
        except OSError:  # the other end is closed
            break
    os.close(master)
    assert started.wait() == 0
    assert b"2/2" in shown
    assert b"images/s" in shown
    assert b"rejected" in shown


def test_the_provider_that_auto_chose_is_printed(small_vgg16: Path, photos: Path) -> None:
    line = f"extract photos -o f -m {small_vgg16} --size 32x32"
    told = run(f"{line} --provider auto", photos.parent).stderr
    assert re.search(r"^\w+ExecutionProvider in fp32, relative error .* \d\.\de-\d\d", told)
    assert "ExecutionProvider" not in run(line, photos.parent).stderr
