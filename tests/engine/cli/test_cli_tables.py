"""Tables of paths on the command line: labels, and columns that are kept."""

import json
from pathlib import Path

import pytest

from sparsefeat.store import Store

from ..command import assert_one_line
from .test_cli import ok, photos, run

__all__ = ["photos"]  # a fixture


def test_images_of_a_table_are_extracted_with_their_columns(
    small_vgg16: Path, photos: Path
) -> None:
    folder = photos.parent
    (folder / "list.csv").write_text(
        "kind,uri,caption,score\na,photos/rocket.jpg,up,0.5\nb,photos/coffee.jpg,,1\n"
    )
    common = f"--files-from list.csv -m {small_vgg16} --size 32x32"
    line = f"extract {common} --path-column uri --label-column kind --keep caption,score -o f"
    assert "2 rows added, 0 rejected" in ok(line, folder)
    obs = Store(folder / "f").obs
    assert obs[["path", "label", "caption", "score"]].to_numpy().tolist() == [
        ["photos/rocket.jpg", "a", "up", 0.5],
        ["photos/coffee.jpg", "b", "", 1.0],
    ]
    assert "0 rows added" in ok(line, folder)
    assert "1 row" in ok("remove f --where \"caption == ''\"", folder)
    assert ok("convert f -o rows.parquet", folder)


def test_columns_that_no_image_has_are_reported(small_vgg16: Path, photos: Path) -> None:
    options = f"-m {small_vgg16} --size 32x32 -o f --keep caption --label-column kind --json"
    done = run(f"extract photos {options}", photos.parent)
    assert done.exit_code == 0
    assert json.loads(done.stdout)["rows"] == 2
    why = "matched nothing: no image has a value in a column or field of that name"
    told = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert told == [f"warning: --label-column kind {why}", f"warning: --keep caption {why}"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            "--files-from list.csv --keep caption",
            "no column 'caption', only path: check the name",
        ),
        ("--files-from list.csv --path-column pth", "no column 'pth'"),
        ("--files-from gone.parquet", "No such file or directory; check the path"),
        ("photos --path-column uri", "expected a table in files_from"),
        ("photos --keep path", "every store has a column of that name"),
    ],
)
def test_errors_are_one_line(small_vgg16: Path, photos: Path, options: str, says: str) -> None:
    (photos.parent / "list.csv").write_text("path\nphotos/rocket.jpg\n")
    done = run(f"extract {options} -m {small_vgg16} -o f", photos.parent)
    assert_one_line(done)
    assert says in done.stderr
    assert not (photos.parent / "f").exists()
