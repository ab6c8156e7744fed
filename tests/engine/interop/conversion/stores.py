"""Stores to convert, and a way to read the result without sparsefeat."""

import json
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsefeat.store import Store
from sparsefeat.types import Batch, Layer

from ...store.data import SMALL, dense_rows, make_batch, make_reject, make_row, write_store

ODD_PATHS = (
    "a/b%E9.jpg",
    "日本/写真.png",
    "new\nline, \"quoted\"; 'and more'",
    "carriage\r\nreturn",
    "carriage\rreturn",
    " 007 ",
    "NA",
    "x" * 5000,
)
SPECIAL = np.array([np.nan, -np.nan, np.inf, -np.inf, 1e-45, 3.4e38, -1.0, 0.0], np.float32)
FORMATS = ("h5ad", "parquet", "npz")


def special_rows(layer: Layer, numbers: Sequence[int]) -> npt.NDArray[np.float32]:
    """Make rows as `dense_rows` does, with NaN and infinities in each, and only zeros in row 3."""
    rows = dense_rows(layer, numbers)
    rows[:, : len(SPECIAL)] = SPECIAL
    if layer.name == "fc":
        rows[:, :2] = SPECIAL[:2]
    else:
        rows[[number == 3 for number in numbers]] = 0
    return rows


def odd_store(folder: Path) -> Store:
    """Write eleven rows in three parts, with CSR and dense layers, unusual paths and rejects."""
    records = [
        make_row(number, path=path, label=path, root="/größe %25")
        for number, path in enumerate(ODD_PATHS)
    ]
    records += [make_row(number) for number in range(len(records), 11)]
    rejects = [make_reject(1), make_reject(2, path="odd\n,\x01", reason="größer, als\nerlaubt")]
    batch = make_batch(range(11), rejects=rejects, make=special_rows)
    batch = Batch(rows=tuple(records), layers=batch.layers, rejects=batch.rejects)
    write_store(folder, [batch], rows_per_part=4)
    store = Store(folder)
    assert len(store.parts) == 3
    assert store["fc"].is_dense
    return store


def empty_store(folder: Path) -> Store:
    """Write a store with a reject and no rows."""
    write_store(folder, [make_batch([], rejects=[make_reject(1)])])
    return Store(folder)


def big_store(folder: Path, *, rows: int, features: int) -> Store:
    """Write rows with ones at random in half of the elements, which are stored as CSR."""
    layer = Layer(name="x", shape=(features,))
    ones = np.tile(np.repeat(np.array([0, 1, 0, 1], np.float32), (3, 1, 1, 3)), features // 8)
    batches = (make_batch([number], [layer], make=lambda *_: ones[None]) for number in range(rows))
    write_store(folder, batches, [layer])
    return Store(folder)


def assert_same_matrix(got: Any, expected: Any) -> None:
    """Check that values, indices and row starts are equal bit for bit."""
    assert got.shape == expected.shape
    assert got.data.dtype == np.float32
    assert got.indices.dtype == got.indptr.dtype == np.int32
    np.testing.assert_array_equal(got.data.view(np.uint32), expected.data.view(np.uint32))
    np.testing.assert_array_equal(got.indices, expected.indices)
    np.testing.assert_array_equal(got.indptr, expected.indptr)


def flipped(file: Path, start: int, size: int) -> Iterator[Path]:
    """Flip a bit at each of twenty positions of a file, one at a time."""
    whole = file.read_bytes()
    other = file.with_name("flipped")
    for position in range(start, start + size, max(1, size // 20)):
        content = bytearray(whole)
        content[position] ^= 16
        other.write_bytes(content)
        yield other


def only_store_left(folder: Path) -> bool:
    """Tell whether a folder holds a store called "store" and nothing else."""
    return [entry.name for entry in folder.iterdir()] == ["store"]


WITHOUT_US = """
import importlib.util, json, sys
sys.path.append(sys.argv[1])
assert importlib.util.find_spec("sparsefeat") is None, "sparsefeat can be imported"
assert importlib.util.find_spec("sparsefeat_kernels") is None
import numpy as np
path, arrays = sys.argv[2], {}
def keep(name, matrix):
    for part in ("data", "indices", "indptr", "shape"):
        arrays[f"{name}|{part}"] = np.asarray(getattr(matrix, part))
"""


def read_without_us(
    code: str, path: Path, scratch: Path
) -> tuple[Any, dict[str, npt.NDArray[Any]]]:
    """Run code that can't import sparsefeat; it fills `arrays` and prints JSON."""
    kept = scratch / "arrays.npz"
    ending = "\nnp.savez(sys.argv[3], **{k.replace('/', ':'): v for k, v in arrays.items()})"
    site = sysconfig.get_path("purelib")
    answer = subprocess.run(
        [sys.executable, "-I", "-S", "-c", WITHOUT_US + code + ending, site, str(path), str(kept)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    with np.load(kept) as loaded:
        return json.loads(answer.stdout), {
            name.replace(":", "/"): array for name, array in loaded.items()
        }


def assert_kept(arrays: dict[str, npt.NDArray[Any]], store: Store) -> None:
    """Compare the arrays that `keep` collected for every layer with the store."""
    for layer in SMALL:
        expected = store[layer.name].to_scipy()
        for part in ("data", "indices", "indptr", "shape"):
            got = arrays[f"{layer.name}|{part}"]
            assert got.tobytes() == np.asarray(getattr(expected, part), got.dtype).tobytes()
