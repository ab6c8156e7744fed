import hashlib
import shutil
from pathlib import Path

import pytest
from PIL import Image

from sparsefeat_export.errors import ImagesError
from sparsefeat_export.images import SHIPPED, find_images


def test_shipped_photographs_are_small_and_licensed() -> None:
    found = find_images(None, print)
    assert len(found) >= 8
    licences = (SHIPPED / "LICENCES.md").read_text()
    for one in found:
        assert one.path.stat().st_size < 32_000
        assert f"`{one.path.name}`" in licences
        assert one.sha256 == hashlib.sha256(one.path.read_bytes()).hexdigest()
        with Image.open(one.path) as image:
            assert image.size == (288, 288)


def test_unreadable_files_do_not_count_as_images(tmp_path: Path) -> None:
    shipped = find_images(None, print)
    for one in shipped[:7]:
        shutil.copy(one.path, tmp_path)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "cut.jpg").write_bytes(shipped[7].path.read_bytes()[:2000])
    with pytest.raises(ImagesError, match=r"usable images \(7; files: 9\).*at least 8"):
        find_images(tmp_path, print)
    (tmp_path / "below").mkdir()
    shutil.copy(shipped[7].path, tmp_path / "below")
    assert len(find_images(tmp_path, print)) == 8


def test_many_images_are_sampled_with_a_message(tmp_path: Path) -> None:
    for index in range(40):
        Image.effect_noise((32, 40), index + 1).save(tmp_path / f"{index:02}.png")
    said: list[str] = []
    chosen = find_images(tmp_path, said.append)
    assert len({one.path for one in chosen}) == 32
    assert "certifying with 32 images of" in said[0]
    names = [one.path.stem for one in chosen]
    assert names == sorted(names)
    assert set(names) >= {f"{index:02}" for index in range(0, 40, 2)}


def test_usable_images_replace_unusable_ones_in_the_sample(tmp_path: Path) -> None:
    for index in range(70):
        path = tmp_path / f"{index:02}.png"
        if index % 3:
            path.write_text("no image")
        else:
            Image.effect_noise((32, 32), index + 1).save(path)
    said: list[str] = []
    assert len(find_images(tmp_path, said.append)) == 24
    assert said == []


def save_others(folder: Path, kind: str) -> None:
    """Save five images that are of no use for a certificate."""
    for index in range(5):
        path = folder / f"other-{index}.png"
        if kind == "same":
            shutil.copy(SHIPPED / "coffee.jpg", path.with_suffix(".jpg"))
        elif kind == "small":
            Image.effect_noise((31, 400), index + 1).save(path)
        elif kind == "constant":
            Image.new("RGB", (64, 64), (index, 10, 200)).save(path)
        else:
            image = Image.new("1", (9500, 9500))
            image.putpixel((index, 0), 1)
            image.save(path)


@pytest.mark.parametrize("kind", ["same", "small", "constant", "huge"])
def test_equal_small_plain_and_huge_images_do_not_count(tmp_path: Path, kind: str) -> None:
    """Pillow warns of 90 million pixels, and warnings are errors here."""
    for name in ("coffee", "china", "flower", "rocket"):
        shutil.copy(SHIPPED / f"{name}.jpg", tmp_path)
    save_others(tmp_path, kind)
    with pytest.raises(ImagesError, match=r"usable images \(4; files: 9\).*different"):
        find_images(tmp_path, print)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImagesError, match="not a folder"):
        find_images(tmp_path / "gone", print)
