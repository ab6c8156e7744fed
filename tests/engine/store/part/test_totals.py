"""More stored elements than int32 can count, in rows so regular that the files are small."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsefeat.errors import StoreMemoryError
from sparsefeat.store import Store, StoreWriter, info
from sparsefeat.store.format.documents import NNZ, part_key
from sparsefeat.types import Batch, Layer
from sparsefeat_kernels import Csr

from ..data import edit_snapshot, make_row, part_folders, write_store

WIDTH = 1 << 22  # block1_conv1 has 3.2 million
ROW_NNZ = WIDTH // 2
BATCH, ROWS = 4, 64
PARTS = -(-(1 << 31) // (ROWS * ROW_NNZ)) + 1
LAYER = Layer(name="wide", shape=(WIDTH // 64, 1, 64))


def wide_rows(count: int) -> Csr:
    """Make rows in which every second element is the row's number."""
    indices = np.tile(np.arange(0, WIDTH, 2, dtype=np.int32), count)
    values = np.repeat(np.arange(1, count + 1, dtype=np.float32), ROW_NNZ)
    return Csr(np.arange(count + 1) * ROW_NNZ, indices, values, WIDTH)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Equal parts with a little more than 2**31 non-zeros together, in some megabytes."""
    folder = tmp_path_factory.mktemp("totals") / "store"
    csr = wide_rows(BATCH)
    options: dict[str, Any] = {"settings": {}, "provenance": {}, "bytes_per_part": 1 << 40}
    with StoreWriter.open(folder, layers=[LAYER], **options) as writer:
        for start in range(0, ROWS, BATCH):
            rows = tuple(make_row(number) for number in range(start, start + BATCH))
            writer.append(Batch(rows=rows, layers={LAYER.name: csr}))
    (part,) = part_folders(folder)
    names = [f"{number:016x}" for number in range(1, PARTS)]
    for name in names:
        shutil.copytree(part, folder / part_key(name))
    edit_snapshot(folder, lambda parts: parts.extend([name, *parts[0][1:]] for name in names))
    yield folder
    shutil.rmtree(folder)


def test_counts_exceed_int32(store: Path) -> None:
    total = PARTS * ROWS * ROW_NNZ
    assert total > 1 << 31
    opened = Store(store)
    zeros = opened["wide"].zeros()
    assert zeros.per_row.dtype == zeros.per_channel.dtype == np.int64
    assert (zeros.per_row == WIDTH - ROW_NNZ).all()
    assert int(zeros.per_channel.sum()) == len(opened) * WIDTH - total
    facts = info(store)
    layer = facts["layers"]["wide"]  # type: ignore[index, call-overload]
    assert layer["nnz"] == total  # type: ignore[index, call-overload]
    assert facts["bytes"] < 64 << 20  # type: ignore[operator]


def test_rows_beyond_int32_are_read(store: Path) -> None:
    opened = Store(store)
    last = len(opened) - 1
    matrix = opened["wide"][[last, 0, last - 1]]
    assert matrix.shape == (3, WIDTH)
    assert matrix.nnz == 3 * ROW_NNZ
    assert matrix.indices.dtype == matrix.indptr.dtype == np.int32
    assert [matrix.data[start] for start in matrix.indptr[:-1]] == [BATCH, 1, BATCH - 1]
    dense = opened["wide"].to_numpy([last]).reshape(-1)
    assert dense[::2].min() == dense[::2].max() == BATCH
    assert not dense[1::2].any()


@pytest.mark.parametrize(
    ("most", "parts"),
    [(19, [1] * 7), (20, [2, 2, 2, 1]), (29, [2, 2, 2, 1]), (30, [3, 3, 1]), (69, [6, 1])],
)
def test_parts_are_limited_by_their_nnz(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, parts: list[int]
) -> None:
    """The limit is lowered, because 2**31 non-zeros take 16 GiB."""
    assert NNZ == 2**31 - 1
    monkeypatch.setattr("sparsefeat.store.part.layers.NNZ", most)
    layer = Layer(name="x", shape=(20,))
    csr = Csr(np.arange(8) * 10, np.tile(np.arange(10, dtype=np.int32), 7), np.ones(70, "f4"), 20)
    rows = tuple(make_row(number) for number in range(7))
    write_store(tmp_path, [Batch(rows=rows, layers={"x": csr})], [layer])
    assert [part.header.rows for part in Store(tmp_path).parts] == parts


def test_reading_all_is_refused_with_advice(store: Path) -> None:
    with pytest.raises(StoreMemoryError, match=r"\.batches\(\)"):
        _ = Store(store, memory_limit=1 << 30)["wide"][:]
    with pytest.raises(StoreMemoryError, match=r"\.batches\(\)"):
        Store(store, memory_limit=1 << 30)["wide"].to_numpy()
