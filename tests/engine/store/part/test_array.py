"""Arrays of a store, read by sparsefeat and by zarr, and invalid metadata."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from sparsefeat.storage import LocalStorage
from sparsefeat.store.format.arrays import ArrayMetadata, Chain
from sparsefeat.store.format.documents import CHUNK, SHARD
from sparsefeat.store.part.array import Segments, StoredArray, scale_rows, scale_stretches
from sparsefeat.store.part.layers import ArrayStream, PartGroup


def write(folder: Path, values: npt.NDArray[Any], **options: Any) -> tuple[StoredArray, Path]:
    """Write an array in uneven pieces, and open it."""
    LocalStorage(folder).claim("parts")
    group = PartGroup(LocalStorage(folder), "parts/one")
    width = values.shape[1] if values.ndim > 1 else None
    stream = ArrayStream(group, "x", Chain(dtype=values.dtype, **options), width=width)
    for piece in np.array_split(values, 3):
        stream.append(piece)
    stream.finish()
    array = StoredArray(
        LocalStorage(folder), "parts/one/x", ArrayMetadata.from_json(group.nodes["x"])
    )
    return array, folder / "parts" / "one" / "x"


# Less than a chunk, some chunks, more than a shard; rows that share chunks or need several.
SHAPES = [
    (0,),
    (5,),
    (CHUNK,),
    (3 * CHUNK + 7,),
    (SHARD + 5,),
    (3, 4),
    (5, CHUNK // 2),
    (2, CHUNK),
    (3, CHUNK + 3),
    (9, 3 * CHUNK - 1),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.filterwarnings("ignore:.*Zarr version 3 specification")
def test_arrays_are_read_as_by_zarr(tmp_path: Path, shape: tuple[int, ...]) -> None:
    differences = len(shape) == 1
    values = np.random.default_rng(0).integers(-9, 9, shape, np.int32)
    if not differences:
        values = values.astype(np.float32)
    array, folder = write(tmp_path / "store", values, differences=differences)
    assert array.shape == shape
    assert np.array_equal(array.read(), values)
    assert {path.name for path in folder.glob("*")} == {*array.files()}
    folder.mkdir(exist_ok=True)  # an array without elements has no files
    node = ArrayMetadata.to_json(array.metadata)
    (folder / "zarr.json").write_text(json.dumps(node))
    assert np.array_equal(zarr.open_array(folder, mode="r")[...], values)


@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_stretches_are_gathered(tmp_path: Path, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    values = rng.random(shape, np.float32)
    array, _ = write(tmp_path / "store", values)
    flat = values.reshape(-1)
    cuts = np.sort(rng.integers(0, flat.size, 40))
    cuts = np.append(cuts, flat.size)
    length = np.diff(cuts)
    length[::3] //= 2  # gaps
    target = np.cumsum(length[::-1])[::-1] - length  # in reverse order
    for dtype in (np.float32, np.float64):
        out = np.full(length.sum(), -1, dtype)
        seen: list[int] = []

        def see(piece: npt.NDArray[Any], seen: list[int] = seen) -> None:
            seen.append(len(piece))

        array.gather(Segments(cuts[:-1], target, length), out, see)
        for start, begin, count in zip(cuts[:-1], target, length, strict=True):
            assert np.array_equal(out[begin : begin + count], flat[start : start + count])
        assert sum(seen) == length.sum()


def test_some_rows_are_read(tmp_path: Path) -> None:
    values = np.arange(900, dtype=np.float32).reshape(9, 100)
    array, _ = write(tmp_path / "store", values)
    assert np.array_equal(array.read(2, 5), values[2:5])
    assert array.read(5, 2).shape == (0, 100)


def metadata_of(**changes: Any) -> dict[str, Any]:
    node = ArrayMetadata(
        shape=(100,), chunk=(10,), file=(50,), chain=Chain(dtype=np.dtype(np.float32))
    ).to_json()
    return node | changes


def sharding(**changes: Any) -> dict[str, Any]:
    (codec,) = metadata_of()["codecs"]
    return {"codecs": [{**codec, "configuration": codec["configuration"] | changes}]}


def grid(*extents: int) -> dict[str, Any]:
    return {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [*extents]}}}


CHAIN = Chain(dtype=np.dtype(np.float32)).to_json()


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [-1]},
        {"shape": [2**63]},
        {"shape": [1.5]},
        {"shape": [True]},
        {"shape": [2, 2, 2]},
        {"shape": "100"},
        {"data_type": "float64"},
        {"data_type": "object"},
        {"node_type": "group"},
        {"zarr_format": 2},
        {"storage_transformers": [{"name": "odd"}]},
        {"chunk_key_encoding": {"name": "v2", "configuration": {"separator": "."}}},
        {"chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}}},
        grid(0),
        grid(55),
        grid(50, 50),
        sharding(chunk_shape=[0]),
        sharding(chunk_shape=[7]),
        sharding(index_location="start"),
        sharding(codecs=CHAIN[:-1]),
        sharding(index_codecs=CHAIN[:1]),
        {"codecs": CHAIN[1:]},
        {"codecs": [{"name": "numcodecs.pickle"}, *CHAIN]},
        {"codecs": [{"name": "numcodecs.delta", "configuration": {"dtype": "<f4"}}, *CHAIN]},
        {"codecs": []},
        {"fill_value": 1.0},
        {"fill_value": "x"},
        {"fill_value": None},
        {"shape": [4, 30], **grid(2, 20), "codecs": CHAIN},
        {"shape": [4, 30], **grid(2, 60), "codecs": CHAIN},
    ],
    ids=str,
)
def test_invalid_metadata_are_refused(changes: dict[str, Any]) -> None:
    ArrayMetadata.from_json(metadata_of())
    with pytest.raises((TypeError, ValueError, KeyError)):
        ArrayMetadata.from_json(json.loads(json.dumps(metadata_of(**changes))))


def test_more_elements_than_a_file_can_hold_are_refused(tmp_path: Path) -> None:
    """Each chunk takes some bytes, so the size of a file limits the number of elements."""
    storage = LocalStorage(tmp_path)
    with pytest.raises(ValueError, match="no files for its 100 elements"):
        StoredArray(storage, "part/x", ArrayMetadata.from_json(metadata_of()))
    (tmp_path / "part" / "x").mkdir(parents=True)
    (tmp_path / "part" / "x" / "c.1").write_bytes(bytes(10 * 20))
    StoredArray(storage, "part/x", ArrayMetadata.from_json(metadata_of()))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.data())
def test_rows_are_copied_to_their_targets(lengths: list[int], data: st.DataObject) -> None:
    n_rows = len(lengths)
    numbers = np.array(data.draw(st.lists(st.integers(0, n_rows - 1), max_size=12)), np.int64)
    source = np.cumsum([0, *lengths])
    flat = np.arange(source[-1]) * 10
    order = np.argsort(numbers, kind="stable")
    target = np.cumsum([0, *np.diff(source)[numbers]])
    segments = Segments.rows(numbers[order], source, target, order)
    out = np.full(target[-1], -1)
    for start, begin, length in zip(segments.source, segments.target, segments.length, strict=True):
        out[begin : begin + length] = flat[start : start + length]
    rows: list[npt.NDArray[np.int64]] = [flat[source[row] : source[row + 1]] for row in numbers]
    assert out.tolist() == np.concatenate([[], *rows]).tolist()
    for ascending in (segments.source, segments.stop):
        assert (np.diff(ascending) >= 0).all()


def test_neighbouring_rows_are_read_as_one_segment() -> None:
    source = np.array([0, 3, 3, 5, 9])
    rows = np.arange(4)
    segments = Segments.rows(rows, source, source, rows)
    assert (segments.source.tolist(), segments.length.tolist()) == ([0], [9])


SCALES = np.array([1, 0.5, 0.25], np.float32)


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("squared", [False, True])
def test_only_the_given_stretches_are_scaled(index: type[np.integer], squared: bool) -> None:
    """One stretch is long enough for several threads."""
    codes = np.arange(1, 1_000_001, dtype=np.float32)
    indices = np.random.default_rng(0).integers(0, 300, 1_000_000).astype(index)
    segments = Segments(*(np.array(numbers) for numbers in ([0, 50], [60, 5], [900_000, 30])))
    values = codes.copy()
    scale_stretches(segments, values, indices, SCALES, squared=squared)
    expected = SCALES[indices % 3] * codes ** (1 + squared)
    inside = np.zeros(1_000_000, bool)
    inside[60:900_060] = inside[5:35] = True
    np.testing.assert_array_equal(values, np.where(inside, expected, codes))


@pytest.mark.parametrize("targets", [[2], [3, 0, 1]])
@pytest.mark.parametrize("squared", [False, True])
def test_only_the_given_rows_are_scaled(targets: list[int], squared: bool) -> None:
    codes = np.arange(24, dtype=np.float32).reshape(4, 6)
    out = codes.copy()
    scale_rows(np.array(targets), out, SCALES, squared=squared)
    expected = np.tile(SCALES, 2) * codes ** (1 + squared)
    for row in range(4):
        np.testing.assert_array_equal(out[row], (expected if row in targets else codes)[row])
