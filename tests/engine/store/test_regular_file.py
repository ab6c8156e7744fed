"""Only regular files of a part's own are read."""

import errno
import os
import socket
from pathlib import Path

import pytest

from sparsefeat.store.regular_file import open_regular, read_refusal, read_regular, refuse_links


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert read_regular(tmp_path / "x", 5) == b"12345"
    with open_regular(tmp_path / "x") as file:
        file.seek(3)
        assert file.read() == b"45"
    with pytest.raises(ValueError, match="5 bytes, expected at most 4"):
        read_regular(tmp_path / "x", 4)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "device", "socket"])
def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    match kind:
        case "link":
            (tmp_path / "y").write_bytes(b"")
            path.symlink_to("y")
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "device":
            path = Path("/dev/zero")
        case "socket":
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(str(path))
    before = len([*Path("/proc/self/fd").iterdir()])
    with pytest.raises((ValueError, OSError)):
        read_regular(path, 100)
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "x", 1)


def test_folders_on_the_way_are_no_links(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    refuse_links(tmp_path, "a/b")
    refuse_links(tmp_path / "link", "b")  # what leads to the part is nobody's business
    refuse_links(tmp_path, "a/missing")
    with pytest.raises(ValueError, match="link is a link"):
        refuse_links(tmp_path, "link/b")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_what_is_of_the_system_is_told_from_damage(tmp_path: Path, number: int) -> None:
    said = os.strerror(number)
    refused = read_refusal(tmp_path, OSError(number, said, str(tmp_path / "x")))
    assert str(refused).startswith(f"{tmp_path / 'x'} can't be read: {said}: see to ")
    assert str(read_refusal(tmp_path, OSError(number, said))).startswith(f"{tmp_path} can't be")


@pytest.mark.parametrize("name", ["missing", "file/inside", "folder", "loop", "long" * 100])
def test_what_a_part_has_brought_about_is_damage(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match=name) as caught:
        (tmp_path / name).read_bytes()
    assert read_refusal(tmp_path, caught.value) is None
    assert read_refusal(tmp_path, ValueError("no JSON")) is None
