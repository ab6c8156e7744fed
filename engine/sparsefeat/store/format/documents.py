"""The two documents of a store: the header of a part, and the list of parts in a snapshot.

Both may come from anybody: types, bounds and a CRC-32C are checked before a document is used.
docs/format.md describes them for other programs; the JSON schemas beside this module are generated
from the classes here.
"""

import inspect
import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias

import google_crc32c
import msgspec
import numpy as np
from msgspec import Meta

from sparsefeat.errors import InputError, StoreCorruptError, StoreError
from sparsefeat.store.format.values import AnyValues, CodedValues, Companding, Document
from sparsefeat.system import one_line
from sparsefeat.types import MAX_COLUMNS, Layer, is_column_name

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

FORMAT: Final = 1
CHUNK: Final = 1 << 18  # elements that are compressed and checked together
SHARD: Final = 16 * CHUNK  # elements in one file

# What a part may hold at most. Readers refuse more before they allocate memory for it: a few
# bytes can claim to be terabytes.
JSON_BYTES: Final = 8 << 20  # a part's zarr.json
COPY_BYTES: Final = 1 << 14  # the copy of a file in it, and
COPIES_BYTES: Final = 1 << 20  # all copies
SNAPSHOT_BYTES: Final = 1 << 28
JSON_DEPTH: Final = 64  # of settings and provenance
AXES: Final = 8  # of a layer
CHUNK_ELEMENTS: Final = 1 << 23  # so that no column has more than 64 MiB
CHUNKS: Final = 1 << 18  # in an array
CHUNKS_PER_FILE: Final = 1 << 16
NNZ: Final = (1 << 31) - 1  # of a layer in a part, so that its indptr fits int32 readers
FEATURES: Final = (1 << 31) - 1  # of a layer
TEXT_BYTES: Final = 1 << 14  # a text in a column, and
LAST_SNAPSHOT: Final = (1 << 63) - 1
TEXTS_BYTES: Final = 1 << 24  # a chunk of text, besides the text of one row

PARTS: Final = "parts"
SNAPSHOTS: Final = "snapshots"

_NAME: Final = re.compile(r"[0-9a-f]{16}")
_SNAPSHOT: Final = re.compile(r"([0-9]{8,})\.json")
_LAYER: Final = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_NAMES_SHOWN: Final = 6  # layers in a message
_SHAPES_SHOWN: Final = 3

Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Extent = Annotated[int, Meta(ge=1, le=FEATURES)]
RowCount = Annotated[int, Meta(ge=0, lt=CHUNK_ELEMENTS)]
Nnz = Annotated[int, Meta(ge=0, le=NNZ)]
_END: Final = r"$(?!\n)"  # in Python, "$" alone matches before a line's end, too
Checksum = Annotated[str, Meta(pattern=f"^[0-9a-f]{{8}}{_END}")]
PartName = Annotated[str, Meta(pattern=f"^[0-9a-f]{{16}}{_END}")]
LayerName = Annotated[str, Meta(pattern=f"^{_LAYER.pattern}{_END}")]
Word = Annotated[str, Meta(max_length=100)]
Shape = Annotated[tuple[Extent, ...], Meta(min_length=1, max_length=AXES)]
Encoding: TypeAlias = Literal["csr", "dense"]


class Measured(Document, frozen=True, kw_only=True):
    """What decided a layer's encoding: the sizes of `rows` rows, compressed both ways."""

    rows: Count
    csr_bytes: Count
    dense_bytes: Count


class StoredLayer(Document, frozen=True, kw_only=True):
    """A layer of one part, and how it is stored.

    `values` is None for float32 to the last bit.
    """

    name: LayerName
    shape: Shape
    encoding: Encoding
    nnz: Nnz
    measured: Measured
    values: AnyValues | None = None

    @property
    def layer(self) -> Layer:
        """Its name and shape."""
        return Layer(name=self.name, shape=self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored elements."""
        return np.dtype(np.float32) if self.values is None else self.values.dtype

    @property
    def companding(self) -> Companding | None:
        """How codes give values; None if the values themselves are stored."""
        return self.values.companding if isinstance(self.values, CodedValues) else None

    @property
    def form(self) -> str:
        """How the values are stored, in a word or two."""
        return "float32" if self.values is None else str(self.values)


_Kept = Annotated[
    dict[Annotated[str, Meta(min_length=1)], bool | int | float | str | None],
    Meta(max_length=MAX_COLUMNS),
]


def read_extra(text: str) -> dict[str, bool | int | float | str | None]:
    """Read the extra columns of a row from the text of its column ``extra``.

    Raises
    ------
    ValueError
        It is not a JSON object of columns.

    Examples
    --------
    >>> read_extra('{"url": "https://example.org/a.jpg", "score": 0.5}')
    {'url': 'https://example.org/a.jpg', 'score': 0.5}
    """
    try:
        kept: dict[str, bool | int | float | str | None] = msgspec.json.decode(text, type=_Kept)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise ValueError(f"extra {one_line(text, most=80)}: {exc}") from exc
    for name in kept:
        if not is_column_name(name):
            raise ValueError(f"extra has a column {one_line(name, most=80)!r}")
    return kept


def _check_depth(document: object) -> None:
    """Refuse a document nested so deeply that programs that read it later would fail."""
    level = [document]
    for _ in range(JSON_DEPTH):
        nested = [[*each.values()] if isinstance(each, dict) else each for each in level]
        level = [one for each in nested if isinstance(each, list) for one in each]
        if not level:
            return
    raise ValueError(f"values nested more than {JSON_DEPTH} deep")


class Origin(Document, frozen=True, kw_only=True):
    """The number of some consecutive rows of a part, and how they were made."""

    rows: RowCount
    provenance: dict[str, Any]


class Header(Document, frozen=True, kw_only=True):
    """A part's description of itself: the attribute ``sparsefeat`` of its root.

    `origins` says how its rows were made, in their order, if not all of them were made as
    `provenance` says. `values` is the requested choice, as `sparsefeat.store.Values` writes it.
    `copies` has, by their paths, the small files and shards' indexes that a reader of one row needs
    besides chunks, to save requests.
    """

    format: Literal[1]
    rows: RowCount
    rejected: RowCount
    layers: Annotated[tuple[StoredLayer, ...], Meta(min_length=1)]
    settings: dict[str, Any]
    provenance: dict[str, Any]
    values: str = "float32"
    origins: tuple[Origin, ...] = ()
    copies: dict[str, bytes] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [stored.name for stored in self.layers]
        if len(set(names)) < len(names):
            raise ValueError(f"layers {names}")
        for stored in self.layers:
            n_features = stored.layer.n_features
            if n_features > FEATURES or stored.nnz > self.rows * n_features:
                raise ValueError(
                    f"{self.rows} rows of {n_features} features with {stored.nnz} non-zeros"
                )
        for document in (self.settings, self.provenance, *(o.provenance for o in self.origins)):
            _check_depth(document)
        if self.origins and sum(origin.rows for origin in self.origins) != self.rows:
            raise ValueError("origins of other rows")

    def all_origins(self) -> tuple[Origin, ...]:
        """Say how all rows were made, in their order."""
        return self.origins or (Origin(rows=self.rows, provenance=self.provenance),)


class PartLayer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A layer of a part, as a snapshot lists it: in the order of the snapshot's layers."""

    encoding: Encoding
    nnz: Nnz
    n_bytes: Count
    form: Word = "float32"


class PartEntry(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A part, as a snapshot lists it.

    `crc32c` is that of its ``zarr.json``, `n_bytes` the size of all its files, and `excluded` are
    the excluded rows: ascending ranges of the first and one past the last.
    """

    name: PartName
    rows: RowCount
    rejected: RowCount
    n_bytes: Count
    crc32c: Checksum
    layers: tuple[PartLayer, ...]
    excluded: tuple[tuple[RowCount, RowCount], ...] = ()

    def __post_init__(self) -> None:
        before = -1
        for start, stop in self.excluded:
            if not before < start < stop <= self.rows:
                raise ValueError(f"excluded rows {self.excluded} of {self.rows}")
            before = stop

    @property
    def n_excluded(self) -> int:
        """Number of excluded rows."""
        return sum(stop - start for start, stop in self.excluded)

    @property
    def n_rows(self) -> int:
        """Number of rows that are not excluded."""
        return self.rows - self.n_excluded


class SnapshotDocument(Document, frozen=True, kw_only=True):
    """The content of ``snapshots/<number>.json``, except its checksum.

    A full snapshot has settings, layers, values, and all parts. A snapshot with a `base` has the
    entries that are new or have changed since the base: an entry whose name the base has replaces
    that entry; all others follow. Nothing else may differ.
    """

    format: Literal[1]
    number: Count
    created: Word  # as the writer's clock said; nothing depends on it
    operation: Word
    rows: Count
    parts: tuple[PartEntry, ...]
    base: tuple[Count, Checksum] | None = None
    settings: dict[str, Any] | None = None
    layers: dict[LayerName, Shape] | None = None
    values: str | None = None

    def __post_init__(self) -> None:
        full = [self.settings, self.layers, self.values]
        if any((each is None) != (self.base is not None) for each in full):
            raise ValueError("settings, layers and values, or a base")
        _check_depth(self.settings)
        if self.base is not None and self.base[0] >= self.number:
            raise ValueError(f"snapshot {self.number} with base {self.base[0]}")
        if len({entry.name for entry in self.parts}) < len(self.parts):
            raise ValueError("a part listed twice")
        if any(math.prod(shape) > FEATURES for shape in (self.layers or {}).values()):
            raise ValueError(f"layers {self.layers}")


_PREFIX: Final = b'{"crc32c":"'
_BEHIND: Final = len(_PREFIX) + 8 + len(b'",')


def checksum(content: bytes) -> str:
    """Give the CRC-32C of some bytes as 8 hexadecimal digits."""
    return f"{google_crc32c.value(content):08x}"


def seal(document: SnapshotDocument) -> bytes:
    """Encode a snapshot's document, beginning with the checksum of everything after it."""
    body = msgspec.json.encode(document)[1:]
    return _PREFIX + checksum(body).encode() + b'",' + body


def unseal(content: bytes, *, where: str) -> SnapshotDocument:
    """Read a snapshot's document.

    Raises
    ------
    StoreCorruptError
        It is not what was written.
    StoreError
        Its format is newer.
    """
    body = content[_BEHIND:]
    if not content.startswith(_PREFIX) or content[len(_PREFIX) : _BEHIND] != (
        checksum(body).encode() + b'",'
    ):
        raise damaged(where, "its checksum is wrong")
    settings = _decode(b"{" + body, _Settings, where).settings
    if len(bytes(settings)) > JSON_BYTES:  # many times that in memory
        raise damaged(where, f"settings of {len(bytes(settings))} bytes")
    document: SnapshotDocument = _decode(b"{" + body, SnapshotDocument, where)
    return document


def seal_checksum(content: bytes) -> str:
    """Give the checksum with which a sealed document begins."""
    return content[len(_PREFIX) : len(_PREFIX) + 8].decode(errors="replace")


def read_header(attribute: bytes, *, where: str) -> Header:
    """Check a part's header.

    Raises
    ------
    StoreCorruptError
        It is not a valid header.
    StoreError
        Its format is newer.
    """
    header: Header = _decode(attribute, Header, where)
    return header


def _decode(content: bytes, kind: type[Any], where: str) -> Any:
    try:
        return msgspec.json.decode(content, type=kind, strict=True)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        try:
            version = msgspec.json.decode(content, type=_Version).format
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            version = 0
        if version > FORMAT:
            raise StoreError(
                f"{where} is of store format {version}, expected at most {FORMAT}: "
                "upgrade sparsefeat"
            ) from exc
        raise damaged(where, str(exc)) from exc


class _Settings(msgspec.Struct):
    settings: msgspec.Raw = msgspec.Raw()


class _Version(msgspec.Struct):
    format: Annotated[int, Meta(ge=1)]


def damaged(where: str, why: str) -> StoreCorruptError:
    """Make the error for a file or part that is not what was written."""
    return StoreCorruptError(f"{where} is damaged ({one_line(why)}): run sparsefeat verify")


def part_key(name: str) -> str:
    """Give the key of a part's folder."""
    return f"{PARTS}/{name}.zarr"


def snapshot_key(number: int) -> str:
    """Give the key of a snapshot.

    Examples
    --------
    >>> snapshot_key(7)
    'snapshots/00000007.json'
    """
    return f"{SNAPSHOTS}/{number:08d}.json"


def snapshot_number(name: str) -> int | None:
    """Give the number in a snapshot's file name, or None for any other name."""
    match = _SNAPSHOT.fullmatch(name)
    number = int(match[1]) if match else 0
    # Another spelling of a number would be a second snapshot of that number.
    same = f"{SNAPSHOTS}/{name}" == snapshot_key(number)
    return number if match and same and number <= LAST_SNAPSHOT else None


def part_name(name: str) -> str | None:
    """Give the name of the part that a folder in ``parts`` holds, or None for any other folder."""
    stem = name.removesuffix(".zarr")
    return stem if stem != name and _NAME.fullmatch(stem) else None


def layer_key(name: str) -> str:
    """Give the name under which AnnData sees a layer: "/" would make a group of it.

    Examples
    --------
    >>> layer_key("block1_conv1/pre")
    'block1_conv1.pre'
    """
    return name.replace("/", ".")


def check_layers(layers: Sequence[Layer]) -> None:
    """Check that a store can hold rows of these layers; no two of them share a key.

    Raises
    ------
    InputError
        It can't.
    """
    names = [layer.name for layer in layers]
    if not names or len(set(names)) < len(names) or not all(map(_LAYER.fullmatch, names)):
        raise InputError(
            f"got layers {names}, expected at least one, each once, of letters, digits, _, - "
            "and inner slashes: rename them"
        )
    for layer in layers:
        too_large = len(layer.shape) > AXES or layer.n_features > FEATURES
        if not layer.shape or min(layer.shape) < 1 or too_large:
            raise InputError(
                f"layer {layer.name} has shape {layer.shape}, expected 1 to {AXES} extents of at "
                "least 1 and fewer than 2**31 elements: leave it out"
            )


def identity(layers: Sequence[Layer], settings: Mapping[str, JSON], values: str) -> dict[str, JSON]:
    """Give what all parts of a store with these layers, settings and values must agree on."""
    shapes: dict[str, JSON] = {layer.name: list(layer.shape) for layer in layers}
    return {"layers": shapes, "settings": dict(settings), "values": values}


def plain_json(given: Mapping[str, JSON], *, what: str) -> dict[str, JSON]:
    """Copy a mapping as it will be once written and read again.

    Raises
    ------
    InputError
        It holds something that JSON can't.
    """
    try:
        document = json.dumps(dict(given), allow_nan=False)
        if len(document) > JSON_BYTES // 8:  # a part has other metadata, too
            raise ValueError(f"{len(document)} bytes, at most {JSON_BYTES // 8} are read again")
        copy: dict[str, JSON] = json.loads(document)
    except (TypeError, ValueError, RecursionError) as exc:
        raise InputError(
            f"{what} can't be written as JSON ({exc}), expected text, finite numbers, "
            "lists and dicts of them: convert it"
        ) from exc
    return copy


def differences(got: Mapping[str, JSON], expected: Mapping[str, JSON]) -> list[str]:
    """Say which keys differ, one phrase each, nested keys joined by dots.

    The names of layers are one phrase, quoted as ``--layers`` takes them. Their shapes, which
    follow from size and pooling, are named only if nothing else differs.

    Examples
    --------
    >>> differences({"settings": {"pool": "avg"}}, {"settings": {"pool": "none"}})
    ["settings.pool: got 'avg', expected 'none'"]
    >>> differences({"layers": {"fc2": [4096]}}, {"layers": {"fc1": [4096], "fc2": [4096]}})
    ["layers: got 'fc2', expected 'fc1,fc2'"]
    """
    ours, theirs = _flatten(got), _flatten(expected)
    found = [
        f"{key}: got {ours.get(key, 'nothing')}, expected {theirs.get(key, 'nothing')}"
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key) != theirs.get(key)
    ]
    others = [phrase for phrase in found if not phrase.startswith("layers.")]
    our_layers, their_layers = (each.get("layers") or {} for each in (got, expected))
    assert isinstance(our_layers, dict)
    assert isinstance(their_layers, dict)
    if our_layers.keys() != their_layers.keys():
        shown, wanted = _named(our_layers), _named(their_layers)
        if shown == wanted:  # two long lists that begin and end alike
            shown = (
                f"{_named([name for name in our_layers if name not in their_layers])} and others"
            )
            wanted = (
                f"{_named([name for name in their_layers if name not in our_layers])} and others"
            )
        return [f"layers: got {shown}, expected {wanted}", *others]
    return others or found[:_SHAPES_SHOWN]


def _named(layers: Collection[str]) -> str:
    names = [*layers]
    if len(names) > _NAMES_SHOWN:
        return f"{len(names)} layers from {names[0]!r} to {names[-1]!r}"
    return repr(",".join(names)) if names else "none"


def _flatten(mapping: Mapping[str, JSON], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in mapping.items():
        if isinstance(value, dict) and value:
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = repr(value)
    return flat


def schemas() -> dict[str, dict[str, Any]]:
    """Give the schemas by the names of their files beside this module."""
    header, snapshot = msgspec.json.schema(Header), msgspec.json.schema(SnapshotDocument)
    sealed = snapshot["$defs"]["SnapshotDocument"]
    sealed["properties"]["crc32c"] = {"type": "string", "pattern": "^[0-9a-f]{8}$"}
    sealed["required"] = ["crc32c", *sealed["required"]]
    made = {
        "header.schema.json": header,
        "snapshot.schema.json": snapshot,
        "extra.schema.json": msgspec.json.schema(_Kept),
    }
    for schema in made.values():
        for definition in schema.get("$defs", {}).values():
            if "description" in definition:
                # A docstring: Python 3.13 leaves out its indentation, older ones don't.
                definition["description"] = inspect.cleandoc(definition["description"])
    return {name: {"$schema": _DIALECT, **schema} for name, schema in made.items()}
