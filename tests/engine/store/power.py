"""Simulates a disk that loses power: synced data survive, the rest may be lost.

The model is POSIX's, and as unkind as file systems are: a file has the content that it had when
it was last synced (else none), and a folder the names that it had then (else none). In between,
names may also be kept earlier than asked for, content or not: all of them ("now"), or only those
below the folders that a store is in ("below"), so that what lies in a part goes before its name.
"""

import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

Names = dict[str, int]  # name in a folder: number of what it names


@dataclass
class Moment:
    """The state of the disk after one call: `what` was called on `path`."""

    what: str
    path: str
    files: dict[int, bytes]  # synced contents
    folders: dict[int, Names]  # synced names
    now: dict[int, Names]  # names as programs see them
    kinds: dict[int, bool]  # whether a number is a folder's
    marks: tuple[str, ...]


@dataclass
class Recorder:
    """Calls that were made under a folder, and the state of the disk after each.

    Files that exist at the beginning count as synced.
    """

    root: Path
    moments: list[Moment] = field(default_factory=list)
    marks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[int, bytes] = {}
        self._folders: dict[int, Names] = {}
        self._kinds: dict[int, bool] = {}
        for folder, names in self._walk():
            self._folders[folder] = names
        for path in self.root.rglob("*"):
            if path.is_file():
                self._files[path.stat().st_ino] = path.read_bytes()
        self.note("start", self.root)

    def mark(self, name: str) -> None:
        """Record that something must survive from here on."""
        self.marks = (*self.marks, name)
        self.note("mark", self.root)

    def synced(self, descriptor: int) -> None:
        with self._lock:
            status = os.fstat(descriptor)
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            if not path.is_relative_to(self.root):
                return
            if stat.S_ISDIR(status.st_mode):
                self._folders[status.st_ino] = _names(path)
            else:
                self._files[status.st_ino] = path.read_bytes()
            self._note("fsync", path)

    def note(self, what: str, path: Path) -> None:
        with self._lock:
            self._note(what, path)

    def _note(self, what: str, path: Path) -> None:
        now = dict(self._walk())
        relative = os.path.relpath(path, self.root)
        self.moments.append(
            Moment(
                what,
                relative,
                dict(self._files),
                dict(self._folders),
                now,
                dict(self._kinds),
                self.marks,
            )
        )

    def _walk(self) -> Iterator[tuple[int, Names]]:
        waiting = [self.root]
        while waiting:
            folder = waiting.pop()
            self._kinds[folder.stat().st_ino] = True
            names = _names(folder)
            for name, number in names.items():
                is_folder = (folder / name).is_dir()
                self._kinds[number] = is_folder
                if is_folder:
                    waiting.append(folder / name)
            yield folder.stat().st_ino, names

    def after(
        self, moment: Moment, names: Literal["synced", "now", "below"]
    ) -> dict[str, bytes | None]:
        """Return what is found once the power is back: contents of files, None for folders."""
        folders = moment.folders if names == "synced" else moment.now
        if names == "below":
            root = self.root.stat().st_ino
            above = {root, *moment.folders.get(root, {}).values()}
            # A folder that was deleted since has lost its unsynced names.
            folders = {each: {} for each in moment.folders} | moment.now
            folders |= {each: moment.folders.get(each, {}) for each in above}
        found: dict[str, bytes | None] = {}
        waiting = [("", self.root.stat().st_ino)]
        while waiting:
            path, number = waiting.pop()
            for name, inner in folders.get(number, {}).items():
                where = f"{path}/{name}" if path else name
                if moment.kinds[inner]:
                    found[where] = None
                    waiting.append((where, inner))
                else:
                    found[where] = moment.files.get(inner, b"")
        return found


def _names(folder: Path) -> Names:
    return {entry.name: entry.inode() for entry in os.scandir(folder)}


@contextmanager
def recorded(root: Path, patch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """Record the calls of this process that change the disk under a folder."""
    recorder = Recorder(root)
    fsync = os.fsync

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        recorder.synced(descriptor)

    def watched(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def do(path: Any, *rest: Any, **options: Any) -> Any:
            result = call(path, *rest, **options)
            if not isinstance(path, int):
                recorder.note(name, Path(os.fsdecode(rest[0] if rest else path)))
            return result

        return do

    with patch.context() as context:
        context.setattr(os, "fsync", synced)
        for name in ("rename", "replace", "link", "unlink", "remove", "rmdir"):
            context.setattr(os, name, watched(name, getattr(os, name)))
        yield recorder


def put(found: dict[str, bytes | None], folder: Path, before: dict[str, bytes | None]) -> None:
    """Update a folder from one state of the disk to the next."""
    both = before.keys() & found.keys()
    changed = (before.keys() | found.keys()) - {
        name for name in both if before[name] == found[name]
    }
    for name in sorted(changed & before.keys(), reverse=True):
        (folder / name).rmdir() if before[name] is None else (folder / name).unlink()
    for name in sorted(changed & found.keys()):
        content = found[name]
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)
