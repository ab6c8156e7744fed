import resource
from contextlib import AbstractContextManager
from pathlib import Path

import h5py
import pytest

from sparsefeat.errors import InputError
from sparsefeat.interop.conversion import output as made
from sparsefeat.interop.conversion.npz import made_here
from sparsefeat.interop.conversion.output import Sink

from ...refusals import no_more_than


def target(
    path: Path, *, folder: bool = False, force: bool = False
) -> AbstractContextManager[Path]:
    return made.target(path, folder=folder, force=force, ours=made_here)


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


@pytest.mark.parametrize("folder", [False, True])
def test_the_output_appears_when_it_is_complete(tmp_path: Path, folder: bool) -> None:
    name = "ä" * 120  # as long as names can be, in bytes
    with target(tmp_path / name, folder=folder) as path:
        (path / "header.json" if folder else path).write_text("x")
        assert name not in names(tmp_path)
    assert names(tmp_path) == {name}


@pytest.mark.parametrize("folder", [False, True])
def test_an_exception_leaves_no_files(tmp_path: Path, folder: bool) -> None:
    def fail() -> None:
        with target(tmp_path / "x", folder=folder) as path:
            (path / "header.json" if folder else path).write_text("x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(tmp_path) == set()


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    def meet() -> None:
        with target(tmp_path / "x") as path:
            path.write_text("ours")
            (tmp_path / "x").write_text("theirs")

    with pytest.raises(InputError, match="exists"):
        meet()
    assert (tmp_path / "x").read_text() == "theirs"
    assert names(tmp_path) == {"x"}


def test_only_outputs_of_conversions_are_replaced(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("")
    for folder in (False, True):
        taken = target(home, folder=folder, force=True)
        with pytest.raises(InputError, match="choose another name"), taken:
            pass
    (tmp_path / "file").write_text("")
    file = target(tmp_path / "file", folder=True, force=True)
    with pytest.raises(InputError, match="is a file"), file:
        pass
    (tmp_path / "link").symlink_to(home)
    link = target(tmp_path / "link", folder=True, force=True)
    with pytest.raises(InputError, match="link"), link:
        pass
    assert names(home) == {"thesis.tex"}


@pytest.mark.parametrize("folder", [False, True])
def test_force_replaces_a_file(tmp_path: Path, folder: bool) -> None:
    for text in ("old", "new"):
        with target(tmp_path / "x", folder=folder, force=True) as path:
            for name in ("obs.csv", "rejected.csv", "header.json", "a.npz") if folder else ("",):
                (path / name if folder else path).write_text(text)
    read = tmp_path / "x" / "a.npz" if folder else tmp_path / "x"
    assert read.read_text() == "new"
    assert names(tmp_path) == {"x"}


def test_a_failed_replacement_restores_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with target(tmp_path / "x", folder=True) as path:
        for name in ("obs.csv", "rejected.csv", "header.json"):
            (path / name).write_text("old")
    rename = Path.rename

    def refuse(self: Path, to: Path) -> Path:
        if self.suffix == ".tmp":
            raise OSError("no")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", refuse)

    def replace() -> None:
        with target(tmp_path / "x", folder=True, force=True) as path:
            (path / "obs.csv").write_text("new")

    with pytest.raises(OSError, match="no"):
        replace()
    assert names(tmp_path) == {"x"}
    assert (tmp_path / "x" / "obs.csv").read_text() == "old"


def test_a_sink_behaves_like_a_file(tmp_path: Path) -> None:
    with Sink(tmp_path / "x") as sink:
        assert sink.write(b"0123456789") == 10
        assert sink.write(b"") == 0
        assert sink.seek(2) == 2
        assert sink.read(3) == b"234"
        assert sink.tell() == 5
        sink.truncate(7)
        sink.check()
    assert (tmp_path / "x").read_bytes() == b"0123456"
    with pytest.raises(FileExistsError):
        Sink(tmp_path / "x")


def test_the_first_error_of_a_sink_is_raised_even_if_a_library_hides_it(tmp_path: Path) -> None:
    def fill() -> None:
        limit = no_more_than(resource.RLIMIT_FSIZE, 1000)
        with limit, Sink(tmp_path / "x") as sink, h5py.File(sink, "w") as file:
            for number in range(100):
                file[f"{number}"] = [number] * 1000

    with pytest.raises(OSError, match="File too large"):
        fill()
    assert (tmp_path / "x").stat().st_size <= 1000
