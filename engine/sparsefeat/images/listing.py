"""List the files that may be images, in a stable order."""

# Plain text for paths: a million pathlib objects would double time and memory.
# ruff: noqa: PTH100, PTH109, PTH110, PTH112, PTH118, PTH120, PTH206

import glob
import inspect
import logging
import os
import posixpath
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, Final, ParamSpec, TypeVar

from sparsefeat.errors import InputError, SourceError
from sparsefeat.images.bucket import is_in_bucket, object_at, objects_below, split_url
from sparsefeat.images.columns import Columns
from sparsefeat.images.containers import list_members
from sparsefeat.images.folders import FolderSearch, find_file, lost_file
from sparsefeat.images.manifest import is_manifest, read_manifest
from sparsefeat.images.members import Recent, container_above, find_member
from sparsefeat.images.path_list import ADDRESS, read_path_list, refuse_addresses
from sparsefeat.images.patterns import RAW, Choice, folded, is_container
from sparsefeat.images.shard import Shard
from sparsefeat.images.source import (
    Found,
    NoImagesError,
    Reason,
    Source,
    UnreadableError,
    decode_path,
    encode_path,
    refused,
)
from sparsefeat.storage import is_url
from sparsefeat.system import counted, one_line, refuse_empty
from sparsefeat.types import Reject

AnyPath = str | os.PathLike[str]
P = ParamSpec("P")
T = TypeVar("T")

_TOGETHER: Final = 1024  # rows of a table in a block
_LOOKING: Final = 16  # simultaneous requests for objects
_recent = Recent()
_log = logging.getLogger(__name__)


class Search:
    """The files that may be images: all regular files that are not hidden.

    The files are searched while the object is iterated, which is possible once. `list_images`
    returns all of them as a list. `extract` and `Extractor.extract` accept both.

    Parameters
    ----------
    inputs
        One or several folders (searched recursively), files, and patterns in which ``**`` matches
        any folders; case is ignored. The name of an existing file is never taken as a pattern.
    files_from
        A list of files and folders, with one path per line or with NUL after each; "-" is standard
        input. A folder is searched, unless the list also names files in it. Or a table, named
        ``.parquet``, ``.csv`` or ``.tsv``, with one image per row; relative paths in it start at
        the table's folder.
    root
        Folder to which the paths of single files are relative, if they are below it.
    skip
        Folder that is never entered, for example the store that is being written; paths of
        `files_from` that are in it are skipped.
    include, exclude
        Patterns, at any depth, of the only files to list, and of files and folders not to list:
        ``*.jpg``, ``thumbnails``, ``2019/*.jpg``. They are compared with the path below the
        searched folder, or of a single file with the path below its root.
    shard
        List only the images of this shard.
    path_column
        The column of a table in `files_from` that has the paths; by default ``path``,
        ``file_name``, ``image``, ``url``, ``key`` or a similar name.
    label_column
        The column of a table, or the field of a WebDataset sample, that has the label.
    keep
        Columns and fields to store with the rows, separated by commas or as a list.

    Yields
    ------
    Source or Reject
        A `Source` for each file, and a `ReadFailure` for each file that is missing or not
        permitted. They come in the order of `inputs` and then of `files_from`; within a folder by
        the bytes of their relative paths, and after them files that are reached only through links.
        A file that is named twice is listed once. Companions of images (``.mov``, ``.xmp``,
        ``Thumbs.db``, ...) are counted in `companions` and not listed, unless `inputs` names the
        file or `include` matches it.

    Raises
    ------
    SourceError
        One of `inputs` does not exist or disappears; or there are inputs but no files in them; or
        `root` is not a folder; or a table lacks a named column. Errors that are known before the
        search are raised at once.
    InputError
        One of `inputs` is not a path, or a path is empty; or `include` or `exclude` is not a
        pattern, starts with "/" or contains ".."; or a column has a name that a store can't hold.

    Notes
    -----
    The root of images in a folder is that folder; the root of a pattern is the folder before the
    first wildcard. The root of a single file is `root`, or else the current folder, or else "/";
    for a file in a table, the table's folder comes before the current folder. Links to folders are
    followed, but no folder is entered twice.
    """

    def __init__(
        self,
        inputs: AnyPath | Iterable[AnyPath] = (),
        *,
        files_from: AnyPath | None = None,
        root: AnyPath | None = None,
        skip: AnyPath | None = None,
        include: str | Iterable[str] = (),
        exclude: str | Iterable[str] = (),
        shard: Shard | None = None,
        path_column: str | None = None,
        label_column: str | None = None,
        keep: str | Iterable[str] = (),
    ) -> None:
        self._names, self._shard = _paths(inputs), shard
        self._columns = Columns(label_column, keep)
        self._base = None
        if root is not None:
            refuse_empty(root, "the root of images")
            self._base = _checked_root(os.fsdecode(root))
        self._skip, self._choice = skip, Choice(include, exclude)
        for name in self._names:
            if is_in_bucket(name):
                continue
            is_pattern = glob.has_magic(name) and not os.path.lexists(name)
            if not os.path.exists(name) and not is_pattern:
                raise _nothing(name)
        self._given = [*map(repr, self._names)]
        self._entries: list[str] = []
        self._table = os.fsdecode(files_from) if is_manifest(files_from) else None  # type: ignore[arg-type]
        self._path_column, self._n_other = path_column, 0
        if self._table is None and path_column is not None:
            raise InputError(
                f"got path_column {path_column!r} (--path-column), expected a table in files_from: "
                "a file named .parquet, .csv or .tsv"
            )
        if self._table is None and files_from is not None:
            self._entries = read_path_list(files_from)
            if self._entries:
                listed = "standard input" if files_from == "-" else repr(os.fspath(files_from))
                self._given.append(f"{counted(len(self._entries), 'path')} in {listed}")

    @property
    def companions(self) -> dict[str, int]:
        """Number of companions of images skipped so far, by their kind."""
        return dict(Counter(self._choice.companions.values()))

    @property
    def unmatched(self) -> tuple[tuple[str, str], ...]:
        """Patterns and columns that matched nothing so far, as (option, pattern or column)."""
        return self._choice.unmatched + self._columns.unmatched

    def __iter__(self) -> Iterator[Found]:
        found = self._found()
        seen: set[int] = set()  # hashes, which take a fraction of the memory of names
        is_list = bool(self._entries) or self._table is not None
        if len(self._names) != 1 or is_list:
            found = _once(found, seen)
        count = 0
        for item in found:
            if isinstance(item, Source) and item.is_whole and is_container(item.file):
                members = self._members(item)
                # A list may name an archive and images in it.
                for member in _once(members, seen) if is_list else members:
                    count += 1
                    yield member
            else:
                count += 1
                yield item
        if self._given and not count and not self._n_other:
            raise self._no_images()
        _log.debug("%s listed", counted(count, "file"))
        if companions := self.companions:
            _log.debug("%s", describe_companions(companions))

    def _found(self) -> Iterator[Found]:
        folders = FolderSearch(self._skip, self._choice)
        for name in self._names:
            yield from self._mine(self._named(name, folders))
        if self._entries:
            yield from self._mine(self._listed(folders))
        if self._table is not None:
            yield from self._tabled(self._table)

    def _named(self, argument: str, folders: FolderSearch) -> Iterator[Found]:
        if is_in_bucket(argument):
            if (yield from self._all_of(objects_below(argument, self._skip, self._choice.takes))):
                return
            one = object_at(argument)
            if isinstance(one, Source) and not self._takes(one, named=True):
                return
            if isinstance(one, Reject) and one.reason == Reason.MISSING:
                raise _nothing(argument)
            yield one
            return
        if os.path.isdir(argument):
            yield from folders.files(_absolute(argument))
            return
        if os.path.exists(argument):
            item = find_image(argument, root=self._base)
            if self._takes(item, named=True):
                yield item
            return
        if glob.has_magic(argument) and not os.path.lexists(argument):
            folder, pattern = _fixed_folder(argument)
            if any(map(glob.has_magic, pattern)) and os.path.isdir(folder):
                # A separate search: another pattern may have entered these folders for other files.
                found = FolderSearch(self._skip, self._choice).files(folder, pattern)
                if (yield from self._all_of(found)):
                    return
        raise _nothing(argument)

    def _all_of(self, found: Iterator[Found]) -> Generator[Found, None, bool]:
        """Yield what was found; return whether any file was found or skipped."""
        before, some = self._choice.n_skipped, False
        for item in found:
            some = True
            yield item
        return some or self._choice.n_skipped > before

    def _listed(self, folders: FolderSearch) -> Iterator[Found]:
        """Yield the files that a list names.

        A folder is searched only if the list names no files in it, because ``find`` prints folders
        besides their files.
        """
        files = [*map(_absolute, self._entries)]
        above = _folders_above(files)
        for entry, file in zip(self._entries, files, strict=True):
            if _in_store(file, self._skip):
                continue
            item = find_image(entry, root=self._base)
            if isinstance(item, Reject) and item.reason == Reason.FOLDER:
                if file not in above:
                    yield from folders.files(file)
            elif self._takes(item):
                yield item

    def _takes(self, item: Found, *, named: bool = False) -> bool:
        return self._choice.takes(decode_path(item.path).split("/"), _file(item), named=named)

    def _mine(self, found: Iterable[Found]) -> Iterator[Found]:
        """Yield the images of this shard, and count the others."""
        for item in found:
            if self._shard is None or self._shard.holds(item.path):
                yield item
            else:
                self._n_other += 1

    def _members(self, container: Source) -> Iterator[Found]:
        try:
            yield from list_members(container, self._choice.takes, self._columns)
        except NoImagesError as exc:
            if container.file in map(_location, self._names):
                yield refused(container, UnreadableError(Reason.CONTAINER, str(exc)))
            else:  # img2dataset writes such a table beside each tar
                self._choice.companions[hash(container.file)] = ".parquet"

    def _tabled(self, table: str) -> Iterator[Found]:
        """Yield the images that a table names, looking them up in blocks."""
        folder = table.rpartition("/")[0] if is_url(table) else os.path.dirname(_absolute(table))
        base = self._base or folder
        entries = read_manifest(table, self._columns, self._path_column)
        with closing(entries), ThreadPoolExecutor(_LOOKING, "sparsefeat-look") as pool:
            first = True
            while some := list(islice(entries, _TOGETHER)):
                if first:
                    self._given.append(repr(table))
                    refuse_addresses([path for path, _ in some], repr(table))
                    first = False
                wanted = [
                    (location, values)
                    for path, values in some
                    if (location := self._location(path, folder, base)) is not None
                ]
                # Images in archives are looked up in order, so that each archive is read once.
                remote = any(is_in_bucket(location) for location, _ in wanted) and not any(
                    container_above(location) for location, _ in wanted
                )
                look = partial(find_image, root=base)
                in_order = (pool.map if remote else map)(look, [location for location, _ in wanted])
                for item, (_, values) in zip(in_order, wanted, strict=True):
                    yield self._with_values(item, values)

    def _location(self, path: str, folder: str, base: str) -> str | None:
        """Return the full path or URL of an image in a table; None if it is not to be listed."""
        if is_url(path) or "\0" in path or not _can_be_named(path):
            location = path
        elif is_url(folder) and not path.startswith("/"):
            location = f"{folder}/{posixpath.normpath(path)}"
        else:
            location = _absolute(os.path.join(folder, path))
        if ADDRESS.match(location) or "\0" in location:
            return location
        split = split_url if is_url(location) else _split
        if self._shard is not None:
            _, shared = split(container_above(location) or location, base)
            if not self._shard.holds(encode_path(shared)):
                self._n_other += 1
                return None
        _, inside = split(location, base)
        if _in_store(location, self._skip) or not self._choice.takes(inside.split("/"), location):
            return None
        return location

    def _with_values(self, item: Found, values: Mapping[str, object]) -> Found:
        if not values or not isinstance(item, Source):
            return item
        label, extra = self._columns.label_of(values), self._columns.extra(values)
        return replace(item, label=label or item.label, extra=extra)

    def _no_images(self) -> SourceError:
        choice, given = self._choice, ", ".join(self._given)
        if choice.missed and choice.left_out:
            return SourceError(
                f"got {given}, expected images: none of the"
                f" {counted(choice.left_out, 'file')} in it matches --include"
                f" {' or '.join(map(repr, choice.missed))}; try another pattern"
            )
        companions = self.companions
        others = f"; {describe_companions(companions)}" if companions else ""
        others += "; --include and --exclude left the others out" * choice.leaves_out
        return SourceError(
            f"got {given}, expected images: there are no files in it (hidden files are ignored)"
            f"{others}; name another folder, or a file"
        )


class Listing(list[Source | Reject]):
    """The list of images that `list_images` returns.

    Attributes
    ----------
    companions
        Number of skipped companions of images, by kind: ``{".mov": 12, ".ini": 1}``.
    unmatched
        The patterns that matched no file or folder, and the columns that no image has, as (option,
        pattern or column): ``("exclude", "raw")``.
    """

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        self.companions, self.unmatched = search.companions, search.unmatched


def _with_parameters(
    of: Callable[P, object],
) -> Callable[[Callable[..., Listing]], Callable[P, Listing]]:
    """Decorate a function so that its signature is that of another one."""

    def decorate(function: Callable[..., Listing]) -> Callable[P, Listing]:
        function.__signature__ = inspect.signature(of).replace(  # type: ignore[attr-defined]
            return_annotation=Listing
        )
        return function

    return decorate


@_with_parameters(Search)
def list_images(*inputs: Any, **options: Any) -> Listing:
    """List the files that may be images: all that a `Search` of these arguments finds.

    Examples
    --------
    >>> [image.path for image in list_images("photos/", include="*.jpg")]  # doctest: +SKIP
    ['cat.jpg', 'dog.jpg']
    """
    return Listing(Search(*inputs, **options))


def _once(found: Iterable[Found], seen: set[int]) -> Iterator[Found]:
    """Yield each file only once; `seen` are hashes, which need less memory than names."""
    for item in found:
        if (key := hash(_file(item))) not in seen:
            seen.add(key)
            yield item


def each_image(
    images: AnyPath | Iterable[T], *, skip: AnyPath | None = None
) -> Iterator[T | Source | Reject]:
    """Iterate over images; folders and patterns are replaced by their files.

    Parameters
    ----------
    images
        A path of a folder, file or pattern; or an iterable of images: a list, a generator, a column
        of a table, an array (N, H, W, 3).
    skip
        A store, which is not searched for images.

    Raises
    ------
    InputError
        `images` is a single image, or not an iterable of images.
    SourceError
        During the iteration: a folder has no images.
    """
    if isinstance(images, str | os.PathLike):
        return iter(Search(images, skip=skip))
    n_axes = getattr(images, "ndim", 1)  # of an array, a tensor or a table
    if (
        not isinstance(images, Iterable)
        or isinstance(images, Mapping | bytes | bytearray | memoryview)
        or hasattr(images, "read")
        or n_axes not in (1, 4)
    ):
        shape = f" of shape {tuple(images.shape)}" if hasattr(images, "shape") else ""
        raise InputError(
            f"got a {type(images).__name__}{shape}, expected several images: a folder, a"
            " pattern, a list or generator of paths, bytes, PIL images or uint8 arrays (H, W, 3),"
            " or an array (N, H, W, 3); if it is one image, put it in a list"
        )
    return _each(images, skip)


def _each(images: Iterable[T], skip: AnyPath | None) -> Iterator[T | Source | Reject]:
    for image in images:
        if isinstance(image, str | os.PathLike) and (several := _several(os.fsdecode(image), skip)):
            yield from several
        else:
            yield image


def _several(name: str, skip: AnyPath | None) -> Listing | None:
    """List the files of a folder, archive or pattern; None for a file, even if it is missing."""
    if os.path.isdir(name) or is_container(name):
        return list_images(name, skip=skip)
    if glob.has_magic(name) and not os.path.lexists(name):
        try:
            return list_images(name, skip=skip)
        except SourceError:
            return None  # it may be the name of a missing file, which becomes a reject
    return None


def find_image(path: AnyPath, *, root: str | None = None) -> Source | Reject:
    """Look up one file, or one image in an archive or table.

    Its recorded path is relative to `root`, or else to the current folder, or else to "/".
    """
    named = os.fsdecode(path)
    if "\0" in named or not _can_be_named(named):
        return lost_file("", named, UnreadableError(Reason.MISSING))
    if is_in_bucket(named):
        return _in_archive(named, root) or object_at(named, root)
    file = _absolute(named)
    base, inside = _split(file, root)
    if os.path.isdir(file):
        return lost_file(base, inside, UnreadableError(Reason.FOLDER))
    if ADDRESS.match(named) and not os.path.lexists(file):
        return lost_file("", named, UnreadableError(Reason.URL))
    folder, slash, name = inside.rpartition("/")
    special = UnreadableError(Reason.SPECIAL)
    found = find_file(base, folder + slash, name) or lost_file(base, inside, special)
    if isinstance(found, Reject) and found.reason == Reason.MISSING:
        return _in_archive(file.replace(os.sep, "/"), base) or found
    return found


def _in_archive(path: str, root: str | None) -> Source | Reject | None:
    """Look up an image in the archive that is part of its path; None if no archive is."""
    if (above := container_above(path)) is None:
        return None
    container: Source | Reject
    if is_in_bucket(above):
        container = _recent.get((above, root)) or object_at(above, root)
        if isinstance(container, Source):
            _recent.put((above, root), container)
    else:
        container = find_image(above, root=root)
    if not isinstance(container, Source):
        return None
    member = f"{container.path}/{encode_path(path[len(above) + 1 :])}"
    lost = lost_file(container.root, "", UnreadableError(Reason.MISSING))
    return find_member(container, member) or replace(lost, path=member)


def _can_be_named(name: str) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def _paths(inputs: AnyPath | Iterable[AnyPath]) -> list[str]:
    """Return one or several paths as a list of text."""
    if isinstance(inputs, str | os.PathLike):
        inputs = [inputs]
    if not isinstance(inputs, Iterable) or isinstance(inputs, Mapping | bytes):
        raise InputError(
            f"got a {type(inputs).__name__}, expected folders, files and patterns: give one path,"
            " or a list of them"
        )
    names = []
    for each in inputs:
        if not isinstance(each, str | os.PathLike):
            raise InputError(
                f"got a {type(each).__name__} among the paths, expected text or a Path: pass images"
                " that are not files to Extractor.extract"
            )
        refuse_empty(each, "images")
        names.append(os.fsdecode(each))
    return names


def _nothing(argument: str) -> SourceError:
    if ADDRESS.match(argument):
        return SourceError(
            f"got {argument!r}, expected a file, a folder or a pattern: sparsefeat does not"
            " download; fetch it first and name the file"
        )
    if is_in_bucket(argument):
        return SourceError(
            f"got {argument!r}, expected images, or a store for a command that reads one: the"
            " bucket has no object of that name or below it; check the URL"
        )
    return SourceError(
        f"got {argument!r}, expected a file, a folder or a pattern that matches files:"
        " nothing has that name; check the spelling and the current folder"
    )


def _fixed_folder(pattern: str) -> tuple[str, tuple[str, ...]]:
    """Split a pattern before its first level with a wildcard that is not a folder's name."""
    drive, *parts = os.path.abspath(pattern).split(os.sep)
    folder = drive + os.sep
    while len(parts) > 1:
        inner = os.path.join(folder, parts[0])
        if glob.has_magic(parts[0]) and not os.path.isdir(inner):
            break
        folder = inner
        del parts[0]
    return folder, folded("/".join(parts))


def _folders_above(files: Iterable[str]) -> set[str]:
    above: set[str] = set()
    for file in files:
        folder = os.path.dirname(file)
        while folder not in above:
            above.add(folder)
            folder = os.path.dirname(folder)
    return above


def describe_companions(companions: Mapping[str, int]) -> str:
    """Describe how many companions of images, and how many raw images, were skipped.

    >>> describe_companions({".mov": 12, ".ini": 1})
    '13 files that accompany images were skipped: 12 .mov, 1 .ini'
    >>> describe_companions({".cr2": 2, ".mov": 1})
    '1 file that accompanies images was skipped: 1 .mov; 2 raw files were skipped: 2 .cr2'
    """
    raw = {kind: n for kind, n in companions.items() if kind in RAW}
    others = {kind: n for kind, n in companions.items() if kind not in RAW}
    n = sum(others.values())
    what = f"that {'accompanies' if n == 1 else 'accompany'} images"
    said = [_skipped(others, f"file {what}", f"files {what}")] * bool(others)
    return "; ".join(said + [_skipped(raw, "raw file", "raw files")] * bool(raw))


def _skipped(kinds: Mapping[str, int], one: str, several: str) -> str:
    n = sum(kinds.values())
    often = sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))
    listed = ", ".join(f"{n:,} {one_line(kind)}" for kind, n in often)
    return f"{counted(n, one, several)} {'was' if n == 1 else 'were'} skipped: {listed}"


def _in_store(file: str, skip: AnyPath | None) -> bool:
    """Return whether a file is in `skip` or in a folder ``*.zarr``."""
    if skip is not None:
        store = _absolute(os.fspath(skip))
        if file == store or _is_beneath(file, store):
            return True
    return ".zarr" + os.sep in file


def _checked_root(root: str) -> str:
    if is_in_bucket(root):
        return root.rstrip("/")
    base = _absolute(root)
    if not os.path.isdir(base):
        raise SourceError(f"got {root!r} as root, expected a folder: check the path")
    return base


def _location(name: str) -> str:
    return name if is_in_bucket(name) else _absolute(name)


def _absolute(path: str) -> str:
    absolute = os.path.abspath(path)
    # "link/.." leads to the parent of the link's target, not of the link.
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
    """Return the full path or URL of an image, including that inside an archive."""
    if isinstance(item, Source) and item.is_whole:
        return item.file
    root, path = decode_path(item.root), decode_path(item.path)
    return f"{root}/{path}" if is_url(root) else os.path.join(root, path)
