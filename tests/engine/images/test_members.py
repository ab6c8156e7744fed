"""Single images in archives, read by their paths."""

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from sparsefeat.images import Source, find_image, read_original
from sparsefeat.images.members import container_above
from sparsefeat.images.reading import read_file

from ..store.data import bytes_read

N = 60
NAMES = [f"inner/{number:03}.jpg" for number in range(N)]


@pytest.fixture(scope="module")
def contents() -> dict[str, bytes]:
    """Contents that compression doesn't make smaller."""
    generator = np.random.default_rng(0)
    return {name: generator.bytes(20_000) for name in NAMES}


@pytest.fixture(params=["w", "w:gz"])
def archive(request: pytest.FixtureRequest, contents: dict[str, bytes], tmp_path: Path) -> Path:
    mode = request.param
    path = tmp_path / ("a.tar.gz" if mode == "w:gz" else "a.tar")
    with tarfile.open(path, mode) as tar:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def original(archive: Path, name: str, contents: dict[str, bytes]) -> bytes | str:
    digest = hashlib.sha256(contents[name]).hexdigest()
    return read_original(f"{archive.name}/{name}", str(archive.parent), digest)


def test_members_in_the_archive_s_order_are_read_in_one_pass(
    archive: Path, contents: dict[str, bytes]
) -> None:
    before = bytes_read()
    for name in NAMES:
        assert original(archive, name, contents) == contents[name]
    assert bytes_read() - before < 2.5 * archive.stat().st_size


def test_members_are_read_in_any_order(archive: Path, contents: dict[str, bytes]) -> None:
    for name in [NAMES[40], NAMES[3], NAMES[3], NAMES[59], NAMES[0]]:
        assert original(archive, name, contents) == contents[name]
    gone = read_original(f"{archive.name}/inner/gone.jpg", str(archive.parent), "0" * 64)
    assert gone == "no such file"
    assert original(archive, NAMES[7], contents) == contents[NAMES[7]]


def test_members_of_a_rewritten_archive_have_changed(
    archive: Path, contents: dict[str, bytes]
) -> None:
    assert original(archive, NAMES[1], contents) == contents[NAMES[1]]
    with tarfile.open(archive, "w:gz" if archive.suffix == ".gz" else "w") as tar:
        entry = tarfile.TarInfo(NAMES[1])
        entry.size = 3
        tar.addfile(entry, io.BytesIO(b"new"))
    assert original(archive, NAMES[1], contents) == "the file changed since it was stored"
    found = find_image(archive / NAMES[1])
    assert isinstance(found, Source)
    assert read_file(found, 100) == b"new"
    assert original(archive, NAMES[2], contents) == "no such file"


def test_a_folder_with_the_name_of_an_archive_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.tar").mkdir()
    (tmp_path / "a.tar" / "x.jpg").write_bytes(b"x")
    found = find_image(tmp_path / "a.tar" / "x.jpg", root=str(tmp_path))
    assert isinstance(found, Source)
    assert (found.path, found.member) == ("a.tar/x.jpg", None)
    lost = find_image(tmp_path / "a.tar" / "y.jpg", root=str(tmp_path))
    assert (lost.path, getattr(lost, "reason", "")) == ("a.tar/y.jpg", "no such file")


def test_the_archive_of_a_member_s_path_is_found() -> None:
    assert container_above("a/b.ZIP/c.tar/d.jpg") == "a/b.ZIP"
    assert container_above("a/b.zip") is None
    assert container_above("s3://bucket/x.parquet/000") == "s3://bucket/x.parquet"
