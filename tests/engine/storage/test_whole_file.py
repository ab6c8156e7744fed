import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sparsefeat.errors import InputError
from sparsefeat.storage.whole_file import check_replaceable, replacing, write_file


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def test_text_is_written_as_utf_8_and_the_size_is_returned(tmp_path: Path) -> None:
    file = tmp_path / "ä.txt"
    assert write_file(file, "é\n") == 3
    assert file.read_bytes() == b"\xc3\xa9\n"
    assert write_file(file, b"\0\r\n") == 3
    assert file.read_bytes() == b"\0\r\n"
    assert names(tmp_path) == {"ä.txt"}


def test_write_errors_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for file in (tmp_path, tmp_path / "file" / "a.txt"):
        with pytest.raises(InputError, match="expected a file that may be written") as caught:
            write_file(file, "")
        assert str(file) in str(caught.value)
        assert "\n" not in str(caught.value)
        with pytest.raises(InputError, match="expected a file that may be written"):
            check_replaceable(file)
    assert names(tmp_path) == {"file"}


def test_missing_folders_are_created(tmp_path: Path) -> None:
    file = tmp_path / "new" / "newer" / "a.txt"
    check_replaceable(file)
    assert names(tmp_path) == set()
    write_file(file, "x")
    assert file.read_text() == "x"


def test_permissions_are_preserved(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    before = os.umask(0o027)
    try:
        write_file(file, "old")
        assert stat.S_IMODE(file.stat().st_mode) == 0o640
        file.chmod(0o604)
        write_file(file, "new")
    finally:
        os.umask(before)
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("new", 0o604)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root alone may give")
def test_the_owner_is_preserved(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")
    os.chown(file, 1234, 1234)
    write_file(file, "new")
    assert (file.stat().st_uid, file.stat().st_gid) == (1234, 1234)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root alone may give")
def test_an_owner_that_can_not_be_set_in_a_container_is_ignored(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")
    file.chmod(0o666)
    os.chown(file, 1234, 1234)
    code = (
        "import sys\n"
        "from sparsefeat.storage.whole_file import write_file\n"
        "write_file(sys.argv[1], 'new')"
    )
    container = ["unshare", "--user", "--map-root-user"]
    if subprocess.run([*container, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system makes no user namespace")
    line = [*container, sys.executable, "-c", code, str(file)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("new", 0o666)
    assert names(tmp_path) == {"a.txt"}


def test_the_target_of_a_link_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/page").write_text("old")
    (tmp_path / "link").symlink_to("there/page")
    (tmp_path / "dangling").symlink_to("there/other")
    for name in ("link", "dangling"):
        write_file(tmp_path / name, name)
        assert (tmp_path / name).is_symlink()
    assert (tmp_path / "there/page").read_text() == "link"
    assert (tmp_path / "there/other").read_text() == "dangling"
    assert names(tmp_path / "there") == {"page", "other"}


def test_a_pipe_is_written_to_directly(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    check_replaceable(tmp_path / "pipe")
    write_file(tmp_path / "pipe", "text")
    reader.join()
    assert read == ["text"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_pipe_whose_reader_has_closed_is_a_broken_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = threading.Thread(target=lambda: (tmp_path / "pipe").open("rb").close())
    reader.start()
    with pytest.raises(BrokenPipeError):
        write_file(tmp_path / "pipe", "text" * 100_000)
    reader.join()


def test_an_exception_does_not_change_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")

    def fail(file: Path) -> None:
        with replacing(file) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    for file in (tmp_path / "a", tmp_path / "new" / "b"):
        with pytest.raises(ZeroDivisionError):
            fail(file)
    assert names(tmp_path) == {"a"}
    assert (tmp_path / "a").read_text() == "old"


LIMITED = """
import resource, sys
from sparsefeat.errors import InputError
from sparsefeat.storage.whole_file import write_file
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_file(sys.argv[1], "x" * 2000)
except InputError as exc:
    print(exc)
"""


def test_a_full_disk_does_not_change_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, file], capture_output=True, text=True, check=True
    )
    assert "(File too large)" in done.stdout
    assert file.read_text() == "old"
    assert names(tmp_path) == {"a.txt"}


# Kills itself at call number argv[2] of those that change the folder.
KILLED = """
import os, signal, sys
from sparsefeat.storage.whole_file import write_file
left = int(sys.argv[2])
def count(event, words):
    global left
    if event in ("open", "os.rename", "os.chmod") and "sparsefeat-" in str(words[0]):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
write_file(sys.argv[1], "new")
"""


def test_a_kill_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    contents = []
    for calls in range(1, 6):
        file.write_text("old")
        done = subprocess.run([sys.executable, "-c", KILLED, file, str(calls)], check=False)
        assert done.returncode in (0, -signal.SIGKILL)
        contents.append(file.read_text())
    assert contents == ["old"] * 4 + ["new"]
