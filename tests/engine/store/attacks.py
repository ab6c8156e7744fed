"""Ways to harm the reader of a store, each with valid checksums."""

import json
import os
import pickle
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs
import numpy as np
import numpy.typing as npt
from numcodecs import VLenUTF8

from sparsefeat.store.format.documents import checksum, seal_checksum
from sparsefeat.types import Layer

from .data import (
    SMALL,
    dense_rows,
    edit_snapshot,
    make_batch,
    make_reject,
    write_snapshot,
    write_store,
)

# Both so large that they are sharded: two chunks in a file.
WIDE = Layer(name="wide", shape=(20, 20, 1000))
FULL = Layer(name="full", shape=(100_000,))
LAYERS = (*SMALL, WIDE, FULL)
SETTINGS = {"pool": "none"}
ROWS = 4
HUGE = 1 << 40

Attack = Callable[[Path], None]
Edit = Callable[[dict[str, Any]], Any]
ATTACKS: dict[str, Attack] = {}


def rows_of(layer: Layer, numbers: Sequence[int]) -> npt.NDArray[np.float32]:
    if layer not in (WIDE, FULL):
        return dense_rows(layer, numbers)
    values = np.zeros((len(numbers), layer.n_features), np.float32)
    step = 5 if layer == WIDE else 1
    values[:, ::step] = 1 + np.arange(len(numbers))[:, None]
    return values


def write_target(folder: Path) -> None:
    """Write a store with every kind of array."""
    batch = make_batch(range(ROWS), LAYERS, [make_reject(0)], rows_of)
    write_store(folder, [batch], LAYERS, settings=SETTINGS)


def attack(name: str) -> Callable[[Attack], Attack]:
    def register(function: Attack) -> Attack:
        assert name not in ATTACKS
        ATTACKS[name] = function
        return function

    return register


# --- tools to change a part ---


def write_json(file: Path, document: Any) -> None:
    file.write_text(json.dumps(document))


def edit_node(part: Path, name: str, edit: Edit) -> None:
    """Edit a node's metadata."""
    root = json.loads((part / "zarr.json").read_bytes())
    edit(root["consolidated_metadata"]["metadata"][name])
    write_json(part / "zarr.json", root)


def edit_header(part: Path, edit: Edit) -> None:
    """Edit the header."""
    root = json.loads((part / "zarr.json").read_bytes())
    edit(root["attributes"]["sparsefeat"])
    write_json(part / "zarr.json", root)


def reseal(folder: Path) -> None:
    """Update the snapshot's facts of the part to those of its files, as far as possible."""
    (part,) = (folder / "parts").iterdir()
    file = part / "zarr.json"
    if not file.is_file() or file.is_symlink() or file.stat().st_size > 1 << 28:
        return
    content = file.read_bytes()

    def edit(parts: list[Any]) -> None:
        entry = parts[0]
        entry[4] = checksum(content)
        with suppress(Exception):  # an invalid header has no facts
            header = json.loads(content)["attributes"]["sparsefeat"]
            for field, key in ((1, "rows"), (2, "rejected")):
                if type(header[key]) is int and 0 <= header[key] < 1 << 23:
                    entry[field] = header[key]
            entry[5] = [
                [layer["encoding"], layer["nnz"], *listed[2:]]
                for listed, layer in zip(entry[5], header["layers"], strict=True)
            ]

    edit_snapshot(folder, edit)


def changed(**fields: Any) -> Edit:
    """Make an edit that sets fields."""
    return lambda document: document.update(fields)


def codecs_of(node: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the codecs of an array's chunks; of a sharded array, those inside the shards."""
    codecs: list[dict[str, Any]] = node["codecs"]
    while codecs[0]["name"] == "sharding_indexed":
        codecs = codecs[0]["configuration"]["codecs"]
    return codecs


def checked(content: bytes) -> bytes:
    return content + struct.pack("<I", google_crc32c.value(content))


def put_texts(file: Path, texts: list[str]) -> None:
    encoded = VLenUTF8().encode(np.array(texts, object))
    file.write_bytes(checked(numcodecs.Zstd(1).encode(encoded)))


def blosc(values: npt.NDArray[Any]) -> bytes:
    compressed = numcodecs.Blosc("zstd", 1, numcodecs.Blosc.SHUFFLE, 1 << 20).encode(values)
    return bytes(compressed)


def put_numbers(file: Path, values: npt.NDArray[Any]) -> None:
    file.write_bytes(checked(blosc(values)))


def claim_bytes(compressed: bytes, size: int) -> bytes:
    """Make a Blosc frame declare another decompressed size."""
    return compressed[:4] + struct.pack("<I", size) + compressed[8:]


def edit_shard(part: Path, name: str, edit: Callable[[npt.NDArray[np.uint64]], Any]) -> None:
    """Edit the index of a shard of two chunks: offset and length of each."""
    file = part / name
    stored = file.read_bytes()
    index = np.frombuffer(stored[-36:-4], "<u8").reshape(2, 2).copy()
    edit(index)
    file.write_bytes(stored[:-36] + checked(index.tobytes()))


def put_in_shard(file: Path, chunk: bytes) -> None:
    """Replace a shard's first chunk."""
    stored = file.read_bytes()
    index = np.frombuffer(stored[-36:-4], "<u8").reshape(2, 2).copy()
    second = stored[int(index[1, 0]) : int(index[1].sum())]
    index[:] = [[0, len(chunk)], [len(chunk), len(second)]]
    file.write_bytes(chunk + second + checked(index.tobytes()))


# --- the header ---

HEADERS: dict[str, Edit] = {
    "no rows at all": lambda header: header.pop("rows"),
    "rows below 0": lambda header: header.update(rows=-1),
    "rows past int64": lambda header: header.update(rows=1 << 64),
    "rows with a point": lambda header: header.update(rows=4.5),
    "rows in words": lambda header: header.update(rows="4"),
    "rows that are true": lambda header: header.update(rows=True),
    "rows beyond the tables": lambda header: header.update(rows=1 << 30),
    "rejects beyond the table": lambda header: header.update(rejected=HUGE),
    "rejects below 0": lambda header: header.update(rejected=-1),
    "format 0": lambda header: header.update(format=0),
    "format below 0": lambda header: header.update(format=-1),
    "a format in words": lambda header: header.update(format="1"),
    "layers as a mapping": lambda header: header.update(layers={"0": header["layers"][0]}),
    "no layers": lambda header: header["layers"].clear(),
    "a layer twice": lambda header: header["layers"].append(header["layers"][0]),
    "a layer that leads out": lambda header: header["layers"][0].update(name="../../../etc"),
    "a layer with an absolute path": lambda header: header["layers"][0].update(name="/etc/x"),
    "a layer with a backslash": lambda header: header["layers"][0].update(name="..\\x"),
    "a layer with a line's end": lambda header: header["layers"][0].update(name="a\n"),
    "a layer with no name": lambda header: header["layers"][0].update(name=""),
    "a layer with a name of another alphabet": lambda header: header["layers"][0].update(
        name="block5_pооl"
    ),
    "a shape that overflows": lambda header: header["layers"][0].update(shape=[1 << 33, 1 << 33]),
    "a shape past int32": lambda header: header["layers"][0].update(shape=[1 << 31]),
    "a shape of nothing": lambda header: header["layers"][0].update(shape=[]),
    "a shape of 0": lambda header: header["layers"][0].update(shape=[3, 0, 8]),
    "a shape below 0": lambda header: header["layers"][0].update(shape=[-3, -3, 8]),
    "a shape of many axes": lambda header: header["layers"][0].update(shape=[1 << 62] * 50_000),
    "a wider layer": lambda header: header["layers"][0].update(shape=[3, 3, 1 << 20]),
    "a narrower layer": lambda header: header["layers"][0].update(shape=[1, 1, 8]),
    "nnz past the matrix": lambda header: header["layers"][0].update(nnz=1 << 20),
    "nnz below 0": lambda header: header["layers"][0].update(nnz=-1),
    "fewer nnz": lambda header: header["layers"][0].update(nnz=3),
    "another encoding": lambda header: header["layers"][0].update(encoding="pickle"),
    "dense as csr": lambda header: header["layers"][2].update(encoding="csr"),
    "csr as dense": lambda header: header["layers"][0].update(encoding="dense"),
    "settings as a list": lambda header: header.update(settings=[]),
    "settings nested deep": lambda header: header.update(settings={"a": nested(400)}),
    "settings that aren't finite": lambda header: header.update(settings={"a": float("inf")}),
    "nnz past int32": lambda header: header["layers"][0].update(shape=[1 << 30], nnz=1 << 31),
    "values of an unknown kind": lambda header: header["layers"][0].update(values={"kind": "x"}),
    "values in words": lambda header: header["layers"][0].update(values="uint8"),
    "codes of a wide type": lambda header: header["layers"][0].update(
        values={"kind": "codes", "companding": "linear", "code_dtype": "uint64"}
    ),
    "codes without companding": lambda header: header["layers"][0].update(
        values={"kind": "codes", "code_dtype": "uint8"}
    ),
    "codes that aren't there": lambda header: header["layers"][0].update(
        values={"kind": "codes", "companding": "linear", "code_dtype": "uint8"}
    ),
    "a loss that isn't finite": lambda header: header["layers"][0].update(
        values={
            "kind": "bits",
            "bits": 7,
            "loss": {"rows": 1, "relative_l2": "nan", "cosine_mean": 1, "cosine_min": 1},
        }
    ),
    "origins of more rows": changed(origins=[{"rows": 99, "provenance": {}}]),
    "origins in words": changed(origins=["here"]),
    "origins of other rows": lambda header: header.update(
        origins=[{"rows": header["rows"] + 1, "provenance": {}}]
    ),
    "an origin that is text": lambda header: header.update(origins=["me"]),
    "a field of tomorrow": changed(author="somebody"),
}


def nested(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth):
        value = {"a": value}
    return value


for _name, _edit in HEADERS.items():
    ATTACKS[f"header: {_name}"] = partial(edit_header, edit=_edit)


# --- documents that are too large or invalid ---


@attack("root: deep nesting")
def _(part: Path) -> None:
    (part / "zarr.json").write_text("[" * 200_000 + "]" * 200_000)


@attack("root: nesting inside the header")
def _(part: Path) -> None:
    deep = '{"a":' * 900 + "1" + "}" * 900
    text = (part / "zarr.json").read_text()
    assert '"pool":"none"' in text
    (part / "zarr.json").write_text(text.replace('"pool":"none"', f'"pool":{deep}'))


@attack("root: a terabyte of nothing")
def _(part: Path) -> None:
    os.truncate(part / "zarr.json", HUGE)


@attack("root: many small objects")
def _(part: Path) -> None:
    (part / "zarr.json").write_text('{"a":[' + "[]," * (2 << 20) + "[]]}")


@attack("root: a long number")
def _(part: Path) -> None:
    text = (part / "zarr.json").read_text()
    (part / "zarr.json").write_text(text.replace('"rows":4', '"rows":' + "9" * 1_000_000))


@attack("root: a long text")
def _(part: Path) -> None:
    text = (part / "zarr.json").read_text()
    long = "x\\n" * 100_000
    (part / "zarr.json").write_text(text.replace('"rows":4', f'"rows":"{long}"'))


@attack("root: a pipe")
def _(part: Path) -> None:
    (part / "zarr.json").unlink()
    os.mkfifo(part / "zarr.json")


@attack("root: an endless device")
def _(part: Path) -> None:
    (part / "zarr.json").unlink()
    (part / "zarr.json").symlink_to("/dev/zero")


# --- arrays with impossible metadata ---

NODES: dict[str, tuple[str, Edit]] = {}


def edit_chunks(shape: list[Any] | None) -> Edit:
    return lambda node: node["chunk_grid"]["configuration"].update(chunk_shape=shape)


def edit_inner(shape: list[Any]) -> Edit:
    return lambda node: node["codecs"][0]["configuration"].update(chunk_shape=shape)


for _array in (
    "obsm/block5_pool/data",
    "obsm/block5_pool/indices",
    "obsm/block5_pool/indptr",
    "obsm/wide/data",
    "obs/bytes",
    "obs/path",
    "uns/sparsefeat/rejected/reason",
    "uns/sparsefeat/zeros_per_channel/wide",
    "uns/sparsefeat/zeros_per_row/fc",
):
    for _extent in (HUGE, -1, 0, 1 << 64, None, "4", 1.5):
        NODES[f"{_array}: shape {_extent}"] = (
            _array,
            changed(shape=[_extent]),
        )
    NODES[f"{_array}: shape of two axes"] = (_array, lambda node: node.update(shape=[2, 2]))
    NODES[f"{_array}: no shape"] = (_array, lambda node: node.pop("shape"))
for _array in ("obsm/block5_pool/data", "obsm/wide/indices", "obs/mtime_ns", "obs/path"):
    for _chunk in ([HUGE], [0], [-1], [1], [1 << 62], [], [2, 2], ["x"], None):
        NODES[f"{_array}: chunks {_chunk}"] = (_array, edit_chunks(_chunk))
for _array in ("obsm/wide/data", "obsm/wide/indices"):
    for _chunk in ([HUGE], [0], [-1], [1], [7]):
        NODES[f"{_array}: inner chunks {_chunk}"] = (_array, edit_inner(_chunk))
for _chunk in ([HUGE, 100_000], [2, HUGE], [2, 1], [1, 100_000], [0, 0]):
    NODES[f"obsm/full: inner chunks {_chunk}"] = ("obsm/full", edit_inner(_chunk))
for _shape in ([HUGE, 100_000], [4, HUGE], [-4, 100_000], [4], [400_000], [100_000, 4]):
    NODES[f"obsm/full: shape {_shape}"] = (
        "obsm/full",
        changed(shape=_shape),
    )
for _type in (
    "float64",
    "int8",
    "object",
    "string",
    "variable_length_bytes",
    "complex128",
    "r64",
    "",
    None,
    {"name": "fixed_length_utf32", "configuration": {"length_bytes": HUGE}},
    {"name": "null_terminated_bytes", "configuration": {"length_bytes": HUGE}},
    {"name": "structured", "configuration": {"fields": []}},
):
    for _array in ("obsm/block5_pool/data", "obs/bytes", "uns/sparsefeat/zeros_per_row/fc"):
        NODES[f"{_array}: type {_type}"] = (
            _array,
            changed(data_type=_type),
        )


def chain(*codecs: str | dict[str, Any]) -> Edit:
    named = [{"name": codec} if isinstance(codec, str) else codec for codec in codecs]

    def edit(node: dict[str, Any]) -> None:
        codecs_of(node)[:] = named

    return edit


BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
for _array in ("obsm/block5_pool/data", "obsm/full", "obs/bytes", "obs/path"):
    for _label, _chain in {
        "none": chain(),
        "only bytes": chain(BYTES),
        "no checksum": lambda node: codecs_of(node).pop(),
        "pickles": chain({"name": "numcodecs.pickle", "configuration": {}}, "crc32c"),
        "json2": chain({"name": "numcodecs.json2", "configuration": {}}, "crc32c"),
        "msgpack2": chain({"name": "numcodecs.msgpack2", "configuration": {}}, "crc32c"),
        "zlib": chain(BYTES, {"name": "numcodecs.zlib", "configuration": {"level": 1}}, "crc32c"),
        "big-endian": lambda node: codecs_of(node)[0].update(configuration={"endian": "big"}),
        "unknown": chain(BYTES, "of-tomorrow", "crc32c"),
        "a module's": chain(BYTES, "os.system", "crc32c"),
        "unnamed": lambda node: codecs_of(node)[0].pop("name"),
        "twice": lambda node: codecs_of(node).extend(codecs_of(node)[1:]),
        "no list": lambda node: node.update(codecs={"name": "bytes"}),
    }.items():
        if (_array, _label) != ("obs/path", "big-endian"):  # text has no order of bytes
            NODES[f"{_array}: codecs {_label}"] = (_array, _chain)
NODES["obsm/wide/data: shards in shards"] = (
    "obsm/wide/data",
    lambda node: codecs_of(node).insert(0, node["codecs"][0] | {"configuration": {}}),
)
NODES["obsm/wide/data: an index at the start"] = (
    "obsm/wide/data",
    lambda node: node["codecs"][0]["configuration"].update(index_location="start"),
)
NODES["obsm/wide/data: an index without checksum"] = (
    "obsm/wide/data",
    lambda node: node["codecs"][0]["configuration"].update(index_codecs=[BYTES]),
)
NODES["obsm/wide/indices: another delta"] = (
    "obsm/wide/indices",
    lambda node: codecs_of(node)[0].update(configuration={"dtype": "<i8", "astype": "<i1"}),
)
NODES["obsm/block5_pool/data: a group"] = (
    "obsm/block5_pool/data",
    lambda node: node.update(node_type="group"),
)
NODES["obsm/block5_pool/data: Zarr 2"] = (
    "obsm/block5_pool/data",
    lambda node: node.update(zarr_format=2),
)
NODES["obs/path: keys elsewhere"] = (
    "obs/path",
    lambda node: node.update(
        chunk_key_encoding={"name": "default", "configuration": {"separator": "/../../../"}}
    ),
)
for _name, (_array, _change) in NODES.items():
    ATTACKS[f"node: {_name}"] = partial(edit_node, name=_array, edit=_change)


# --- chunks that declare more than they hold, with valid checksums ---


@attack("chunk: numbers that claim 2 GiB")
def _(part: Path) -> None:
    file = part / "obs/bytes/c.0"
    file.write_bytes(checked(claim_bytes(file.read_bytes()[:-4], (1 << 31) - 17)))


@attack("chunk: values that claim 2 GiB")
def _(part: Path) -> None:
    file = part / "obsm/block5_pool/data/c.0"
    file.write_bytes(checked(claim_bytes(file.read_bytes()[:-4], (1 << 31) - 17)))


@attack("chunk: values that claim nothing")
def _(part: Path) -> None:
    file = part / "obsm/block5_pool/data/c.0"
    file.write_bytes(checked(claim_bytes(file.read_bytes()[:-4], 0)))


@attack("chunk: a Blosc bomb")
def _(part: Path) -> None:
    put_numbers(part / "obsm/block5_pool/data/c.0", np.zeros(200 << 20, np.float32))


@attack("chunk: a Blosc bomb in a shard")
def _(part: Path) -> None:
    bomb = checked(blosc(np.zeros(200 << 20, np.float32)))
    put_in_shard(part / "obsm/wide/data/c.0", bomb)


@attack("chunk: a Blosc bomb in counts")
def _(part: Path) -> None:
    put_numbers(part / "obsm/block5_pool/indptr/c.0", np.zeros(100 << 20, np.int64))


@attack("chunk: a Blosc bomb in a column")
def _(part: Path) -> None:
    put_numbers(part / "obs/height/c.0", np.zeros(100 << 20, np.int64))


@attack("chunk: a Blosc header alone")
def _(part: Path) -> None:
    (part / "obsm/block5_pool/data/c.0").write_bytes(checked(b"\x02\x01\x01\x04" + b"\0" * 12))


@attack("chunk: less than a header")
def _(part: Path) -> None:
    (part / "obsm/block5_pool/data/c.0").write_bytes(checked(b"\x02\x01"))


@attack("chunk: nothing but a checksum")
def _(part: Path) -> None:
    for name in ("obsm/block5_pool/data/c.0", "obs/path/c.0", "obs/bytes/c.0"):
        (part / name).write_bytes(checked(b""))


@attack("chunk: nothing")
def _(part: Path) -> None:
    for name in ("obsm/block5_pool/data/c.0", "obs/path/c.0", "obs/bytes/c.0"):
        (part / name).write_bytes(b"")


@attack("chunk: text that claims a terabyte")
def _(part: Path) -> None:
    frame = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", HUGE) + b"\x01\x00\x00"
    (part / "obs/path/c.0").write_bytes(checked(frame))


@attack("chunk: a zstd bomb in a column")
def _(part: Path) -> None:
    bomb = numcodecs.Zstd(1).encode(np.zeros(1 << 30, np.uint8))
    (part / "obs/path/c.0").write_bytes(checked(bomb))


@attack("chunk: a zstd bomb of frames that don't say their size")
def _(part: Path) -> None:
    # One block of a repeated byte (RLE), 128 KiB, again and again.
    block = struct.pack("<I", (128 << 10) << 3 | 1 << 1)[:3] + b"\0"
    last = struct.pack("<I", (128 << 10) << 3 | 1 << 1 | 1)[:3] + b"\0"
    frame = b"\x28\xb5\x2f\xfd\x00\x88" + block * 16_000 + last
    (part / "obs/path/c.0").write_bytes(checked(frame))


@attack("chunk: a zstd bomb in a second frame")
def _(part: Path) -> None:
    first = (part / "obs/path/c.0").read_bytes()[:-4]
    bomb = bytes(numcodecs.Zstd(1).encode(np.zeros(1 << 30, np.uint8)))
    (part / "obs/path/c.0").write_bytes(checked(first + bomb))


@attack("chunk: texts that claim to be many")
def _(part: Path) -> None:
    encoded = bytearray(VLenUTF8().encode(np.array(["a"] * ROWS, object)))
    encoded[:4] = struct.pack("<I", (1 << 31) - 1)
    (part / "obs/path/c.0").write_bytes(checked(numcodecs.Zstd(1).encode(bytes(encoded))))


@attack("chunk: a text that claims to be long")
def _(part: Path) -> None:
    encoded = bytearray(VLenUTF8().encode(np.array(["a"] * ROWS, object)))
    encoded[4:8] = struct.pack("<I", (1 << 31) - 1)
    (part / "obs/path/c.0").write_bytes(checked(numcodecs.Zstd(1).encode(bytes(encoded))))


@attack("chunk: text that isn't UTF-8")
def _(part: Path) -> None:
    encoded = bytearray(VLenUTF8().encode(np.array(["a"] * ROWS, object)))
    encoded[8] = 0xFF
    (part / "obs/path/c.0").write_bytes(checked(numcodecs.Zstd(1).encode(bytes(encoded))))


class Harm:
    """Writes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


@attack("chunk: a pickle")
def _(part: Path) -> None:
    poisoned = pickle.dumps(np.array([Harm(part.parent.parent / "harmed")] * ROWS, object))
    for codec in ("numcodecs.pickle", "pickle"):
        edit_node(part, "obs/path", chain({"name": codec, "configuration": {}}, "crc32c"))
        (part / "obs/path/c.0").write_bytes(checked(poisoned))


@attack("chunk: a terabyte of nothing")
def _(part: Path) -> None:
    os.truncate(part / "obsm/block5_pool/data/c.0", HUGE)


@attack("chunk: a shard that ends a terabyte later")
def _(part: Path) -> None:
    file = part / "obsm/wide/data/c.0"
    stored = file.read_bytes()
    with file.open("r+b") as stream:
        stream.seek(HUGE)
        stream.write(stored[-36:])


@attack("chunk: a column of a terabyte of nothing")
def _(part: Path) -> None:
    os.truncate(part / "obs/path/c.0", HUGE)


@attack("chunk: a pipe")
def _(part: Path) -> None:
    for name in ("obsm/block5_pool/data/c.0", "obs/bytes/c.0", "obsm/wide/data/c.0"):
        (part / name).unlink()
        os.mkfifo(part / name)


@attack("chunk: an endless device")
def _(part: Path) -> None:
    for name in ("obsm/block5_pool/data/c.0", "obs/bytes/c.0"):
        (part / name).unlink()
        (part / name).symlink_to("/dev/zero")


@attack("chunk: a folder")
def _(part: Path) -> None:
    (part / "obsm/block5_pool/data/c.0").unlink()
    (part / "obsm/block5_pool/data/c.0").mkdir()


# --- links that lead out of the part ---


def move_out(part: Path, name: str) -> None:
    """Move a file or folder beside the store, and put a link in its place."""
    outside = part.parent.parent.parent / "outside"
    (part / name).rename(outside)
    (part / name).symlink_to(outside)


for _name in ("obs/path/c.0", "obsm/fc/c.0.0", "obs/height", "obsm/block5_pool", "zarr.json"):
    ATTACKS[f"link: {_name}"] = partial(move_out, name=_name)


# --- shards ---

SHARDS: dict[str, Callable[[npt.NDArray[np.uint64]], Any]] = {
    "an offset behind the file": lambda index: index.__setitem__((1, 0), HUGE),
    "a length behind the file": lambda index: index.__setitem__((1, 1), HUGE),
    "an offset that overflows": lambda index: index.__setitem__((1, 0), (1 << 64) - 8),
    "a length that overflows": lambda index: index.__setitem__((1, 1), (1 << 64) - 8),
    "a chunk that isn't there": lambda index: index.__setitem__(1, (1 << 64) - 1),
    "no chunk that is there": lambda index: index.fill((1 << 64) - 1),
    "a chunk of no bytes": lambda index: index.__setitem__((1, 1), 0),
    "a chunk over the index": lambda index: index.__setitem__((1, 1), index[1, 1] + 8),
    "a chunk twice": lambda index: index.__setitem__(1, index[0]),
    "chunks that overlap": lambda index: index.__setitem__((0, 1), index[0, 1] + 8),
}
for _name, _alter in SHARDS.items():
    for _array in ("wide/data", "wide/indices", "full"):
        _file = f"obsm/{_array}/c.0" + (".0" if _array == "full" else "")
        ATTACKS[f"shard: {_array}, {_name}"] = partial(edit_shard, name=_file, edit=_alter)


# --- impossible numbers ---

COUNTS: dict[str, list[int]] = {
    "decreasing": [0, 30, 20, 40],
    "below 0": [0, -5, 20, 40],
    "past int64": [0, (1 << 63) - 1, -(1 << 63), -1],
    "past the values": [0, 1 << 40, 1 << 41, 1 << 42],
    "wider than a row": [0, 0, 0, 0],
}
for _name, _starts in COUNTS.items():

    @attack(f"indptr: {_name}")
    def _(part: Path, starts: list[int] = _starts) -> None:
        header = json.loads((part / "zarr.json").read_bytes())["attributes"]["sparsefeat"]
        indptr = np.array([*starts, header["layers"][0]["nnz"]], np.int64)
        put_numbers(part / "obsm/block5_pool/indptr/c.0", indptr)


@attack("indptr: of another type")
def _(part: Path) -> None:
    edit_node(part, "obsm/block5_pool/indptr", lambda node: node.update(data_type="float64"))


@attack("zeros per row: past int64")
def _(part: Path) -> None:
    zeros = np.array([-(1 << 62), -(1 << 62), (1 << 62), (1 << 62)], np.int64)
    put_numbers(part / "uns/sparsefeat/zeros_per_row/fc/c.0", zeros)


@attack("zeros per row: below 0")
def _(part: Path) -> None:
    put_numbers(part / "uns/sparsefeat/zeros_per_row/fc/c.0", np.array([-2, 2, 0, 0], np.int64))


@attack("zeros per channel: below 0")
def _(part: Path) -> None:
    zeros = np.full(8, -(1 << 62), np.int64)
    put_numbers(part / "uns/sparsefeat/zeros_per_channel/block5_pool/c.0", zeros)


@attack("zeros per channel: of another layer")
def _(part: Path) -> None:
    edit_node(
        part,
        "uns/sparsefeat/zeros_per_channel/block5_pool",
        lambda node: (node.update(shape=[3]), edit_chunks([3])(node)),
    )
    file = part / "uns/sparsefeat/zeros_per_channel/block5_pool/c.0"
    put_numbers(file, np.zeros(3, np.int64))


def _columns(change: Callable[[npt.NDArray[np.int32]], Any]) -> Attack:
    def alter(part: Path) -> None:
        file = part / "obsm/block5_pool/indices/c.0"
        gaps = np.frombuffer(numcodecs.Blosc().decode(file.read_bytes()[:-4]), np.int32)
        indices = np.cumsum(gaps, dtype=np.int32)
        change(indices)
        put_numbers(file, np.diff(indices, prepend=np.int32(0)).astype(np.int32))

    return alter


ATTACKS["indices: past the columns"] = _columns(lambda indices: indices.__setitem__(-1, 72))
ATTACKS["indices: far past the columns"] = _columns(
    lambda indices: indices.__setitem__(-1, (1 << 31) - 1)
)
ATTACKS["indices: below 0"] = _columns(lambda indices: indices.__setitem__(0, -1))
ATTACKS["indices: twice"] = _columns(lambda indices: indices.__setitem__(1, indices[0]))
ATTACKS["indices: in another order"] = _columns(
    lambda indices: indices.__setitem__([0, 1], indices[[1, 0]])
)


# --- snapshots ---

Snapshot = Callable[[Path], None]
SNAPSHOTS: dict[str, Snapshot] = {}


def snapshot_attack(name: str, **fields: Any) -> None:
    SNAPSHOTS[name] = lambda folder: edit_snapshot(folder, lambda parts: None, **fields)


def entry_attack(name: str, edit: Callable[[list[Any]], Any]) -> None:
    SNAPSHOTS[name] = lambda folder: edit_snapshot(folder, lambda parts: edit(parts[0]), rows=ROWS)


_FIELDS: dict[str, dict[str, Any]] = {
    "format 0": {"format": 0},
    "another number": {"number": 7},
    "rows below 0": {"rows": -1},
    "other rows": {"rows": 5},
    "parts as a mapping": {"parts": {}},
    "no layers": {"layers": {}},
    "layers that lead out": {"layers": {"../x": [1]}},
    "a shape that overflows": {"layers": {"x": [1 << 62]}},
    "a shape whose product overflows": {"layers": {"wide": [1 << 30, 1 << 30], "full": [1 << 30]}},
    "settings as a list": {"settings": []},
    "settings nested deep": {"settings": {"a": nested(400)}},
    "a base that is itself": {"base": [1, "00000000"], "settings": None},
    "a base and settings": {"base": [0, "00000000"]},
    "a field of tomorrow": {"author": "somebody"},
    "a long text": {"operation": "x\n" * 1_000_000},
}
for _name, _fields in _FIELDS.items():
    snapshot_attack(_name, **_fields)
for _name, _change in {
    "a part that leads out": lambda entry: entry.__setitem__(0, "../../../etc/x"),
    "a part with a name in words": lambda entry: entry.__setitem__(0, "part-00000"),
    "more rows than a part has": lambda entry: entry.__setitem__(1, 1 << 40),
    "rows in words": lambda entry: entry.__setitem__(1, "4"),
    "rejects below 0": lambda entry: entry.__setitem__(2, -1),
    "a checksum in capitals": lambda entry: entry.__setitem__(4, entry[4].upper() + "X"),
    "layers missing": lambda entry: entry.__setitem__(5, entry[5][1:]),
    "an unknown encoding": lambda entry: entry.__setitem__(
        5, [["pickle", 1, 1, "float32"]] * len(entry[5])
    ),
    "rows excluded backwards": lambda entry: entry.__setitem__(6, [[2, 1]]),
    "rows excluded twice": lambda entry: entry.__setitem__(6, [[0, 2], [1, 3]]),
    "rows excluded that are not there": lambda entry: entry.__setitem__(6, [[0, 99]]),
    "rows excluded below 0": lambda entry: entry.__setitem__(6, [[-3, -1]]),
    "rows excluded that touch": lambda entry: entry.__setitem__(6, [[0, 1], [1, 2]]),
    "an entry too long": lambda entry: entry.append("more"),
}.items():
    entry_attack(_name, _change)


def _twice(parts: list[Any]) -> None:
    parts.append(parts[0])


SNAPSHOTS["a part twice"] = lambda folder: edit_snapshot(folder, _twice)
SNAPSHOTS["a terabyte of nothing"] = lambda folder: os.truncate(
    folder / "snapshots/00000001.json", HUGE
)
SNAPSHOTS["deep nesting"] = lambda folder: write_sealed(folder, b'"a":' + b"[" * 200_000)
SNAPSHOTS["many small objects"] = lambda folder: write_sealed(
    folder, b'"a":[' + b"[]," * (10 << 20) + b"[]]}"
)
SNAPSHOTS["nothing"] = lambda folder: write_sealed(folder, b"}")


SNAPSHOTS["settings of a million lists"] = lambda folder: edit_snapshot(
    folder, lambda parts: None, settings={"a": [[]] * (4 << 20)}
)


def crowd(folder: Path) -> None:
    """List missing parts, each with as many rows as a part may have."""

    def append(parts: list[Any]) -> None:
        parts += [[f"{n:016x}", (1 << 23) - 1, *parts[0][2:]] for n in range(1 << 13)]

    edit_snapshot(folder, append)


def chain_attack(name: str, *bases: Any, parts: Callable[[list[Any]], Any] = list) -> None:
    """Add snapshots after the first one; the first of `bases` is the base of the second one."""

    def attack(folder: Path) -> None:
        first = (folder / "snapshots/00000001.json").read_bytes()
        listed = json.loads(first)
        checksums = [seal_checksum(first)]
        for number, base in enumerate(bases, start=2):
            told = [base, checksums[base - 1]] if base in range(1, number) else base
            document = {"format": 1, "number": number, "created": "", "operation": "", "base": told}
            more = {"rows": listed["rows"], "parts": parts(listed["parts"])}
            write_snapshot(folder, number, document | more)
            file = folder / f"snapshots/{number:08d}.json"
            checksums.append(seal_checksum(file.read_bytes()))

    SNAPSHOTS[name] = attack


chain_attack("a chain of four", 1, 2, 3)
chain_attack("a base that is itself, behind another", [2, "00000000"])
chain_attack("a base to come", 1, [4, "00000000"])
chain_attack("a base that is another", [1, "00000000"])
chain_attack("a base that is not there", 1, [0, "00000000"])
chain_attack("a base below 0", [-1, "00000000"])
chain_attack("a base in words", ["1", "00000000"])
chain_attack("a part twice behind a base", 1, parts=lambda parts: [*parts, *parts])
chain_attack("other rows than the base has", 1, parts=lambda parts: [[*parts[0][:6], [[0, 1]]]])


def write_sealed(folder: Path, body: bytes) -> None:
    sealed = b'{"crc32c":"' + checksum(body).encode() + b'",' + body
    (folder / "snapshots/00000001.json").write_bytes(sealed)


def _pipe(folder: Path) -> None:
    (folder / "snapshots/00000001.json").unlink()
    os.mkfifo(folder / "snapshots/00000001.json")


SNAPSHOTS["a pipe"] = _pipe
