"""Lists of paths that other programs wrote."""

import io
import os
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparsefeat.errors import SourceError
from sparsefeat.images import read_path_list

NAMES = ["p/a.jpg", "p/été 二.jpg", "p/b b.jpg"]


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p").mkdir()
    for name in NAMES:
        (tmp_path / name).touch()
    return tmp_path


def read(content: bytes) -> list[str]:
    Path("list").write_bytes(content)
    return read_path_list("list")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\0"])
def test_encodings_and_line_ends_are_recognized(encoding: str, end: str) -> None:
    assert read("".join(name + end for name in NAMES).encode(encoding)) == NAMES
    assert read(end.join(NAMES).encode(encoding)) == NAMES
    assert read("".encode(encoding)) == []


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_utf_16_of_powershell_is_read_in_either_byte_order(mark: bytes) -> None:
    encoding = "utf-16-le" if mark == b"\xff\xfe" else "utf-16-be"
    assert read(mark + "p/a.jpg\r\np/été 二.jpg\r\n".encode(encoding)) == NAMES[:2]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_an_error(encoding: str) -> None:
    with pytest.raises(SourceError, match=r"UTF-16 without a byte-order mark.*write it as UTF-8"):
        read("\n".join(NAMES).encode(encoding))


def a_image() -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(stream, "PNG")
    return stream.getvalue()


def an_archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in NAMES:
            archive.writestr(name, a_image())
    return stream.getvalue()


def numbers() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.arange(2000, dtype=np.float32))
    return stream.getvalue()


@pytest.mark.parametrize("make", [a_image, an_archive, numbers])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_file_that_is_not_text_is_an_error(make: Callable[[], bytes], mark: bytes) -> None:
    with pytest.raises(SourceError, match=r"^'list' is not text, expected a list of paths, one "):
        read(mark + make())


def test_existing_names_with_control_characters_are_accepted() -> None:
    for name in ("p/bell\a", "p/escape\x1b[1m"):
        Path(name).touch()
        assert read(f"p/gone.jpg\n{name}\n".encode()) == ["p/gone.jpg", name]


def test_a_list_of_only_urls_is_an_error() -> None:
    addresses = ["file:///p/a.jpg", "https://example.org/b.jpg"]
    with pytest.raises(SourceError, match=r"lists URLs, such as file:///p/a\.jpg, expected"):
        read("\n".join(addresses).encode())
    assert read(f"{addresses[0]}\np/a.jpg".encode()) == [addresses[0], "p/a.jpg"]
    with pytest.raises(SourceError, match="it is a URL, and sparsefeat does not download"):
        read_path_list("file:///p/list")


def test_a_wrong_byte_order_mark_is_an_error() -> None:
    for content in (b"\xff\xfep/a.jpg", b"\xff\xfe\x00\xd8\n\0"):
        with pytest.raises(SourceError, match="UTF-16-LE but has another encoding"):
            read(content)


def test_bytes_that_are_not_utf_8_are_preserved(inside: Path) -> None:
    assert read(b"\xef\xbb\xbfcaf\xe9.jpg\n") == [os.fsdecode(b"caf\xe9.jpg")]
    assert read(b"caf\xe9.jpg\0") == [os.fsdecode(b"caf\xe9.jpg")]


@pytest.mark.parametrize(
    "line",
    [
        '"p/b b.jpg"',
        "'p/b b.jpg'",
        "  p/b b.jpg",
        "p/b b.jpg \t",
        '  "p/b b.jpg"\r',
        '"p/b\\040b.jpg"',
        '"p/b\\x20b.jpg" ',
    ],
)
def test_quotes_and_blanks_around_an_existing_name_are_removed(line: str) -> None:
    expected = line if "x20" in line else "p/b b.jpg"
    assert read(line.encode() + b"\n") == [expected]


def test_quotes_of_windows_and_csv_are_removed() -> None:
    Path("C:\\new.jpg").touch()
    Path('say "x".jpg').touch()
    assert read(b'"C:\\new.jpg"\r\n"say ""x"".jpg"\r\n') == ["C:\\new.jpg", 'say "x".jpg']


def test_quotes_of_ls_and_git_are_removed(inside: Path) -> None:
    odd = ['tab\there "q".jpg', "été.jpg", "plain.jpg"]
    for name in odd:
        Path("p", name).touch()
    done = subprocess.run(["ls", "-Q", "p"], capture_output=True, check=True, env={"LC_ALL": "C"})
    os.chdir("p")
    assert set(odd) <= set(read(done.stdout))


def test_an_existing_name_with_quotes_is_unchanged() -> None:
    for name in ("'q'", '"q"', " blank ", "cr\r", "# no comment", "~"):
        Path(name).touch()
        assert read(name.encode() + b"\n") == [name]


def test_missing_names_are_unchanged() -> None:
    assert read(b'"gone.jpg"\r\n# note\r\n gone\r\n') == ['"gone.jpg"', "# note", " gone"]


def test_a_list_that_cannot_be_read_is_an_error() -> None:
    for name in ("nowhere", "p"):
        with pytest.raises(SourceError, match="as a list of images"):
            read_path_list(name)


def test_closed_standard_input_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(SourceError, match="standard input is closed"):
        read_path_list("-")
