"""Values that are not paths are refused in one line by every function that takes a path."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

import sparsefeat
from sparsefeat.cli import main
from sparsefeat.errors import InputError

TAKE: dict[str, Callable[[Any], object]] = {
    "Extractor": sparsefeat.Extractor,
    "verify_model": sparsefeat.verify_model,
    "open": sparsefeat.open,
    "info": sparsefeat.info,
    "verify": sparsefeat.verify,
    "verify, source": lambda path: sparsefeat.verify("store", source=path),
    "compact": sparsefeat.compact,
    "merge": lambda path: sparsefeat.merge([path], "new"),
    "merge, all": lambda path: sparsefeat.merge(path, "new"),
    "merge, output": lambda path: sparsefeat.merge(["store"], path),
    "convert": lambda path: sparsefeat.convert(path, "new.h5ad"),
    "convert, output": lambda path: sparsefeat.convert("store", path),
    "build_report": sparsefeat.build_report,
    "analyse": sparsefeat.analyse,
    "list_images": sparsefeat.list_images,
}
TAKE_EMPTY = {name: take for name, take in TAKE.items() if name != "analyse"} | {
    "list_images, several": lambda path: sparsefeat.list_images([path]),
    "list_images, list": lambda path: sparsefeat.list_images([], files_from=path),
    "list_images, root": lambda path: sparsefeat.list_images(["a.jpg"], root=path),
}
COMMANDS = (
    "info EMPTY",
    "verify EMPTY",
    "verify . --source EMPTY",
    "merge EMPTY -o new",
    "convert EMPTY -o new.h5ad",
    "extract EMPTY -o new",
    "extract photos -o new -m EMPTY",
    "extract --files-from EMPTY -o new",
    "extract photos/a.png -o new --root EMPTY",
    "sparsity EMPTY",
    "sparsity photos -m EMPTY",
    "bench photos -m EMPTY",
    "maps photos/a.png --layer block1_conv1 -m EMPTY",
)


@pytest.mark.parametrize("take", TAKE)
@pytest.mark.parametrize("path", [None, 5, b"store"])
def test_values_that_are_not_paths_are_refused(take: str, path: object) -> None:
    with pytest.raises(InputError, match=r"^got [^\n]+, expected [^\n]+$"):
        TAKE[take](path)


@pytest.mark.parametrize("take", ["Extractor", "open", "verify", "convert", "merge, output"])
def test_an_impossible_path_is_refused(take: str) -> None:
    with pytest.raises(InputError, match="expected a path without a NUL character"):
        TAKE[take]("a\0b")


@pytest.mark.parametrize("take", ["open", "merge, output"])
@pytest.mark.parametrize("path", ["s3:/bucket/a", "gs:/bucket/a", Path("s3://bucket/a")])
def test_a_url_that_was_made_a_path_is_refused(take: str, path: Path | str) -> None:
    with pytest.raises(InputError, match=r"as text: s3://bucket/name$"):
        TAKE[take](path)


@pytest.mark.parametrize(
    "line",
    [
        "convert . -o s3://bucket/a.npz",
        "report . -o s3://bucket/a.html",
        "sparsity . --csv s3://bucket/a.csv",
        "extract photos -o new -m s3://bucket/vgg16.onnx",
    ],
)
def test_a_url_is_refused_where_a_disk_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "photos" / "a.png")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, line.split())
    assert done.exit_code == 2, done.output
    assert "expected a path on a disk: only stores and images may be in buckets" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize("take", TAKE_EMPTY)
def test_an_empty_path_is_not_the_current_folder(take: str) -> None:
    with pytest.raises(InputError, match=r"^got '' for the path of [^\n]+, expected a path"):
        TAKE_EMPTY[take]("")


@pytest.mark.parametrize("line", COMMANDS)
def test_an_empty_path_is_not_the_current_folder_for_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """The current folder looks like a store."""
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "1.json").write_text("{}")
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "photos" / "a.png")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, [word.replace("EMPTY", "") for word in line.split()])
    assert done.exit_code == 2, done.output
    assert "Error: got '' for the path of " in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_any_path_like_object_is_accepted(tmp_path: Path) -> None:
    class Kind:
        def __fspath__(self) -> str:
            return str(tmp_path)

    for path in (tmp_path, str(tmp_path), Kind()):
        with pytest.raises(sparsefeat.StoreNotFoundError, match="is an empty folder"):
            sparsefeat.open(path)
