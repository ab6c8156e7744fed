"""Which files there are, in a stable order, and what to call them."""

# Plain text for paths: a million pathlib objects would double time and memory.
# ruff: noqa: PTH100, PTH109, PTH110, PTH112, PTH118, PTH206

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from sparsefeat.errors import InputError, SourceError
from sparsefeat.pictures.source import Source, decode_path
from sparsefeat.pictures.unreadable import Reason
from sparsefeat.pictures.walk import Found, Walk, found_file, lost_file
from sparsefeat.records import Reject

AnyPath = str | os.PathLike[str]


def list_pictures(
    inputs: Sequence[AnyPath],
    *,
    files_from: AnyPath | None = None,
    root: AnyPath | None = None,
    skip: AnyPath | None = None,
) -> list[Source | Reject]:
    """List the files that may be photographs: every regular file that isn't hidden.

    Parameters
    ----------
    inputs
        Folders (searched recursively), files, and patterns in which ``**`` stands for any
        folders. What exists under a name is never taken for a pattern.
    files_from
        A file with one path a line, or with NUL after each path; "-" is standard input.
    root
        Folder that the paths of single files are relative to, if they lie beneath it.
    skip
        Folder that is never entered, such as the store that is being written; what is listed
        in `files_from` is passed over if it lies there.

    Returns
    -------
    A `Source` for each file and a `Reject` for each that is lost or forbidden, in the order
    of the arguments and then of the list; within a folder, by the bytes of the path relative
    to it. A file named twice comes once.

    Raises
    ------
    SourceError
        If an argument names nothing, or there is nothing at all.
    InputError
        If `inputs` is one path.

    Notes
    -----
    A folder is the root of its pictures; a pattern's root is the folder before the first
    wildcard. A single file is relative to `root`, else to the current folder, else to "/".
    Links to folders are followed, but no folder is entered twice.
    """
    if isinstance(inputs, str | os.PathLike):
        raise InputError(f"got the one path {os.fspath(inputs)!r}, expected a list: put it in one")
    base = None if root is None else _absolute(os.fspath(root))
    folders = Walk(skip)
    found: dict[str, Found] = {}
    for argument in inputs:
        for item in _named(os.fspath(argument), base, folders, skip):
            found.setdefault(_file(item), item)
    if files_from is not None:
        for entry in _entries(files_from):
            if not _in_store(_absolute(entry), skip):
                item = find_picture(entry, root=base)
                found.setdefault(_file(item), item)
    if not found:
        raise SourceError(
            f"got {_quoted(inputs, files_from)}, expected photographs: there are no files in"
            " it (hidden ones don't count); name another folder"
        )
    return list(found.values())


def find_picture(path: AnyPath, *, root: str | None = None) -> Source | Reject:
    """Look at one file, named relative to `root`, else to the current folder, else to "/"."""
    named = os.fspath(path)
    if "\0" in named:  # no system has such names
        return lost_file("", named, Reason.MISSING)
    file = _absolute(named)
    base, inside = _split(file, root)
    if os.path.isdir(file):
        return lost_file(base, inside, Reason.FOLDER)
    folder, slash, name = inside.rpartition("/")
    return found_file(base, folder + slash, name) or lost_file(base, inside, Reason.SPECIAL)


def _named(
    argument: str, base: str | None, folders: Walk, skip: AnyPath | None
) -> list[Source | Reject]:
    if os.path.isdir(argument):
        return folders.files(_absolute(argument))
    if os.path.exists(argument):
        return [find_picture(argument, root=base)]
    found: list[Found] = []
    if glob.has_magic(argument) and not os.path.lexists(argument):
        folder, pattern = _fixed_folder(argument)
        if os.path.isdir(folder):
            # A walk of its own: another pattern may have entered these folders for other files.
            found = Walk(skip).files(folder, pattern)
    if not found:
        raise SourceError(
            f"got {argument!r}, expected a file, a folder or a pattern that matches some:"
            " there is nothing of that name; check the spelling and the current folder"
        )
    return found


def _fixed_folder(pattern: str) -> tuple[str, list[str]]:
    parts = os.path.abspath(pattern).split(os.sep)
    wild = next(level for level, part in enumerate(parts) if glob.has_magic(part))
    return os.sep.join(parts[:wild]) + ("" if wild > 1 else os.sep), parts[wild:]


def _entries(files_from: AnyPath) -> Iterator[str]:
    if files_from == "-":
        listed = sys.stdin.buffer.read()
    else:
        try:
            listed = Path(files_from).read_bytes()
        except OSError as exc:
            raise SourceError(
                f"got {os.fspath(files_from)!r} as a list of photographs, expected a file with"
                f" one path a line: {exc.strerror}; check the path"
            ) from exc
    if b"\0" in listed:
        entries = listed.split(b"\0")
    else:
        entries = [line.removesuffix(b"\r") for line in listed.split(b"\n")]
    return (os.fsdecode(entry) for entry in entries if entry.strip())


def _in_store(file: str, skip: AnyPath | None) -> bool:
    """Whether a walk wouldn't have come here: into `skip`, or a folder ``*.zarr``."""
    if skip is not None:
        store = _absolute(os.fspath(skip))
        if file == store or _is_beneath(file, store):
            return True
    return ".zarr" + os.sep in file


def _absolute(path: str) -> str:
    absolute = os.path.abspath(path)
    # "link/.." is not where the text says it is.
    if ".." in path and (real := os.path.realpath(path)) != os.path.realpath(absolute):
        return real
    return absolute


def _split(file: str, root: str | None) -> tuple[str, str]:
    anchor = os.path.splitdrive(file)[0] + os.sep
    candidates = (root, os.getcwd(), anchor)
    folder = next(each for each in candidates if each and _is_beneath(file, each))
    return folder, file[len(folder) :].lstrip(os.sep).replace(os.sep, "/")


def _is_beneath(file: str, folder: str) -> bool:
    start = os.path.normcase(folder.rstrip(os.sep) + os.sep)
    return os.path.normcase(file).startswith(start)


def _file(item: Source | Reject) -> str:
    return (
        item.file
        if isinstance(item, Source)
        else os.path.join(decode_path(item.root), decode_path(item.path))
    )


def _quoted(inputs: Sequence[AnyPath], files_from: AnyPath | None) -> str:
    names = [*inputs, *([] if files_from is None else [files_from])]
    return ", ".join(repr(os.fspath(name)) for name in names) or "no names at all"
