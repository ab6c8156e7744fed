"""Whatever a file may be: files that change, vanish, aren't files, or are too large."""

import os
import socket
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from sparsefeat.images.listing import find_picture
from sparsefeat.images.opening import MAX_PIXELS
from sparsefeat.images.reading import read_file
from sparsefeat.images.source import Source
from sparsefeat.images.unreadable import Reason, UnreadableError

from ..nobody import as_nobody


def listed(file: Path) -> Source:
    source = find_picture(file)
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


def test_the_bytes_of_a_file(source: Source) -> None:
    assert read_file(source, MAX_PIXELS) == b"some bytes"


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert reason(listed(tmp_path / "empty")) is Reason.EMPTY


def test_a_file_that_vanished(source: Source) -> None:
    Path(source.file).unlink()
    assert reason(source) is Reason.MISSING


def test_a_file_that_grew(source: Source) -> None:
    with Path(source.file).open("ab") as stream:
        stream.write(b", and more")
    assert reason(source) is Reason.CHANGED


def test_a_file_that_was_rewritten_with_the_same_size(source: Source) -> None:
    Path(source.file).write_bytes(b"same bytes")
    os.utime(source.file, ns=(0, source.mtime_ns + 1))
    assert reason(source) is Reason.CHANGED


def test_a_file_that_became_a_folder(source: Source) -> None:
    Path(source.file).unlink()
    Path(source.file).mkdir()
    assert reason(source) is Reason.FOLDER


@pytest.mark.timeout(20)
def test_a_file_that_became_a_pipe_does_not_hang(source: Source) -> None:
    Path(source.file).unlink()
    os.mkfifo(source.file)
    assert reason(source) is Reason.SPECIAL


def test_a_socket(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        assert reason(replace(source, file="socket")) is Reason.SPECIAL


def test_a_device(source: Source) -> None:
    assert reason(replace(source, file="/dev/zero")) is Reason.SPECIAL


def test_a_forbidden_file(source: Source) -> None:
    Path(source.file).chmod(0)
    with as_nobody():
        assert reason(source) is Reason.FORBIDDEN


def test_a_film_is_not_read_into_memory(tmp_path: Path) -> None:
    film = tmp_path / "film.mkv"
    with film.open("wb") as stream:
        stream.write(b"\x1a\x45\xdf\xa3")
        stream.truncate(300 << 20)  # a hole: takes no disk
    tracemalloc.start()
    assert reason(listed(film)) is Reason.NO_PICTURE
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 << 20
    assert reason(listed(film), max_pixels=1_000_000) is Reason.OVERSIZED
