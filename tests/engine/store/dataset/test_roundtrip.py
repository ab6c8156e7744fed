"""Rows are read as they were written."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsefeat.errors import InputError, LayerError
from sparsefeat.store import Store, info, open_store
from sparsefeat.store.part.tables import row_id
from sparsefeat.types import Batch, Layer
from sparsefeat_kernels import encode, to_dense

from ..data import (
    SMALL,
    assert_same_floats,
    dense_rows,
    make_batch,
    make_reject,
    make_row,
    part_folders,
    write_store,
)

Edge = dict[str, npt.NDArray[np.float32]]
ROWS = 23


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """23 rows in parts of 5, appended in batches of 1 to 7 rows."""
    folder = tmp_path_factory.mktemp("store") / "features"
    bounds = [0, 1, 3, 10, 17, 20, ROWS]
    batches = [make_batch(range(*pair)) for pair in pairwise(bounds)]
    write_store(folder, batches, rows_per_part=5)
    return open_store(folder)


def test_parts_have_exactly_the_requested_number_of_rows(store: Store) -> None:
    assert [part.header.rows for part in store.parts] == [5, 5, 5, 5, 3]
    assert len(store) == store.n_rows == ROWS


def test_encoding_is_chosen_per_layer(store: Store) -> None:
    encodings = {name: stored.encoding for name, stored in store.parts[0].layers.items()}
    assert encodings == {"block5_pool": "csr", "block5_conv3/pre": "csr", "fc": "dense"}
    for stored in store.parts[0].layers.values():
        measured = stored.measured
        assert stored.encoding == ("dense" if measured.dense_bytes < measured.csr_bytes else "csr")
        assert measured.rows == 5


@pytest.mark.parametrize("layer", SMALL, ids=lambda layer: layer.name)
def test_a_layer_is_one_matrix_over_all_parts(store: Store, layer: Layer) -> None:
    expected = dense_rows(layer, range(ROWS))
    matrix = store[layer.name].to_scipy()
    assert type(matrix).__name__ == "csr_array"
    assert matrix.dtype == np.float32
    assert matrix.indices.dtype == matrix.indptr.dtype == np.int32
    assert matrix.has_sorted_indices
    assert matrix.nnz == np.count_nonzero(expected)
    assert_same_floats(matrix.toarray(), expected)
    dense = store[layer.name].to_numpy()
    assert dense.shape == (ROWS, *layer.shape)
    assert_same_floats(dense.reshape(ROWS, -1), expected)


@pytest.mark.parametrize(
    "rows",
    [
        0,
        -1,
        np.int16(7),
        slice(3, 19, 4),
        slice(None, None, -1),
        slice(5, 5),
        [],
        [4, 5, 6],
        [22, 0, -23, 7, 7, 6, -1],
        np.array([1, 20], np.uint8),
        np.arange(ROWS) % 3 == 1,
        [True] + [False] * (ROWS - 1),
    ],
    ids=repr,
)
@pytest.mark.parametrize("layer", SMALL, ids=lambda layer: layer.name)
def test_rows_are_indexed_as_in_numpy(store: Store, layer: Layer, rows: Any) -> None:
    everything = dense_rows(layer, range(ROWS))
    index = np.asarray(rows, int) if isinstance(rows, list) and rows == [] else rows
    expected = np.atleast_2d(everything[index])
    assert_same_floats(store[layer.name][rows].toarray(), expected)
    dense = store[layer.name].to_numpy(rows)
    assert_same_floats(dense, expected.reshape(-1, *layer.shape))


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.integers(-ROWS, ROWS - 1), max_size=40),
    name=st.sampled_from(["block5_pool", "fc"]),
)
def test_any_list_of_rows_is_read(store: Store, rows: list[int], name: str) -> None:
    layer = store.layers[name]
    expected = dense_rows(layer, range(ROWS))[np.asarray(rows, int)]
    assert_same_floats(store[name][rows].toarray(), expected)


@pytest.mark.parametrize("rows", [23, -24, [0, 23], [0.5], "0", [[1]], [True], None])
def test_rows_out_of_range_are_refused(store: Store, rows: object) -> None:
    with pytest.raises(InputError):
        store["fc"][rows]  # type: ignore[index]


def test_an_unknown_layer_is_refused_with_similar_names(store: Store) -> None:
    with pytest.raises(LayerError, match=r"'block5_poll'.*block5_pool"):
        store["block5_poll"][:]
    with pytest.raises(LayerError, match="fc"):
        store["zzz"].to_numpy()


def test_zero_counts_are_read_without_values(store: Store) -> None:
    for layer in SMALL:
        dense = dense_rows(layer, range(ROWS))
        zeros = store[layer.name].zeros()
        np.testing.assert_array_equal(zeros.per_row, (dense == 0).sum(axis=1))
        per_channel = (dense.reshape(-1, layer.n_channels) == 0).sum(axis=0)
        np.testing.assert_array_equal(zeros.per_channel, per_channel)
        assert zeros.per_row.dtype == zeros.per_channel.dtype == np.int64


def test_obs_has_the_records_of_all_images(store: Store) -> None:
    rows = [make_row(number) for number in range(ROWS)]
    assert list(store.obs.index) == [row_id(row) for row in rows]
    assert [row_id(row).isascii() for row in rows] == [True] * ROWS
    for column in store.obs:
        assert list(store.obs[column]) == [getattr(row, str(column)) for row in rows]
    changed = store.obs
    assert changed["bytes"].dtype == np.int64
    changed.loc[:, "bytes"] = -1
    changed["path"] = ""
    assert [*store.obs["bytes"]] == [row.bytes for row in rows]


def test_settings_and_provenance_are_recorded(store: Store) -> None:
    assert store.settings == {"pool": "none"}
    assert store.provenance == [{"tool": "test"}] * 5


def test_info_summarizes_the_store(store: Store) -> None:
    summary = info(store.folder)
    assert (summary["rows"], summary["rejected"], summary["parts"]) == (ROWS, 0, 5)
    layers = summary["layers"]
    assert isinstance(layers, dict)
    for layer in SMALL:
        entry = layers[layer.name]
        assert isinstance(entry, dict)
        dense = dense_rows(layer, range(ROWS))
        assert entry["zeros"] == pytest.approx(np.mean(dense == 0))
        assert entry["bytes_dense"] == dense.nbytes
        files = Path(store.folder).glob(f"parts/*/obsm/{layer.name.replace('/', '.')}/**/*")
        assert entry["bytes_stored"] == sum(f.stat().st_size for f in files if f.is_file())


def edges() -> Edge:
    rng = np.random.default_rng(0)
    special = np.zeros((4, 30), np.float32)
    special[1, ::7] = [np.nan, np.inf, -np.inf, -0.0, 1e-42]
    special[3] = np.finfo(np.float32).max
    payload = np.array([[0x7FC12345, 0xFF800001, 1]], np.uint32).view(np.float32)
    return {
        "zeros": np.zeros((9, 30), np.float32),
        "ones": np.ones((9, 30), np.float32),
        "special": special,
        "payloads": np.tile(payload, (2, 10)),
        "half": np.where(rng.random((9, 30)) < 0.5, 0, rng.random((9, 30))).astype(np.float32),
        "one": np.array([[5]], np.float32),
        "narrow": np.array([[5], [0]], np.float32),
    }


@pytest.mark.parametrize("name", edges())
def test_special_matrices_are_stored_bit_for_bit(tmp_path: Path, name: str) -> None:
    values = edges()[name]
    layer = Layer(name="x", shape=(values.shape[1],))
    write_store(
        tmp_path, [make_batch(range(len(values)), [layer], make=lambda *_: values)], [layer]
    )
    read = Store(tmp_path)
    kept = to_dense(encode(values))
    assert_same_floats(read["x"].to_numpy(), kept)
    matrix = read["x"].to_scipy()
    np.testing.assert_array_equal(matrix.indptr, encode(values).indptr)
    np.testing.assert_array_equal(matrix.indices, encode(values).indices)
    np.testing.assert_array_equal(matrix.data.view(np.uint32), encode(values).data.view(np.uint32))


def test_a_store_without_rows_is_read(tmp_path: Path) -> None:
    write_store(tmp_path, [make_batch([], rejects=[make_reject(1), make_reject(2)])])
    store = Store(tmp_path)
    assert len(store) == 0
    assert len(store.obs) == 0
    assert list(store.rejected["path"]) == ["broken-1.png", "broken-2.png"]
    assert store["block5_pool"].shape == (0, 72)
    assert store["fc"][[]].shape == (0, 40)
    assert store["block5_pool"].to_numpy().shape == (0, 3, 3, 8)
    assert store["block5_pool"].zeros().per_row.shape == (0,)
    entry = info(tmp_path)["layers"]["fc"]  # type: ignore[index,call-overload]
    assert entry["zeros"] is None  # type: ignore[index,call-overload]


def test_a_part_without_rows_between_others_is_read(tmp_path: Path) -> None:
    write_store(tmp_path, [make_batch([0, 1])])
    write_store(tmp_path, [make_batch([], rejects=[make_reject(1)])])
    write_store(tmp_path, [make_batch([2])])
    store = Store(tmp_path)
    assert [part.header.rows for part in store.parts] == [2, 0, 1]
    expected = dense_rows(SMALL[0], range(3))
    assert_same_floats(store["block5_pool"].to_scipy().toarray(), expected)
    assert_same_floats(store["block5_pool"][[2, 0]].toarray(), expected[[2, 0]])


def test_the_encoding_may_differ_from_part_to_part(tmp_path: Path) -> None:
    layer = Layer(name="x", shape=(2, 2, 16))
    rng = np.random.default_rng(1)
    full = rng.random((5, 64), np.float32) + 1
    sparse = np.where(rng.random((5, 64)) < 0.9, 0, full).astype(np.float32)
    both = np.concatenate([full, sparse])

    def take(_: Layer, numbers: Sequence[int]) -> npt.NDArray[np.float32]:
        return both[numbers]

    write_store(tmp_path, [make_batch(range(10), [layer], make=take)], [layer], rows_per_part=5)
    store = Store(tmp_path)
    assert [part.layers["x"].encoding for part in store.parts] == ["dense", "csr"]
    assert_same_floats(store["x"].to_scipy().toarray(), both)
    assert_same_floats(store["x"][[9, 0, 5, 4]].toarray(), both[[9, 0, 5, 4]])
    assert info(tmp_path)["layers"]["x"]["encoding"] == "mixed"  # type: ignore[index,call-overload]


def test_rows_larger_than_a_shard_are_stored(tmp_path: Path) -> None:
    layer = Layer(name="block1_conv1/pre", shape=(448, 448, 64))  # 12.8 million columns

    def make(_: Layer, numbers: Sequence[int]) -> npt.NDArray[np.float32]:
        out = np.zeros((len(numbers), layer.n_features), np.float32)
        for row, number in zip(out, numbers, strict=True):
            row[number :: 2 if number else 1] = number + 1
        return out

    for numbers in ([0], [1, 2]):  # one row without zeros, stored dense; then two with half zeros
        write_store(tmp_path, [make_batch(numbers, [layer], make=make)], [layer])
    store = Store(tmp_path)
    for number in range(3):
        assert_same_floats(store[layer.name].to_numpy(number).reshape(1, -1), make(layer, [number]))
    assert store[layer.name][1].nnz == (layer.n_features - 1 + 1) // 2
    part = part_folders(tmp_path)[1]
    assert len([file for file in part.rglob("*") if file.is_file()]) < 100


def test_rows_of_3_million_columns_are_stored(tmp_path: Path) -> None:
    layer = Layer(name="block1_conv1", shape=(224, 224, 64))
    rng = np.random.default_rng(2)
    values = np.maximum(rng.standard_normal((3, layer.n_features), np.float32) - 1, 0)
    write_store(
        tmp_path,
        [make_batch([number], [layer], make=lambda _, n: values[list(n)]) for number in range(3)],
        [layer],
    )
    store = Store(tmp_path)
    assert_same_floats(store[layer.name].to_numpy().reshape(3, -1), values)
    assert_same_floats(store[layer.name][[2, 0]].toarray(), values[[2, 0]])


def test_batches_may_reuse_their_memory(tmp_path: Path) -> None:
    layer = SMALL[0]
    expected = dense_rows(layer, range(6))
    from sparsefeat_kernels import CsrBuffers

    buffers = CsrBuffers()
    batches = (
        Batch(
            rows=(make_row(number),), layers={layer.name: encode(expected[[number]], out=buffers)}
        )
        for number in range(6)
    )
    write_store(tmp_path, batches, [layer])
    assert_same_floats(Store(tmp_path)[layer.name].to_scipy().toarray(), expected)
