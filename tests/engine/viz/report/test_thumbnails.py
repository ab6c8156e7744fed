import base64
import hashlib
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from sparsefeat.images import encode_path
from sparsefeat.viz.report.thumbnails import make_thumbnail


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def opened(src: str) -> Image.Image:
    start = "data:image/jpeg;base64,"
    assert src.startswith(start)
    content = base64.b64decode(src.removeprefix(start))
    assert len(content) < 20_000
    return Image.open(io.BytesIO(content))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photograph that a camera stored lying on its side, in a folder of an awkward name."""
    from skimage import data

    path = tmp_path / "photos" / "50% off" / "é\udce9.jpg"
    path.parent.mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(data.coffee()).save(path, exif=exif.tobytes(), quality=95)
    return path


def thumbnail_of(path: Path, **changes: str | Path) -> tuple[str, str]:
    root = path.parents[1]
    facts: dict[str, str | Path] = {
        "path": encode_path(f"{path.parent.name}/{path.name}"),
        "root": encode_path(str(root)),
        "sha256": digest(path) if path.is_file() else "",
    }
    made = make_thumbnail(**(facts | changes))  # type: ignore[arg-type]
    return made.src, made.missing


def test_it_is_small_upright_and_the_same_picture(photo: Path) -> None:
    src, missing = thumbnail_of(photo)
    assert missing == ""
    small = opened(src)
    assert small.size == (133, 200)
    upright = ImageOps.exif_transpose(Image.open(photo)).resize(small.size)
    apart = np.abs(np.asarray(small, float) - np.asarray(upright, float))
    assert apart.mean() < 6


def test_a_folder_that_was_moved(photo: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    known = digest(photo)
    shutil.move(photo.parents[1], moved)
    assert thumbnail_of(photo, sha256=known) == ("", "no such file")
    src, _ = thumbnail_of(photo, sha256=known, photos=moved)
    assert opened(src).size == (133, 200)


def test_other_bytes_of_the_same_size_and_time_are_told_apart(photo: Path) -> None:
    known = digest(photo)
    content = bytearray(photo.read_bytes())
    content[-100] ^= 1
    photo.write_bytes(content)
    assert thumbnail_of(photo, sha256=known) == ("", "the file changed since it was stored")


def test_what_cannot_be_shown_says_why(photo: Path, tmp_path: Path) -> None:
    photo.write_bytes(b"no picture")
    assert thumbnail_of(photo) == ("", "not a picture")
    photo.unlink()
    assert thumbnail_of(photo) == ("", "no such file")
    photo.mkdir()
    assert thumbnail_of(photo) == ("", "a folder, not a file")
    assert make_thumbnail("", "", "").missing == "not from a file"


def test_a_tiny_picture_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a" / "dot.png"
    path.parent.mkdir()
    Image.new("RGBA", (3, 1), (255, 0, 0, 0)).save(path)
    src, _ = thumbnail_of(path)
    assert opened(src).size == (3, 1)
    assert opened(src).getpixel((1, 0)) == (255, 255, 255)  # transparent, on white
