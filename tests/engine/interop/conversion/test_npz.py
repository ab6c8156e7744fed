import io
import json
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array, load_npz

import sparsefeat
from sparsefeat.errors import InputError
from sparsefeat.interop.conversion import reader

from ...store.data import SMALL
from .stores import (
    assert_kept,
    assert_same_matrix,
    empty_store,
    flipped,
    odd_store,
    read_without_us,
)

TEXTS = dict.fromkeys(("path", "root", "label", "sha256", "format", "reason"), str)


def read_csv(file: Path | io.BytesIO) -> pd.DataFrame:
    """As in docs/convert.md."""
    return pd.read_csv(file, index_col="row_id", dtype=TEXTS, keep_default_na=False)


def assert_same_table(got: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert got.index.tolist() == expected.index.tolist()
    assert list(got.columns) == list(expected.columns)
    for column in got:
        assert got[column].tolist() == expected[column].tolist()


def test_a_folder_gets_a_file_for_each_layer(tmp_path: Path) -> None:
    store = odd_store(tmp_path / "store")
    done = sparsefeat.convert(store, tmp_path / "all", to="npz", memory=1)
    matrices = {f"{layer.name.replace('/', '.')}.npz" for layer in SMALL}
    assert {file.name for file in (tmp_path / "all").iterdir()} == {
        *matrices,
        "obs.csv",
        "rejected.csv",
        "header.json",
    }
    for layer in SMALL:
        found = load_npz(tmp_path / "all" / f"{layer.name.replace('/', '.')}.npz")
        assert isinstance(found, csr_array)
        assert_same_matrix(found, store[layer.name].to_scipy())
    assert_same_table(read_csv(tmp_path / "all" / "obs.csv"), store.obs)
    assert_same_table(read_csv(tmp_path / "all" / "rejected.csv"), store.rejected)
    header = json.loads((tmp_path / "all" / "header.json").read_bytes())
    assert header["provenance"] == [{"tool": "test"}]
    assert done.bytes == sum(file.stat().st_size for file in (tmp_path / "all").iterdir())


def test_one_layer_is_written_as_one_file(tmp_path: Path) -> None:
    store = odd_store(tmp_path / "store")
    file = tmp_path / "pool.npz"
    sparsefeat.convert(store, file, layers="block5_pool")
    assert_same_matrix(load_npz(file), store["block5_pool"].to_scipy())
    with np.load(file) as members:
        assert_same_table(read_csv(io.BytesIO(members["obs.csv"])), store.obs)
        assert_same_table(read_csv(io.BytesIO(members["rejected.csv"])), store.rejected)
        assert json.loads(members["header.json"])["rows"] == 11
    assert zipfile.ZipFile(file).testzip() is None


def test_members_equal_those_of_scipy(tmp_path: Path) -> None:
    from scipy.sparse import save_npz

    store = odd_store(tmp_path / "store")
    sparsefeat.convert(store, tmp_path / "ours.npz", layers="block5_pool")
    save_npz(tmp_path / "theirs.npz", store["block5_pool"].to_scipy())
    with np.load(tmp_path / "ours.npz") as ours, np.load(tmp_path / "theirs.npz") as theirs:
        for name in theirs.files:
            assert ours[name].dtype == theirs[name].dtype
            assert ours[name].shape == theirs[name].shape
            assert ours[name].tobytes() == theirs[name].tobytes()


def test_zip_detects_a_flipped_bit(tmp_path: Path) -> None:
    store = odd_store(tmp_path / "store")
    sparsefeat.convert(store, tmp_path / "pool.npz", layers="block5_pool")
    member = zipfile.ZipFile(tmp_path / "pool.npz").getinfo("data.npy")
    start = member.header_offset + 64  # behind the header and the extra field
    for other in flipped(tmp_path / "pool.npz", start, member.compress_size - 64):
        with other.open("rb") as file, pytest.raises((zipfile.BadZipFile, zlib.error, ValueError)):
            load_npz(file)


def test_several_layers_in_one_file_are_refused(tmp_path: Path) -> None:
    odd_store(tmp_path / "store")
    with pytest.raises(InputError, match=r"got 3 layers for one \.npz file.*--layers"):
        sparsefeat.convert(tmp_path / "store", tmp_path / "all.npz")


def test_a_store_without_rows_is_converted(tmp_path: Path) -> None:
    store = empty_store(tmp_path / "store")
    sparsefeat.convert(store, tmp_path / "all", to="npz")
    assert load_npz(tmp_path / "all" / "fc.npz").shape == (0, 40)
    assert_same_table(read_csv(tmp_path / "all" / "obs.csv"), store.obs)
    assert_same_table(read_csv(tmp_path / "all" / "rejected.csv"), store.rejected)


def test_the_files_are_read_without_sparsefeat(tmp_path: Path) -> None:
    store = odd_store(tmp_path / "store")
    sparsefeat.convert(store, tmp_path / "all", to="npz")
    told, arrays = read_without_us(
        """
from scipy.sparse import load_npz
for name in ("block5_pool", "block5_conv3/pre", "fc"):
    keep(name, load_npz(f"{path}/{name.replace('/', '.')}.npz"))
print("null")
""",
        tmp_path / "all",
        tmp_path,
    )
    assert told is None
    assert_kept(arrays, store)


def test_row_starts_are_int64_for_many_non_zeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is lowered here instead of writing 2^31 values."""
    assert reader.MAX_INT32 == 2**31 - 1
    monkeypatch.setattr(reader, "MAX_INT32", 100)
    store = odd_store(tmp_path / "store")
    sparsefeat.convert(store, tmp_path / "pool.npz", layers="block5_pool")
    with np.load(tmp_path / "pool.npz") as members:
        assert members["indptr"].dtype == np.int64
        assert members["indices"].dtype == np.int32
    found, expected = csr_array(load_npz(tmp_path / "pool.npz")), store["block5_pool"].to_scipy()
    np.testing.assert_array_equal(found.data.view(np.uint32), expected.data.view(np.uint32))
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.indptr, expected.indptr)
