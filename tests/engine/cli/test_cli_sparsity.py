import csv
import io
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from skimage import data

import sparsefeat
from sparsefeat.images import list_images

from .. import command

SHOWN = pytest.mark.filterwarnings("always::sparsefeat.RejectWarning")  # not an error, as here
STAGES = [*(f"block{block}_pool" for block in range(1, 6)), "fc1", "fc2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, small_vgg16: Path) -> Path:
    """Images with two labels, and a store of them."""
    folder = tmp_path_factory.mktemp("cli")
    for label, names in (("animals", ("chelsea", "astronaut")), ("things", ("coffee", "rocket"))):
        (folder / "photos" / label).mkdir(parents=True)
        for name in names:
            image = Image.fromarray(getattr(data, name)())
            image.save(folder / "photos" / label / f"{name}.png")
    (folder / "notes.jpg").write_text("no image")
    extractor = sparsefeat.Extractor(small_vgg16, "pools", size=(64, 64))
    images = list_images([folder / "photos"])
    sparsefeat.extract(images, folder / "features", model=extractor)
    return folder


def run(line: str, folder: Path, model: Path) -> Result:
    words = ("sparsity", *shlex.split(line))
    return command.run(folder, *words, env={"SPARSEFEAT_MODEL": str(model)})


def ok(line: str, folder: Path, model: Path) -> str:
    done = run(line, folder, model)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def lines_of(said: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(said)))


def test_stages_of_many_images_and_of_one_image(folder: Path, small_vgg16_top: Path) -> None:
    said = ok("photos", folder, small_vgg16_top)
    assert said.startswith("photos: 4 images, 0 rejected\n")
    rows = re.findall(r"^(\w+) +[\dx]+ +([\d.]+) %", said, re.MULTILINE)
    assert [name for name, _ in rows] == STAGES
    assert "Correlation of an image's zeros" in said
    one = ok("photos/things/coffee.png --json", folder, small_vgg16_top)
    facts = json.loads(one)
    assert facts["n_images"] == 1
    extractor = sparsefeat.Extractor(small_vgg16_top, "stages")
    (batch,) = extractor.extract([folder / "photos/things/coffee.png"])
    for name in STAGES:
        csr = batch.layers[name]
        assert facts["layers"][name]["zeros"] == (csr.n_columns - csr.nnz) / csr.n_columns


def test_stages_of_a_model_without_its_top_end_with_block5_pool(
    folder: Path, small_vgg16: Path
) -> None:
    done = run("photos --layers stages --size 64x64", folder, small_vgg16)
    assert done.exit_code == 0
    assert "the last stage is block5_pool" in done.stderr
    assert "exported without its top" in done.stderr
    assert "block5_pool" in done.stdout
    named = run("photos --layers block5_pool,fc1 --size 64x64", folder, small_vgg16)
    assert named.exit_code == 2
    assert "exported without its top" in named.stderr


def test_a_store_and_its_images_give_the_same_numbers(folder: Path, small_vgg16: Path) -> None:
    for by in ("layer", "channel", "position", "label"):
        options = f"--by {by} --csv - --no-flatness"
        stored = lines_of(ok(f"features {options}", folder, small_vgg16))
        fresh = lines_of(ok(f"photos --size 64x64 {options}", folder, small_vgg16))
        assert [each["zeros"] for each in stored] == [each["zeros"] for each in fresh]
    store = sparsefeat.open(folder / "features")
    images = lines_of(ok("features --by image --csv -", folder, small_vgg16))
    for name in store.layers:
        expected = [np.mean(row == 0) for row in store[name].to_numpy()]
        assert [float(each["zeros"]) for each in images if each["layer"] == name] == expected


def test_a_store_needs_no_model_and_missing_stages_are_named(folder: Path) -> None:
    nowhere = folder / "no.onnx"
    said = ok("features -l block4_pool,block5_pool", folder, nowhere)
    assert "block3_pool" not in said
    done = run("features -l stages", folder, nowhere)
    assert done.exit_code == 0
    assert "the store has no layers after block5_pool: these stages are left out" in done.stderr
    assert run("features -l fc1", folder, nowhere).exit_code == 2


def test_tables_by_image_channel_position_and_label(folder: Path, small_vgg16: Path) -> None:
    by_image = ok("features --by image --flatness", folder, small_vgg16)
    assert re.search(r"^things/coffee.png +[\d.]+ %( +[\d.]+ %){5}$", by_image, re.MULTILINE)
    by_channel = ok("features --by channel -l block5_pool", folder, small_vgg16)
    shares = [float(each) for each in re.findall(r"([\d.]+) %", by_channel)]
    assert len(shares) == 32
    assert shares == sorted(shares, reverse=True)
    by_position = ok("features --by position -l block1_pool,block5_pool", folder, small_vgg16)
    assert "block1_pool: percent of zeros at 32x32 positions, in 14x14 cells" in by_position
    assert "block5_pool: percent of zeros at 2x2 positions\n" in by_position
    by_label = ok("features --by label", folder, small_vgg16)
    assert re.search(r"block5_pool +things +2 ", by_label)


def test_folders_labels_and_stores_are_compared(folder: Path, small_vgg16: Path) -> None:
    folders = "photos/things photos/animals --compare --size 64x64"
    said = ok(folders, folder, small_vgg16)
    assert re.search(r"block1_pool +photos/animals +photos/things .* to ", said)
    found = json.loads(ok(f"{folders} --json", folder, small_vgg16))
    labels = json.loads(ok("features --by label --compare --json", folder, small_vgg16))
    assert [each["difference"] for each in found] == pytest.approx(
        [-each["difference"] for each in labels]
    )
    mixed = ok("features photos/things --compare --size 64x64", folder, small_vgg16)
    assert "no difference shown" in mixed
    other = run("features photos/things --compare --size 96x96", folder, small_vgg16)
    assert other.exit_code == 2
    assert "size" in other.stderr


def test_scaling_shows_the_effect_of_wrong_scalings(folder: Path, small_vgg16: Path) -> None:
    line = "photos/things --scaling --size 64x64 -l block1_pool,block5_pool"
    said = ok(line, folder, small_vgg16)
    assert re.search(r"^as expected .* 0 % +-$", said, re.MULTILINE)
    assert re.search(r"^RGB in 0..1 .* 0..1$", said, re.MULTILINE)
    assert len(json.loads(ok(f"{line} --json", folder, small_vgg16))) == 9
    assert len(lines_of(ok(f"{line} --csv -", folder, small_vgg16))) == 18


@SHOWN
def test_scaling_names_rejects(folder: Path, small_vgg16: Path) -> None:
    line = "photos/things notes.jpg --scaling --size 64x64 -l block5_pool"
    done = run(line, folder, small_vgg16)
    assert done.exit_code == 0
    reject = "1 image could not be read and has no row: notes.jpg: not an image"
    assert f"warning: {reject}\n" in done.stderr
    assert "2 images, 1 rejected\n" in done.stderr
    nothing = run("notes.jpg --scaling --size 64x64 -l block5_pool", folder, small_vgg16)
    assert nothing.exit_code == 2
    assert f"Error: no image could be read ({reject})" in nothing.stderr


@SHOWN
@pytest.mark.parametrize("options", ["", "--json", "--scaling", "--compare"])
def test_images_that_could_not_be_read_give_exit_code_1(
    options: str, folder: Path, small_vgg16: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder / "photos", tmp_path / "photos")
    (tmp_path / "photos/animals/notes.jpg").write_text("no image")
    (tmp_path / "photos/animals/lost.jpg").symlink_to("nowhere.jpg")
    sources = "photos/animals photos/things" if options == "--compare" else "photos/animals"
    line = f"{sources} --size 64x64 -l block5_pool {options}"
    done = run(line, tmp_path, small_vgg16)
    assert done.exit_code == 1
    assert "2 images could not be read and have no row, the first: " in done.stderr
    if options == "--json":
        facts = json.loads(done.stdout)
        assert [each["path"] for each in facts["rejected"]] == ["notes.jpg"]
        assert facts["failed"] == [{"path": "lost.jpg", "reason": "no such file"}]
    elif options != "--compare":
        assert "2 images, 1 rejected, 1 could not be read this time\n" in done.output
    (tmp_path / "photos/animals/lost.jpg").unlink()
    assert run(line, tmp_path, small_vgg16).exit_code == 0


def test_flatness_is_measured_on_moved_images(
    folder: Path, small_vgg16: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder / "photos", tmp_path / "photos")
    extractor = sparsefeat.Extractor(small_vgg16, "block5_pool", size=(64, 64))
    images = list_images([tmp_path / "photos"])
    sparsefeat.extract(images, tmp_path / "features", model=extractor)
    here = run("features --flatness --json", tmp_path, small_vgg16)
    assert "flatness" not in here.stderr
    (tmp_path / "photos").rename(tmp_path / "moved")
    shutil.copy(tmp_path / "moved/things/coffee.png", tmp_path / "moved/things/rocket.png")
    gone = run("features --flatness --json", tmp_path, small_vgg16)
    assert gone.exit_code == 0
    assert "flatness of 4 of 4 images not measured: no such file (4)" in gone.stderr
    assert json.loads(gone.stdout)["flatness_unmeasured"] == {"no such file": 4}
    moved = run("features --images moved --json", tmp_path, small_vgg16)
    said = "flatness of 1 of 4 images not measured: the file changed since it was stored (1)"
    assert said in moved.stderr
    flat = [
        [each["flat_share"] for each in json.loads(done.stdout)["images"]] for done in (here, moved)
    ]
    assert flat[1] == [*flat[0][:3], None]
    assert None not in flat[0]


def test_a_mistyped_folder_is_reported_before_the_model_is_searched(folder: Path) -> None:
    done = run("fotos", folder, folder / "no.onnx")
    assert done.exit_code == 2
    assert "fotos" in done.stderr
    assert "no.onnx" not in done.stderr
    assert "no.onnx" in run("photos", folder, folder / "no.onnx").stderr


def test_csv_is_written_to_a_file(folder: Path, small_vgg16: Path) -> None:
    done = run("features --csv zeros.csv", folder, small_vgg16)
    assert done.exit_code == 0
    assert "zeros.csv: written" in done.stderr
    assert "block5_pool" in done.stdout
    assert len(lines_of((folder / "zeros.csv").read_text())) == 5


@SHOWN
def test_only_rejects_give_exit_code_1(folder: Path, small_vgg16: Path) -> None:
    done = run("notes.jpg photos/things/coffee.png --size 64x64", folder, small_vgg16)
    assert done.exit_code == 0
    assert "1 image, 1 rejected" in done.stdout
    assert done.stderr.count("notes.jpg: not an image\n") == 1
    nothing = run("notes.jpg --size 64x64", folder, small_vgg16)
    assert nothing.exit_code == 1
    assert nothing.stdout == ""


def test_a_store_of_rejects_alone_says_how_to_list_them(folder: Path, small_vgg16: Path) -> None:
    (folder / "no photos").mkdir()
    (folder / "no photos" / "bad.png").write_text("no image")
    extract = ["extract", "no photos", "-o", "bad store", "-m", str(small_vgg16)]
    assert command.run(folder, *extract, "--size", "64x64").exit_code == 1
    done = command.run(folder, "sparsity", "bad store")
    assert (done.exit_code, done.stdout) == (1, "")
    said = "there are no rows to count; sparsefeat info 'bad store' --rejects lists its 1 reject\n"
    assert done.stderr.endswith(said)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "IMAGES|STORE"),
        ("nowhere", "nowhere"),
        ("photos --layers block9", "block9"),
        ("features --layers block9", "block9"),
        ("features --scaling", "--scaling"),
        ("photos --scaling --by channel", "--scaling"),
        ("photos/things photos/animals --compare --flatness", "leave --flatness out"),
        ("features photos --compare --images photos", "leave --images out"),
        ("photos --scaling --flatness", "leave --flatness out"),
        ("photos --images photos", "STORE"),
        ("features --images photos --no-flatness", "--no-flatness"),
        ("features --images nowhere", "nowhere"),
        ("photos --compare", "two folders"),
        ("photos features --compare --by label", "one folder"),
        ("photos features --compare --by channel", "--by label"),
        ("photos features", "--compare"),
        ("photos/things --compare --by label --size 64x64", "label"),
        ("features --json --csv -", "--csv -"),
        ("features --csv notes.jpg/zeros.csv", "notes.jpg/zeros.csv"),
        ("features --csv zeros.json", ".csv"),
        ("features --csv ''", "empty name"),
        ("features --size 64x64", "--size: a store's features are computed already"),
        ("features features --compare --provider cpu -m x", "--model, --provider: a store"),
        ("photos --by nonsense", "nonsense"),
    ],
)
def test_errors_are_one_line_and_exit_2(
    folder: Path, small_vgg16: Path, line: str, says: str
) -> None:
    done = run(line, folder, small_vgg16)
    command.assert_one_line(done)
    assert says in done.stderr
