"""Images inside of other files: tar archives (WebDataset's shards among them), zip, Parquet.

Nothing is extracted. Where a file can be read at any place, its members are listed without their
bytes, and each is read when it is decoded, in the thread that does that. A compressed tar, or one
in a bucket, can only be read from its beginning: its members come with their bytes.
"""

import json
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import IO, Any, Final, Self

from sparsefeat.images.parquet import list_rows, read_row
from sparsefeat.images.source import (
    DamagedContainerError,
    Found,
    Member,
    Reason,
    Source,
    UnreadableError,
    encode_path,
    member_source,
    open_container,
    os_refusal,
)
from sparsefeat.storage import is_url
from sparsefeat.system import counted
from sparsefeat.types import ReadFailure, Reject

Takes = Callable[[Sequence[str], str], bool]
"""Whether a member is listed: the names in its path, and what to call it."""

# Of WebDataset's samples, what is no image.
_NOTES: Final = (".cls", ".json", ".txt", ".npy", ".pyd", ".pth", ".id")
_LABEL_NOTES: Final = (".cls", ".json")
_LABEL_KEYS: Final = ("label", "class", "cls", "class_name")
_LARGEST_NOTE: Final = 1 << 20
_LONGEST_LABEL: Final = 200
_ZIP_HEADER: Final = struct.Struct("<4s22xHH")
_ZIP_ENCRYPTED: Final = 1
_MOST_HEADER_BYTES: Final = 4096  # mostly; a longer one takes another request
_DAMAGE: Final = (DamagedContainerError, tarfile.TarError, EOFError, zlib.error)


def list_members(source: Source, takes: Takes) -> Iterator[Found]:
    """Go through the images in a file, in its order.

    Damage costs the members behind it: what came before stays, and the file itself is given as a
    reject with the reason.
    """
    name = source.file.lower()
    if name.endswith(".parquet"):
        members = list_rows(source)
    else:
        members = _zipped(source) if name.endswith(".zip") else _archived(source)
    seen: set[str] = set()
    try:
        with closing(members):
            for found in members:
                inside = found.path[len(source.path) + 1 :]
                names = inside.split("/")
                if inside in seen:
                    yield _refused(found, Reason.DUPLICATE)
                elif not names[0] or ".." in names:
                    yield _refused(found, Reason.OUTSIDE)
                elif takes(names, f"{source.file}/{inside}"):
                    yield found
                seen.add(inside)
    except DamagedContainerError as exc:
        yield _lost(
            source, UnreadableError(Reason.CONTAINER, f"{exc}, after {counted(len(seen), 'file')}")
        )
    except OSError as exc:
        yield _lost(source, os_refusal(exc))


def read_member(source: Source, largest: int) -> bytes:
    """Read an image out of the file that holds it.

    Raises
    ------
    UnreadableError
        That file changed or can't be read, or the image is damaged or larger than `largest`.
    """
    member = source.member
    assert member is not None
    if source.bytes > largest:
        raise UnreadableError(Reason.OVERSIZED)
    try:
        if member.column:
            content = read_row(source, member)
        else:
            most = member.length + _MOST_HEADER_BYTES
            with open_container(source.file, member.file, read_ahead=most) as file:
                file.seek(member.offset)
                if source.file.lower().endswith(".zip"):
                    content = _inflated(file, member, source.bytes)
                else:
                    content = file.read(member.length)
    except OSError as exc:
        raise os_refusal(exc) from exc
    if len(content) != source.bytes:
        raise UnreadableError(Reason.CHANGED)
    if not content:
        raise UnreadableError(Reason.EMPTY)
    return content


def _lost(source: Source, why: UnreadableError) -> Reject:
    kind = ReadFailure if why.reason.of_system else Reject
    return kind(
        path=source.path,
        root=source.root,
        bytes=source.bytes,
        mtime_ns=source.mtime_ns,
        sha256="",
        reason=str(why),
    )


def _refused(found: Found, reason: Reason) -> Reject:
    return Reject(
        path=found.path,
        root=found.root,
        bytes=found.bytes,
        mtime_ns=found.mtime_ns,
        sha256="",
        reason=str(reason),
    )


class _Header(tarfile.TarInfo):
    """A header in a tar, which ends with headers of zeros and not anywhere."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as exc:
            # tarfile ends at any damage but in the first header, as if there were no more.
            if isinstance(exc, tarfile.EOFHeaderError):  # type: ignore[attr-defined]
                raise
            raise DamagedContainerError(f"{exc}: it is cut off") from exc


def _archived(source: Source) -> Generator[Found, None, None]:
    """List what is in a tar."""
    random_access = source.file.lower().endswith(".tar") and not is_url(source.file)
    with open_container(source.file) as file:
        try:
            mode: Any = "r:" if random_access else "r|*"
            with tarfile.open(fileobj=file, mode=mode, tarinfo=_Header) as archive:
                yield from _with_labels(_files(source, archive, random_access=random_access))
        except _DAMAGE as exc:
            raise DamagedContainerError(str(exc) or "it is cut off") from exc


def _files(
    source: Source, archive: tarfile.TarFile, *, random_access: bool
) -> Iterator[tuple[str, Source, bytes | None]]:
    """Give each file in a tar, with its name, and with its bytes if it may say a label."""
    for entry in archive:
        archive.members = []  # type: ignore[attr-defined]  # it would remember all of them
        if not entry.isreg() or entry.name.rpartition("/")[2].startswith("."):
            continue
        if random_access and entry.offset_data + entry.size > source.bytes:
            raise DamagedContainerError("it is cut off")
        name, content = entry.name.removeprefix("./"), None
        says_label = name.lower().endswith(_LABEL_NOTES) and entry.size <= _LARGEST_NOTE
        if says_label or not (random_access or name.lower().endswith(_NOTES)):
            stream = archive.extractfile(entry)
            content = b"" if stream is None else stream.read()
            if len(content) != entry.size:
                raise DamagedContainerError("it is cut off")
        if random_access:
            member = Member.of(source, offset=entry.offset_data, length=entry.size)
            yield name, member_source(source, name, entry.size, member=member), content
        else:
            yield name, member_source(source, name, entry.size, content=content), content


def _with_labels(files: Iterator[tuple[str, Source, bytes | None]]) -> Iterator[Source]:
    """Give images the label that a file of the same WebDataset sample says.

    A sample is what follows each other with the same name up to the first dot of its last part.
    """
    sample, images, label = "", list[Source](), None

    def labelled() -> list[Source]:
        return images if label is None else [replace(image, label=label) for image in images]

    try:
        for name, source, content in files:
            folder, slash, base = name.rpartition("/")
            key = folder + slash + base.partition(".")[0]
            if key != sample:
                yield from labelled()
                sample, images, label = key, [], None
            if not name.lower().endswith(_NOTES):
                images.append(source)
            elif content is not None:
                label = _label_of(name, content) or label
    except _DAMAGE:
        yield from labelled()  # the last sample that is whole
        raise
    yield from labelled()


def _label_of(name: str, content: bytes) -> str | None:
    found: object = content.decode(errors="replace").strip()
    if name.lower().endswith(".json"):
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            return None
        known = document if isinstance(document, dict) else {}
        found = next((known[key] for key in _LABEL_KEYS if key in known), None)
    if not isinstance(found, str | int):
        return None
    return encode_path(str(found)[:_LONGEST_LABEL])


def _zipped(source: Source) -> Generator[Found, None, None]:
    """List what is in a zip."""
    with open_container(source.file) as file:
        try:
            entries = zipfile.ZipFile(file).infolist()
        except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError) as exc:
            raise DamagedContainerError(str(exc)) from exc
    for entry in entries:
        name = entry.filename
        hidden = name.rpartition("/")[2].startswith(".") or name.startswith("__MACOSX/")
        if entry.is_dir() or hidden or name.lower().endswith(_NOTES):
            continue
        member = Member.of(
            source,
            offset=entry.header_offset,
            length=entry.compress_size,
            crc32=entry.CRC,
            deflated=entry.compress_type == zipfile.ZIP_DEFLATED,
        )
        found = member_source(source, name, entry.file_size, member=member)
        if entry.flag_bits & _ZIP_ENCRYPTED:
            yield _refused(found, Reason.ENCRYPTED)
        elif entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            yield _refused(found, Reason.COMPRESSION)
        else:
            yield found


def _inflated(file: IO[bytes], member: Member, size: int) -> bytes:
    header = file.read(_ZIP_HEADER.size)
    if len(header) < _ZIP_HEADER.size or not header.startswith(b"PK\3\4"):
        raise UnreadableError(Reason.CONTAINER, "no file begins where its list says")
    _, name_bytes, extra_bytes = _ZIP_HEADER.unpack(header)
    file.seek(name_bytes + extra_bytes, os.SEEK_CUR)
    content = file.read(member.length)
    if member.deflated:
        try:
            # A byte more than it claims: one that claims too little must not cost memory.
            content = zlib.decompressobj(-15).decompress(content, size + 1)
        except zlib.error as exc:
            raise UnreadableError(Reason.CONTAINER, str(exc)) from exc
    if len(content) != size or zlib.crc32(content) != member.crc32:
        raise UnreadableError(Reason.CONTAINER, "the bytes are not those that its list says")
    return content
