"""Images in container files: tar archives (including WebDataset shards), zip, Parquet.

Nothing is extracted to disk. If a container allows random access, its members are listed without
their content, and each is read by the thread that decodes it. A compressed tar, or a tar in a
bucket, can only be read sequentially: its members are listed with their content.
"""

import gzip
import json
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import IO, Any, Final, Self

from sparsefeat.errors import DependencyError, SourceError
from sparsefeat.images.columns import Columns
from sparsefeat.images.parquet import list_rows, read_row
from sparsefeat.images.patterns import is_container, is_hidden
from sparsefeat.images.pillow import MAX_PIXELS
from sparsefeat.images.source import (
    DamagedContainerError,
    Found,
    Judge,
    Member,
    NoImagesError,
    Reason,
    Source,
    UnreadableError,
    classify_os_error,
    decode_path,
    max_file_bytes,
    member_source,
    open_container,
    refused,
)
from sparsefeat.storage import is_url
from sparsefeat.system import counted, describe_exception
from sparsefeat.types import NO_EXTRA

Takes = Callable[[Sequence[str], str], bool]
"""Decides whether a file is listed, from the levels of its path and its full name."""

# Suffixes of files in WebDataset samples that are not images.
_NOTES: Final = (".cls", ".json", ".txt", ".npy", ".pyd", ".pth", ".id")
_CAPTION: Final = ("caption", "txt")  # a column, and the suffix of its file if no JSON has it
_IMAGES: Final = {"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic"}
_LARGEST_NOTE: Final = 1 << 20
_LARGEST_SAMPLE: Final = 64  # images
_LONGEST_NAME: Final = 4096
_LARGEST_FILE: Final = max_file_bytes(MAX_PIXELS)
# Types of tar headers with a long name or attributes of the next file, and their largest size.
_EXTENSIONS: Final = (b"L", b"K", b"x", b"g", b"X")
_LARGEST_EXTENSION: Final = 1 << 20
_MAX_ZEROS: Final = 4096  # blocks of 512 bytes between two archives in one file
_GZIP: Final = b"\x1f\x8b"
_ZIP_HEADER: Final = struct.Struct("<4s22xHH")
_ZIP_ENCRYPTED: Final = 1
_MAX_HEADER_BYTES: Final = 4096  # read ahead; a longer header takes another request
_DAMAGE: Final = (
    *(DamagedContainerError, tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile),
)


def list_members(source: Source, takes: Takes, columns: Columns | None = None) -> Iterator[Found]:
    """Yield the images in a container, in the container's order.

    If the container is damaged, members after the damage are lost: the members before it are
    yielded, and then the container itself as a reject with the reason. `columns` decides which
    labels and columns images have.

    Raises
    ------
    NoImagesError
        The container is a table without a column of images.
    """
    columns = columns or Columns()
    seen: set[str] = set()
    above = decode_path(source.path).split("/")

    def judge(name: str) -> Reason | bool:
        names = name.split("/")
        if name in seen:
            return Reason.DUPLICATE
        seen.add(name)
        if ".." in names or "" in names:
            return Reason.OUTSIDE
        if len(name) > _LONGEST_NAME:
            return Reason.LONG_NAME
        if is_hidden(names) or any(part.startswith("__MACOSX") for part in names):
            return False
        if is_container(names[-1]):
            return Reason.NESTED
        return takes([*above, *names], f"{source.file}/{name}")

    kind = source.file.lower()
    if kind.endswith(".parquet"):
        members = list_rows(source, judge, columns)
    elif kind.endswith(".zip"):
        members = _zipped(source, judge)
    else:
        members = _archived(source, judge, columns)
    try:
        with closing(members):
            yield from members
    except (DependencyError, NoImagesError, SourceError, MemoryError):
        raise
    except Exception as exc:  # for odd headers, tarfile, zipfile and pyarrow can raise anything
        if isinstance(exc, OSError) and not isinstance(exc, gzip.BadGzipFile):
            yield refused(source, classify_os_error(exc))
        else:
            yield refused(source, _damaged(exc, len(seen)))


def read_member(source: Source, member: Member) -> bytes:
    """Read the bytes of an image in a container.

    Raises
    ------
    UnreadableError
        The container has changed, or the image is damaged.
    OSError
        The operating system or server refused.
    """
    if member.column:
        return read_row(source, member)
    most = member.length + _MAX_HEADER_BYTES
    with open_container(source.file, member.file, read_ahead=most) as file:
        file.seek(member.offset)
        if source.file.lower().endswith(".zip"):
            return _inflated(file, member, source.bytes)
        return file.read(member.length)


def _damaged(exc: Exception, count: int) -> UnreadableError:
    said = str(exc) if isinstance(exc, _DAMAGE) and str(exc) else describe_exception(exc)
    return UnreadableError(Reason.CONTAINER, f"{said}, after {counted(count, 'file')}")


class _Header(tarfile.TarInfo):
    """A tar header that detects truncated archives, which `tarfile` accepts silently."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type in _EXTENSIONS and header.size > _LARGEST_EXTENSION):
            raise DamagedContainerError(f"a header claims {header.size} bytes")
        return header

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        zeros: int = getattr(archive, "zeros", 0)  # blocks of zeros before this header
        try:
            header = super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            archive.zeros = zeros + 1  # type: ignore[attr-defined]
            archive.ignore_zeros = zeros < _MAX_ZEROS
            raise
        except tarfile.HeaderError as exc:
            if zeros:  # the data after the end is not another archive
                archive.ignore_zeros = False
                raise tarfile.EOFHeaderError(str(exc)) from exc  # type: ignore[attr-defined]
            # Except in the first header, tarfile treats damage as the end of the archive.
            raise DamagedContainerError(f"{exc}, or it is truncated") from exc
        archive.zeros = 0  # type: ignore[attr-defined]
        return header


def _archived(source: Source, judge: Judge, columns: Columns) -> Generator[Found, None, None]:
    """Yield the images in a tar."""
    with open_container(source.file) as file:
        is_packed = file.read(2) == _GZIP
        file.seek(0)
        random_access = not is_packed and not is_url(source.file)
        mode: Any = "r:" if random_access else "r|"
        # tarfile's own decompression would end after the first of several gzip members.
        stream: Any = gzip.GzipFile(fileobj=file) if is_packed else file
        with tarfile.open(fileobj=stream, mode=mode, tarinfo=_Header, ignore_zeros=True) as archive:
            files = _files(source, archive, judge, columns, random_access=random_access)
            yield from _with_columns(files, columns)
        if is_packed:
            while stream.read(1 << 20):  # the last checksum is after the padding
                pass


def _files(
    source: Source,
    archive: tarfile.TarFile,
    judge: Judge,
    columns: Columns,
    *,
    random_access: bool,
) -> Iterator[tuple[str, Found | None, bytes | None]]:
    """Yield the name of each file in a tar, with the image, or with the content of other files."""
    asked = {"cls", "json", *(name.lower() for name in columns.named)} - _IMAGES
    if _CAPTION[0] in asked:
        asked.add(_CAPTION[1])
    extents: dict[str, tuple[int, int]] = {}  # (offset, size) by name, for hard links
    for entry in archive:
        archive.members = []  # type: ignore[attr-defined]  # otherwise it keeps all in memory
        name = entry.name.removeprefix("./").lstrip("/")
        if not entry.isreg() and not entry.islnk():
            continue
        is_asked = _sample(name)[1] in asked
        if is_asked or name.lower().endswith(_NOTES):
            is_read = is_asked and entry.isreg() and entry.size <= _LARGEST_NOTE
            yield name, None, _content(archive, entry) if is_read else None
            continue
        offset, size = entry.offset_data, entry.size
        if entry.islnk():
            offset, size = extents.get(entry.linkname.removeprefix("./"), (-1, 0))
        elif random_access:
            extents[entry.name.removeprefix("./")] = offset, size
        if random_access and offset + size > source.bytes and not entry.issparse():
            raise DamagedContainerError("it is truncated")
        verdict = judge(name)
        if verdict is False:
            continue
        found = member_source(source, name, size)
        if verdict is not True:
            yield name, refused(found, UnreadableError(verdict)), None
        elif offset < 0 or (entry.islnk() and not random_access):
            yield name, refused(found, UnreadableError(Reason.LINK)), None
        elif size > _LARGEST_FILE:
            yield name, refused(found, UnreadableError(Reason.OVERSIZED)), None
        elif not size:
            yield name, refused(found, UnreadableError(Reason.EMPTY)), None
        elif random_access and not entry.issparse():
            member = Member.of(source, offset=offset, length=size)
            yield name, replace(found, member=member), None
        else:
            yield name, replace(found, content=_content(archive, entry)), None


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(entry)
    content = b"" if stream is None else stream.read()
    if len(content) != entry.size:
        raise DamagedContainerError("it is truncated")
    return content


def _sample(name: str) -> tuple[str, str]:
    """Split a name into the key of its WebDataset sample and the lower-case extension."""
    folder, slash, base = name.rpartition("/")
    key, _, kind = base.partition(".")
    return folder + slash + key, kind.lower()


def _with_columns(
    files: Iterator[tuple[str, Found | None, bytes | None]], columns: Columns
) -> Iterator[Found]:
    """Yield images with the label and columns from the other files of the same sample.

    A WebDataset sample consists of consecutive files with the same name up to the first dot after
    the last slash.
    """
    sample, images = "", list[Found]()
    notes: dict[str, bytes] = {}

    def complete() -> list[Found]:
        if not images or not (notes or columns.named):
            return images
        values = _values(sample, notes)
        label, extra = columns.label_of(values), columns.extra(values)
        return [
            replace(
                image,
                label=label or image.label,
                extra=image.extra if extra == NO_EXTRA else extra,
            )
            if isinstance(image, Source)
            else image
            for image in images
        ]

    try:
        for name, found, note in files:
            key, kind = _sample(name)
            if key != sample or len(images) >= _LARGEST_SAMPLE:
                yield from complete()
                images = []
                if key != sample:
                    sample, notes = key, {}
            if found is not None:
                images.append(found)
            elif note is not None:
                notes[kind] = note
    except Exception:
        yield from complete()  # the last complete sample
        raise
    yield from complete()


def _values(sample: str, notes: Mapping[str, bytes]) -> dict[str, object]:
    """Return the columns of a sample: its key, its text files, and the fields of its JSON."""
    values: dict[str, object] = {"key": sample, "__key__": sample}
    values |= {kind: note.decode(errors="replace").strip() for kind, note in notes.items()}
    column, kind = _CAPTION
    if kind in values:
        values.setdefault(column, values[kind])
    try:
        document = json.loads(notes.get("json", b"{}"))
    except (ValueError, RecursionError):
        return values
    return values | document if isinstance(document, dict) else values


def _zipped(source: Source, judge: Judge) -> Generator[Found, None, None]:
    """Yield the images in a zip."""
    with open_container(source.file) as file:
        try:
            entries = zipfile.ZipFile(file).infolist()
        except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError) as exc:
            raise DamagedContainerError(str(exc)) from exc
    for entry in entries:
        name, size = entry.filename.lstrip("/"), entry.file_size
        if not name or entry.is_dir() or name.lower().endswith(_NOTES):
            continue
        verdict = judge(name)
        if verdict is False:
            continue
        is_deflated = entry.compress_type == zipfile.ZIP_DEFLATED
        member = Member.of(
            source,
            offset=entry.header_offset,
            length=entry.compress_size,
            crc32=entry.CRC,
            deflated=is_deflated,
        )
        found = member_source(source, name, size, member=member)
        refusal = _zip_refusal(entry) if verdict is True else verdict
        yield found if refusal is None else refused(found, UnreadableError(refusal))


def _zip_refusal(entry: zipfile.ZipInfo) -> Reason | None:
    """Return why a file in a zip can't be read; None if it can."""
    if entry.flag_bits & _ZIP_ENCRYPTED:
        return Reason.ENCRYPTED
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return Reason.COMPRESSION
    # Incompressible data grow by at most a few bytes per block.
    slack = entry.file_size // 1000 + 64 if entry.compress_type == zipfile.ZIP_DEFLATED else 0
    return Reason.CONTAINER if entry.compress_size > entry.file_size + slack else None


def _inflated(file: IO[bytes], member: Member, size: int) -> bytes:
    header = file.read(_ZIP_HEADER.size)
    if len(header) < _ZIP_HEADER.size or not header.startswith(b"PK\3\4"):
        raise UnreadableError(Reason.CONTAINER, "there is no file at the listed offset")
    _, name_bytes, extra_bytes = _ZIP_HEADER.unpack(header)
    file.seek(name_bytes + extra_bytes, os.SEEK_CUR)
    content = file.read(member.length)
    if member.deflated:
        try:
            # Stop after one byte more than the listed size, to limit the memory.
            content = zlib.decompressobj(-15).decompress(content, size + 1)
        except zlib.error as exc:
            raise UnreadableError(Reason.CONTAINER, str(exc)) from exc
    if len(content) != size or zlib.crc32(content) != member.crc32:
        raise UnreadableError(Reason.CONTAINER, "the size or the checksum does not match")
    return content
