import hashlib
import shutil
from pathlib import Path

import pytest
from PIL import Image

from sparsefeat.images import encode_path
from sparsefeat.images.originals import read_original


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "50% off" / "dot.png"
    path.parent.mkdir(parents=True)
    Image.new("RGB", (9, 9), (255, 0, 0)).save(path)
    return path


def test_bytes_where_they_are_and_where_they_were_moved(photo: Path, tmp_path: Path) -> None:
    content, root = photo.read_bytes(), photo.parents[1]
    facts = (encode_path("50% off/dot.png"), encode_path(str(root)))
    digest = hashlib.sha256(content).hexdigest()
    assert read_original(*facts, digest) == content
    shutil.move(root, tmp_path / "moved")
    assert read_original(*facts, digest) == "no such file"
    assert read_original(*facts, digest, tmp_path / "moved") == content


def test_other_bytes_and_none(photo: Path) -> None:
    root = encode_path(str(photo.parent))
    assert read_original("dot.png", root, "0" * 64) == "the file changed since it was stored"
    photo.write_bytes(b"")
    assert read_original("dot.png", root, "0" * 64) == "the file is empty"
    assert read_original("", "", "") == "not from a file"
