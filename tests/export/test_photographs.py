import hashlib
import shutil
from pathlib import Path

import pytest
from PIL import Image

from sparsefeat_export.errors import PhotographsError
from sparsefeat_export.photographs import SHIPPED, photographs


def test_shipped_photographs_are_small_and_licensed() -> None:
    found = photographs(None, print)
    assert len(found) >= 8
    licences = (SHIPPED / "LICENCES.md").read_text()
    for one in found:
        assert one.path.stat().st_size < 32_000
        assert f"`{one.path.name}`" in licences
        assert one.sha256 == hashlib.sha256(one.path.read_bytes()).hexdigest()
        with Image.open(one.path) as picture:
            assert picture.size == (288, 288)


def test_unreadable_ones_do_not_count(tmp_path: Path) -> None:
    shipped = photographs(None, print)
    for one in shipped[:7]:
        shutil.copy(one.path, tmp_path)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "cut.jpg").write_bytes(shipped[7].path.read_bytes()[:2000])
    with pytest.raises(PhotographsError, match=r"7 readable photographs among 9 files.*at least 8"):
        photographs(tmp_path, print)
    (tmp_path / "below").mkdir()
    shutil.copy(shipped[7].path, tmp_path / "below")
    assert len(photographs(tmp_path, print)) == 8


def test_very_many_are_sampled_and_that_is_said(tmp_path: Path) -> None:
    for index in range(40):
        Image.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / f"{index:02}.png")
    said: list[str] = []
    chosen = photographs(tmp_path, said.append)
    assert len({one.path for one in chosen}) == 32
    assert "32 of the 40" in said[0]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PhotographsError, match="not a folder"):
        photographs(tmp_path / "gone", print)
