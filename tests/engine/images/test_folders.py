"""Folders with links, loops, deep paths and many files."""

import os
import subprocess
import tracemalloc
from pathlib import Path

from sparsefeat.images.folders import FolderSearch


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def listed_names(root: Path) -> list[str]:
    return [item.path for item in FolderSearch(skip=None).files(str(root))]


def test_loops_of_links_end(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "x", tmp_path / "b" / "y")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to(".")
    (tmp_path / "b" / "other").symlink_to("../a")
    (tmp_path / "broken-loop").symlink_to("broken-loop")
    assert listed_names(tmp_path) == ["a/x", "b/y", "broken-loop"]


def test_a_link_to_a_folder_elsewhere_is_followed_once_in_order(tmp_path: Path) -> None:
    touch(tmp_path / "far" / "m", tmp_path / "p" / "a", tmp_path / "p" / "z")
    (tmp_path / "p" / "link1").symlink_to("../far")
    (tmp_path / "p" / "link2").symlink_to("../far")
    assert listed_names(tmp_path / "p") == ["a", "z", "link1/m"]


def test_a_folder_is_listed_at_its_own_path_rather_than_a_link_s(tmp_path: Path) -> None:
    touch(tmp_path / "zzz" / "x")
    before = listed_names(tmp_path)
    (tmp_path / "aaa").symlink_to("zzz")
    assert listed_names(tmp_path) == before == ["zzz/x"]


def test_a_dangling_link_is_a_reject(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    (item,) = FolderSearch(skip=None).files(str(tmp_path))
    assert getattr(item, "reason", "") == "no such file"


def test_a_link_to_a_file_has_the_size_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "far").write_bytes(b"12345")
    touch(tmp_path / "p" / "a")
    (tmp_path / "p" / "link").symlink_to("../far")
    assert [item.bytes for item in FolderSearch(skip=None).files(str(tmp_path / "p"))] == [0, 5]


def test_a_tree_deeper_than_the_stack_and_the_longest_path(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(2100):
            os.mkdir("d", dir_fd=here)
            inner = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
    finally:
        os.close(here)
    try:
        (item,) = FolderSearch(skip=None).files(str(tmp_path))
    finally:
        # before Python 3.13, shutil.rmtree is recursive, with which pytest cleans up
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)
    assert getattr(item, "reason", "") == "the file could not be read: File name too long"


def test_many_files_take_little_memory(tmp_path: Path) -> None:
    count = 20_000
    folder = os.open(tmp_path, os.O_RDONLY)
    for index in range(count):
        os.close(os.open(f"IMG_{index:06}.jpg", os.O_CREAT, dir_fd=folder))
    os.close(folder)
    tracemalloc.start()
    found = sum(1 for _ in FolderSearch(skip=None).files(str(tmp_path)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == count
    assert peak / count < 100  # bytes per file
