"""Storage in a local folder: exclusive names, and no links out of the store."""

import errno
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest

from sparsefeat.storage import LocalStorage, sync

RACERS = 4
TURNS = 60


def refusing(code: int) -> Callable[..., NoReturn]:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    made = LocalStorage(tmp_path / "store")
    made.claim("snapshots")
    made.claim("parts")
    return made


def names(storage: LocalStorage) -> list[str]:
    """List the names, without the lock file of file systems without hard links."""
    files = sorted(path.relative_to(storage.root) for path in storage.root.rglob("*"))
    return [str(file) for file in files if file.name != ".lock"]


# --- exclusive creation ---

NO_LINKS = [errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK]


@pytest.mark.parametrize("code", [None, *NO_LINKS])
def test_a_name_is_created_once(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch, code: int | None
) -> None:
    """Also on file systems without hard links."""
    if code is not None:
        monkeypatch.setattr(os, "link", refusing(code))
    assert storage.create("snapshots/1", b"first")
    assert not storage.create("snapshots/1", b"second")
    assert storage.read("snapshots/1", 9) == b"first"
    assert names(storage) == ["parts", "snapshots", "snapshots/1"]


RACER = """
import os, sys
from pathlib import Path
from sparsefeat.storage import LocalStorage

folder, number, links = sys.argv[1:]
if links == "without links":
    def refuse(*_): raise PermissionError(1, "Operation not permitted")
    os.link = refuse
storage = LocalStorage(Path(folder))
print("ready", flush=True)
sys.stdin.readline()
for turn in range(TURNS):
    if storage.create(f"snapshots/{turn}", number.encode() * 1000):
        print(turn)
"""


@pytest.mark.parametrize("links", ["with links", "without links"])
def test_one_of_several_racing_processes_creates_a_name(storage: LocalStorage, links: str) -> None:
    racer = RACER.replace("TURNS", str(TURNS))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", racer, str(storage.root), str(number), links],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(RACERS)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        won = [process.communicate(timeout=60)[0].split() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert sorted(int(turn) for turns in won for turn in turns) == [*range(TURNS)]
    for number, turns in enumerate(won):
        for turn in turns:
            assert storage.read(f"snapshots/{turn}", 1000) == str(number).encode() * 1000
    assert not [name for name in names(storage) if name.endswith(".tmp")]


@pytest.mark.parametrize("code", [errno.EEXIST, errno.EIO])
def test_a_link_whose_answer_was_lost_counts_as_created(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A server makes the link, its answer is lost, and the repeated request fails."""

    def link(source: Path, target: Path) -> None:
        original(source, target)
        raise OSError(code, os.strerror(code))

    original = os.link
    monkeypatch.setattr(os, "link", link)
    assert storage.create("snapshots/1", b"ours")
    assert names(storage) == ["parts", "snapshots", "snapshots/1"]


@pytest.mark.parametrize("call", ["link", "fsync"])
def test_a_refused_creation_leaves_no_files(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(os, call, refusing(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        storage.create("snapshots/1", b"")
    assert names(storage) == ["parts", "snapshots"]


def test_a_name_in_a_deleted_folder_can_not_be_created(storage: LocalStorage) -> None:
    storage.delete("snapshots")
    with pytest.raises(FileNotFoundError):
        storage.create("snapshots/1", b"")


# --- writing ---


def test_files_are_written_below_a_new_folder(storage: LocalStorage) -> None:
    storage.make_new("parts/a.zarr")
    assert storage.write("parts/a.zarr/obs/path/c.0", [b"ab", b"", b"c"]) == 3
    storage.sync("parts/a.zarr")
    assert storage.read("parts/a.zarr/obs/path/c.0", 3) == b"abc"
    with pytest.raises(FileExistsError):
        storage.make_new("parts/a.zarr")


def test_a_folder_that_was_removed_is_not_created_again(storage: LocalStorage) -> None:
    """A new one would lack the files that were written before."""
    storage.make_new("parts/a.zarr")
    storage.write("parts/a.zarr/obs/c.0", [b"a"])
    storage.delete("parts/a.zarr")
    for key in ("parts/a.zarr/obs/c.1", "parts/a.zarr/zarr.json", "parts/a.zarr/x/y/z"):
        with pytest.raises(FileNotFoundError):
            storage.write(key, [b"b"])
    assert names(storage) == ["parts", "snapshots"]


def test_new_folders_are_removed_again_if_empty(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "a" / "b")
    made = [*storage.claim("parts"), *storage.claim("snapshots")]
    assert storage.claim("parts") == []
    (tmp_path / "a" / "note").touch()
    storage.unmake([tmp_path / "a/b/snapshots", *made])
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "note"]


def test_a_folder_that_others_make_and_remove_meanwhile_is_made(tmp_path: Path) -> None:
    def turns(_: int) -> None:
        storage = LocalStorage(tmp_path / "a" / "b")
        for _ in range(1000):
            storage.unmake([*storage.claim("parts"), *storage.claim("snapshots")])

    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(turns, range(4))] == [None] * 4


def test_a_folder_that_can_not_be_synced_is_accepted_and_a_file_is_not(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some mounted file systems refuse to sync any folder; for a file it is an error."""
    storage.make_new("parts/a.zarr")
    storage.write("parts/a.zarr/zarr.json", [b"{}"])
    monkeypatch.setattr(os, "fsync", refusing(errno.EINVAL))
    sync(storage.root)
    with pytest.raises(OSError, match="Invalid argument"):
        sync(storage.root / "parts/a.zarr/zarr.json")
    monkeypatch.setattr(os, "fsync", refusing(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        sync(storage.root)


# --- reading ---


@pytest.fixture
def part(storage: LocalStorage) -> Path:
    storage.make_new("parts/a.zarr")
    storage.write("parts/a.zarr/obs/c.0", [b"0123456789"])
    return storage.root / "parts/a.zarr"


def test_ranges_of_a_file_are_read(storage: LocalStorage, part: Path) -> None:
    with storage.open("parts/a.zarr/obs/c.0") as file:
        assert (file.size, file.read(2, 3), file.read(8, 9), file.read(99, 1)) == (
            10,
            b"234",
            b"89",
            b"",
        )
    assert storage.size("parts/a.zarr/obs/c.0") == 10
    with pytest.raises(ValueError, match="has 10 bytes, expected at most 9"):
        storage.read("parts/a.zarr/obs/c.0", 9)


def test_links_out_of_a_part_are_not_followed(storage: LocalStorage, part: Path) -> None:
    secret = storage.root.parent / "secret"
    secret.mkdir()
    (secret / "c.0").write_text("of somebody else")
    (part / "link").symlink_to(secret / "c.0")
    (part / "folder").symlink_to(secret)
    os.mkfifo(part / "pipe")
    for key in ("link", "folder/c.0", "pipe", "obs"):
        with pytest.raises(ValueError, match=r"is a link|no regular file"):
            storage.read(f"parts/a.zarr/{key}", 99)
    with pytest.raises(FileNotFoundError):
        storage.read("parts/a.zarr/none", 99)


def test_the_store_s_own_folders_may_be_links(tmp_path: Path) -> None:
    """For example, to another disk."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").mkdir()
    (tmp_path / "store/parts").symlink_to(tmp_path / "disk")
    storage = LocalStorage(tmp_path / "store")
    assert storage.claim("parts") == []
    storage.make_new("parts/a.zarr")
    storage.write("parts/a.zarr/zarr.json", [b"{}"])
    storage.sync("parts/a.zarr")
    assert LocalStorage(tmp_path / "store").read("parts/a.zarr/zarr.json", 2) == b"{}"
    assert (tmp_path / "disk/a.zarr/zarr.json").exists()


# --- deleting ---


def test_a_folder_is_hidden_before_it_is_deleted(
    storage: LocalStorage, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If deleting fails half way, a hidden rest is left and never half a part."""
    monkeypatch.setattr(os, "unlink", refusing(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        storage.delete("parts/a.zarr")
    assert not storage.exists("parts/a.zarr")
    monkeypatch.undo()
    (rest,) = storage.names("parts")
    assert rest.startswith(".")
    assert rest.endswith(".tmp")
    storage.delete(f"parts/{rest}")
    assert names(storage) == ["parts", "snapshots"]


def test_deleting_a_link_keeps_its_target(storage: LocalStorage, part: Path) -> None:
    (storage.root / "parts/b.zarr").symlink_to(part)
    storage.delete("parts/b.zarr")
    assert storage.names("parts") == ["a.zarr"]
    assert (part / "obs/c.0").exists()
    with pytest.raises(FileNotFoundError):
        storage.delete("parts/b.zarr")


# --- queries ---


def test_ages_are_measured_by_the_clock_of_the_file_system(
    storage: LocalStorage, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This machine's clock may be days off. The age is that of the latest change below the name."""
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert 0 <= storage.age("parts/a.zarr") < 60
    now = (part / "obs/c.0").stat().st_mtime
    for path in (part, part / "obs", part / "obs/c.0"):
        os.utime(path, (now - 5000, now - 5000))
    assert 5000 <= storage.age("parts/a.zarr") < 5060
    os.utime(part / "obs", (now - 100, now - 100))
    assert 100 <= storage.age("parts/a.zarr") < 160
    with pytest.raises(FileNotFoundError):
        storage.age("parts/b.zarr")
    assert storage.names("") == ["parts", "snapshots"]


def test_usage_counts_bytes_on_disk(storage: LocalStorage, part: Path) -> None:
    assert storage.usage("")[0] == 10
    with (part / "holes").open("wb") as file:
        file.truncate(100 << 20)
    stored, allocated = storage.usage("parts/a.zarr")
    assert stored == (100 << 20) + 10
    assert allocated < 1 << 20


def test_a_name_that_may_not_be_inspected_counts_as_existing(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not storage.exists("parts/a.zarr")
    assert not storage.exists("parts/a.zarr/zarr.json")
    monkeypatch.setattr(Path, "lstat", refusing(errno.EACCES))
    assert storage.exists("parts/a.zarr")


def test_anything_but_a_folder_is_a_file(storage: LocalStorage, part: Path) -> None:
    (storage.root / "nothing").symlink_to("missing")
    (storage.root / "loop").symlink_to("loop")
    (storage.root / "folder").symlink_to(part)
    (storage.root / "file").touch()
    keys = ["nothing", "loop", "file", "file/below", "folder"]
    assert [storage.is_file(key) for key in keys] == [True, True, True, False, False]


def test_another_folder_with_the_same_path_has_another_identity(
    storage: LocalStorage, part: Path
) -> None:
    before = storage.identity()
    assert LocalStorage(storage.root).identity() == before
    storage.root.rename(storage.root.with_name("away"))
    storage.claim("parts")
    assert storage.identity() != before


def test_storage_can_be_pickled(storage: LocalStorage, part: Path) -> None:
    copy = pickle.loads(pickle.dumps(storage))
    assert copy.read("parts/a.zarr/obs/c.0", 10) == b"0123456789"
    assert (str(copy), copy.name("parts")) == (str(storage.root), str(storage.root / "parts"))
