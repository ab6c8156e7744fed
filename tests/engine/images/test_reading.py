"""Reading files, also files that change, vanish, are too large, or are not regular files."""

import hashlib
import os
import shutil
import socket
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from sparsefeat.images import (
    MAX_PIXELS,
    Reason,
    Source,
    UnreadableError,
    encode_path,
    find_image,
    read_file,
    read_original,
)

from ..refusals import as_nobody


def listed(file: Path) -> Source:
    source = find_image(file)
    assert isinstance(source, Source)
    return source


def reason(source: Source, max_pixels: int = MAX_PIXELS) -> Reason:
    with pytest.raises(UnreadableError) as caught:
        read_file(source, max_pixels)
    return caught.value.reason


@pytest.fixture
def source(tmp_path: Path) -> Source:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"some bytes")
    return listed(file)


def test_the_bytes_of_a_file_are_read(source: Source) -> None:
    assert read_file(source, MAX_PIXELS) == b"some bytes"


def test_an_empty_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert reason(listed(tmp_path / "empty")) is Reason.EMPTY


def test_a_file_that_vanished_is_a_failure(source: Source) -> None:
    Path(source.file).unlink()
    assert reason(source) is Reason.MISSING


def test_a_file_that_grew_is_a_failure(source: Source) -> None:
    with Path(source.file).open("ab") as stream:
        stream.write(b", and more")
    assert reason(source) is Reason.CHANGED


def test_a_file_that_was_rewritten_is_a_failure(source: Source) -> None:
    Path(source.file).write_bytes(b"same bytes")
    os.utime(source.file, ns=(0, source.mtime_ns + 1))
    assert reason(source) is Reason.CHANGED


def test_a_file_that_became_a_folder_is_a_failure(source: Source) -> None:
    Path(source.file).unlink()
    Path(source.file).mkdir()
    assert reason(source) is Reason.FOLDER


@pytest.mark.timeout(20)
def test_a_file_that_became_a_pipe_does_not_hang(source: Source) -> None:
    Path(source.file).unlink()
    os.mkfifo(source.file)
    assert reason(source) is Reason.SPECIAL


def test_a_socket_is_not_a_regular_file(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        assert reason(replace(source, file="socket")) is Reason.SPECIAL


def test_a_device_is_not_a_regular_file(source: Source) -> None:
    assert reason(replace(source, file="/dev/zero")) is Reason.SPECIAL


def test_a_forbidden_file_is_a_failure(source: Source) -> None:
    Path(source.file).chmod(0)
    with as_nobody():
        assert reason(source) is Reason.FORBIDDEN


def test_a_film_is_not_read_into_memory(tmp_path: Path) -> None:
    film = tmp_path / "film.mkv"
    with film.open("wb") as stream:
        stream.write(b"\x1a\x45\xdf\xa3")
        stream.truncate(300 << 20)  # a hole, which takes no disk space
    tracemalloc.start()
    assert reason(listed(film)) is Reason.NO_IMAGE
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 << 20
    assert reason(listed(film), max_pixels=1_000_000) is Reason.OVERSIZED


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "50% off" / "dot.png"
    path.parent.mkdir(parents=True)
    Image.new("RGB", (9, 9), (255, 0, 0)).save(path)
    return path


def test_an_original_is_read_where_it_was_and_where_it_was_moved(
    photo: Path, tmp_path: Path
) -> None:
    content, root = photo.read_bytes(), photo.parents[1]
    facts = (encode_path("50% off/dot.png"), encode_path(str(root)))
    digest = hashlib.sha256(content).hexdigest()
    assert read_original(*facts, digest) == content
    shutil.move(root, tmp_path / "moved")
    assert read_original(*facts, digest) == "no such file"
    assert read_original(*facts, digest, tmp_path / "moved") == content


def test_a_changed_or_empty_original_is_reported(photo: Path) -> None:
    root = encode_path(str(photo.parent))
    assert read_original("dot.png", root, "0" * 64) == "the file changed since it was stored"
    photo.write_bytes(b"")
    assert read_original("dot.png", root, "0" * 64) == "the file is empty"
    assert read_original("", "", "") == "not from a file"
