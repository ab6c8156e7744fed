"""Data for the store's tests: records of images, and batches with several kinds of layers."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import structs, to_builtins

from sparsefeat.storage import LocalStorage
from sparsefeat.store import Store, StoreWriter, is_store
from sparsefeat.store.dataset.log import Log
from sparsefeat.store.format.documents import checksum, part_key, snapshot_key
from sparsefeat.types import Batch, Layer, Reject, Row
from sparsefeat_kernels import Csr, encode

SMALL = (
    Layer(name="block5_pool", shape=(3, 3, 8)),
    Layer(name="block5_conv3/pre", shape=(4, 4, 8)),
    Layer(name="fc", shape=(40,)),
)


def make_row(number: int, **changes: Any) -> Row:
    """Make an image's record, whose fields depend only on its number."""
    fields: dict[str, Any] = {
        "path": f"folder {number % 3}/bild-{number}-ä.jpg",
        "root": "/photos",
        "label": f"folder {number % 3}",
        "bytes": 1000 + number,
        "mtime_ns": 1_700_000_000_000_000_000 + number,
        "sha256": hashlib.sha256(str(number).encode()).hexdigest(),
        "width": 640,
        "height": 480 + number,
        "format": "JPEG",
    }
    return Row(**(fields | changes))


def make_reject(number: int, **changes: Any) -> Reject:
    fields: dict[str, Any] = {
        "path": f"broken-{number}.png",
        "root": "/photos",
        "bytes": number,
        "mtime_ns": number,
        "sha256": "",
        "reason": "truncated",
    }
    return Reject(**(fields | changes))


def dense_rows(layer: Layer, numbers: Sequence[int]) -> npt.NDArray[np.float32]:
    """Make float32 (n, features), each row from its number; `fc` has no zeros."""
    out = np.empty((len(numbers), layer.n_features), np.float32)
    for index, number in enumerate(numbers):
        values = np.random.default_rng((number, layer.n_features)).normal(size=layer.n_features)
        out[index] = np.abs(values) + 1 if layer.name == "fc" else np.maximum(values - 1, 0)
    return out


def make_batch(
    numbers: Sequence[int],
    layers: Sequence[Layer] = SMALL,
    rejects: Sequence[Reject] = (),
    make: Callable[[Layer, Sequence[int]], npt.NDArray[np.float32]] = dense_rows,
) -> Batch[Csr]:
    return Batch(
        rows=tuple(make_row(number) for number in numbers),
        layers={layer.name: encode(make(layer, numbers)) for layer in layers},
        rejects=tuple(rejects),
    )


def part_folders(folder: Path) -> list[Path]:
    """Return the folders of the parts that the newest snapshot lists, in its order."""
    return [folder / part.key for part in Store(folder).parts]


def leftovers(folder: Path) -> list[Path]:
    """Return names among the parts that the newest snapshot doesn't list."""
    if not (folder / "parts").exists():
        return []
    listed = {part.name for part in part_folders(folder)} if is_store(folder) else set()
    return [path for path in sorted((folder / "parts").iterdir()) if path.name not in listed]


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of the committed parts and of every snapshot."""
    if not is_store(folder):
        return {}
    files = [file for part in part_folders(folder) for file in part.rglob("*") if file.is_file()]
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted([*files, *(folder / "snapshots").glob("*.json")])
    }


def bytes_read() -> int:
    """Return how many bytes this process has read, by any system call."""
    return int(Path("/proc/self/io").read_text().split()[1])


def write_store(
    folder: Path | str,
    batches: Iterable[Batch[Any]],
    layers: Sequence[Layer] = SMALL,
    **options: Any,
) -> None:
    """Write batches to a store and close it."""
    defaults: dict[str, Any] = {"settings": {"pool": "none"}, "provenance": {"tool": "test"}}
    with StoreWriter.open(folder, layers=layers, **(defaults | options)) as writer:
        for batch in batches:
            writer.append(batch)


def assert_same_floats(got: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> None:
    """Check that values are equal bit for bit, where -0 counts as 0."""
    assert got.dtype == expected.dtype == np.float32
    assert got.shape == expected.shape
    kept = np.where(expected == 0, np.float32(0), expected)
    np.testing.assert_array_equal(got.view(np.uint32), kept.view(np.uint32))


def edit_root(folder: Path, edit: Callable[[Any], Any], index: int = 0) -> None:
    """Edit a part's zarr.json, and update its entry in the newest snapshot."""
    (*_, number) = Log(LocalStorage(folder)).numbers()
    snapshot = Log(LocalStorage(folder)).read(number)
    entry = snapshot.parts[index]
    file = folder / part_key(entry.name) / "zarr.json"
    root = json.loads(file.read_bytes())
    edit(root)
    file.write_bytes(json.dumps(root).encode())
    told = root["attributes"]["sparsefeat"]
    changed = structs.replace(entry, crc32c=checksum(file.read_bytes()))
    with suppress(Exception):  # an invalid header has no facts
        layers = [
            structs.replace(listed, encoding=layer["encoding"], nnz=layer["nnz"])
            for listed, layer in zip(entry.layers, told["layers"], strict=True)
        ]
        changed = structs.replace(
            changed, rows=told["rows"] + 0, rejected=told["rejected"] + 0, layers=tuple(layers)
        )
    edit_snapshot(folder, lambda parts: parts.__setitem__(index, to_builtins(changed)))


def edit_snapshot(folder: Path, edit: Callable[[list[Any]], Any], **fields: Any) -> None:
    """Edit the newest snapshot's entries or fields, and update its checksum."""
    (*_, number) = Log(LocalStorage(folder)).numbers()
    snapshot = Log(LocalStorage(folder)).read(number)
    parts = [to_builtins(entry) for entry in snapshot.parts]
    edit(parts)
    rows = fields.get("rows")
    if rows is None:
        rows = sum(part[1] - sum(b - a for a, b in (part[6:] or [[]])[0]) for part in parts)
    document: dict[str, Any] = {
        "format": 1,
        "number": number,
        "created": snapshot.created,
        "operation": snapshot.operation,
        "rows": rows,
        "parts": parts,
        "settings": snapshot.settings,
        "layers": {layer.name: layer.shape for layer in snapshot.layers},
        "values": snapshot.values,
    } | fields
    write_snapshot(folder, number, document)


def write_snapshot(folder: Path, number: int, document: dict[str, Any]) -> None:
    """Write a snapshot's file, which begins with its checksum."""
    body = json.dumps(document).encode()[1:]
    sealed = b'{"crc32c":"' + checksum(body).encode() + b'",' + body
    (folder / snapshot_key(number)).write_bytes(sealed)
