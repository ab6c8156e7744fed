"""Match paths with patterns, and choose which files are listed."""

import fnmatch
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sparsefeat.errors import InputError

RAW = frozenset(
    [".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"],
)
"""Raw images of cameras, which are not decoded."""

COMPANIONS = RAW | frozenset(
    [
        *(".mov", ".mp4", ".m4v", ".avi", ".mkv", ".webm", ".3gp", ".mts", ".m2ts", ".lrv"),
        *(".mpg", ".mpeg", ".wmv", ".wav", ".mp3", ".m4a", ".aac"),
        *(".insv", ".thm", ".psd", ".gpx", ".lrcat", ".lrdata"),
        *(".xmp", ".aae", ".pp3", ".dop", ".json", ".xml", ".yaml", ".yml"),
        *(".txt", ".csv", ".md", ".html", ".log", ".ini", ".db", ".lnk", ".url"),
        ".ds_store",
        "._*",
        "icon\r",
    ]
)
"""Files that accompany images: raw images, videos and audio, edits, metadata and catalogues, notes,
and files of operating systems."""


CONTAINERS = (".tar", ".tar.gz", ".tgz", ".zip", ".parquet")
"""Files that contain other files; their members are listed instead of them."""


def is_container(name: str) -> bool:
    """Return whether a file contains other files, by its name.

    Examples
    --------
    >>> is_container("00000.TAR"), is_container("train.parquet"), is_container("a.jpg")
    (True, True, False)
    """
    return name.lower().endswith(CONTAINERS)


def is_hidden(names: Sequence[str]) -> bool:
    """Return whether a path leads through a hidden folder, to a hidden file, or into a store.

    Examples
    --------
    >>> is_hidden([".git", "a.jpg"]), is_hidden(["s.zarr", "c.0"]), is_hidden(["b", "a.jpg"])
    (True, True, False)
    """
    return any(name.startswith(".") or name.endswith(".zarr") for name in names)


def folded(pattern: str) -> tuple[str, ...]:
    """Split a pattern into its folder levels, in lower case.

    >>> folded("2019/**/*.JPG")
    ('2019', '**', '*.jpg')
    """
    return tuple(part for part in pattern.replace(os.sep, "/").lower().split("/") if part)


def matches(names: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return whether a path or a folder above it matches a pattern, as from `folded`.

    Case is ignored. A name always matches itself, even if it has brackets.

    >>> matches(["Photos [2019]", "a.JPG"], folded("photos [2019]/*.jpg"))
    True
    """
    return _matches([name.lower() for name in names], pattern)


def may_hold(names: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return whether a file in the folder `names` could match."""
    for name, part in zip(names, pattern, strict=False):
        if part == "**":
            return True
        if not _is_meant(name.lower(), part):
            return False
    return True


def _matches(names: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return True
    if pattern[0] == "**":
        return any(_matches(names[start:], pattern[1:]) for start in range(len(names) + 1))
    return bool(names) and _is_meant(names[0], pattern[0]) and _matches(names[1:], pattern[1:])


def _is_meant(name: str, part: str) -> bool:
    return name == part or fnmatch.fnmatchcase(name, part)


class Choice:
    """Decides which files are listed, and counts those that are skipped.

    Parameters
    ----------
    include, exclude
        Patterns that match at any depth: a file name (``*.jpg``), a folder (``thumbnails``), or
        both (``2019/*.jpg``). Without `include`, all files are listed except companions.

    Attributes
    ----------
    companions
        Hashes of the paths of skipped companions of images, and their kinds.
    left_out
        Number of files that were skipped because of `include` and `exclude`.

    Raises
    ------
    InputError
        `include` or `exclude` is not a pattern, starts with "/" or contains "..".
    """

    def __init__(
        self, include: str | Iterable[str] = (), exclude: str | Iterable[str] = ()
    ) -> None:
        self._include = _anywhere("include", include)
        self._exclude = _anywhere("exclude", exclude)
        self._matched: set[tuple[str, str]] = set()
        self.companions: dict[int, str] = {}
        self.left_out = 0

    def excludes(self, names: Sequence[str]) -> bool:
        """Return whether `exclude` matches the file or folder."""
        return self._matches("exclude", self._exclude, names)

    def _matches(
        self, option: str, patterns: Mapping[str, tuple[str, ...]], names: Sequence[str]
    ) -> bool:
        found = [(option, text) for text, one in patterns.items() if matches(names, one)]
        self._matched.update(found)
        return bool(found)

    @property
    def unmatched(self) -> tuple[tuple[str, str], ...]:
        """The patterns that matched nothing so far, as ("include" or "exclude", pattern)."""
        both = [("include", self._include), ("exclude", self._exclude)]
        pairs = ((option, text) for option, patterns in both for text in patterns)
        return tuple(pair for pair in pairs if pair not in self._matched)

    @property
    def missed(self) -> tuple[str, ...]:
        """The patterns of `include` if none of them has matched a file so far, otherwise empty."""
        unmatched = [text for option, text in self.unmatched if option == "include"]
        return tuple(unmatched) if len(unmatched) == len(self._include) else ()

    @property
    def n_skipped(self) -> int:
        """Number of files skipped so far."""
        return len(self.companions) + self.left_out

    @property
    def leaves_out(self) -> bool:
        """Whether `include` or `exclude` has skipped a file or folder so far."""
        return bool(self.left_out or any(option == "exclude" for option, _ in self._matched))

    def takes(self, names: Sequence[str], file: str, *, named: bool = False) -> bool:
        """Return whether a file is listed; if not, count it.

        Parameters
        ----------
        names
            The levels of its path below the root.
        file
            Its full path, so that it is counted only once.
        named
            The user named this file; then a companion is listed too.
        """
        excluded = self.excludes(names)
        included = self._matches("include", self._include, names)
        if is_container(names[-1]) and not excluded:
            return True
        if (self._include and not included) or excluded:
            self.left_out += 1
            return False
        if not named and not included and (kind := _companion(names[-1])):
            self.companions[hash(file)] = kind  # a hash takes a third of the name's memory
            return False
        return True


def _anywhere(option: str, patterns: str | Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Split patterns so that they match at any depth; a leading "./" is ignored."""
    found = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        parts = folded(pattern) if isinstance(pattern, str) else ()
        parts = tuple(part for part in parts if part != ".")
        if not parts:
            raise InputError(f"got {option} {pattern!r}, expected a pattern such as '*.jpg'")
        if Path(pattern).is_absolute() or ".." in parts:
            raise InputError(
                f"got {option} {pattern!r}, expected a pattern without a leading / and without ..,"
                " because it is compared with paths below the folder that is searched; use, for"
                f" example, {parts[-1] if parts[-1] != '..' else 'raw'!r}"
            )
        found[pattern] = ("**", *parts)
    return found


def _companion(name: str) -> str | None:
    name = name.lower()
    if name.startswith("._"):
        return "._*"
    if name in COMPANIONS:
        return name
    kind = name[max(0, name.rfind(".")) :]
    return kind if kind in COMPANIONS else None
