"""Columns that are kept beside those of every row survive all changes of a store."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import sparsefeat
from sparsefeat.errors import InputError, StoreCorruptError, StoreError
from sparsefeat.store import StoreWriter, compact, merge, open_store, remove, verify
from sparsefeat.types import Batch

from ..data import SMALL, edit_root, make_batch, part_folders, write_store

pytestmark = [
    pytest.mark.usefixtures("without_fsync"),
    pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3"),
]
FIXED = [
    *("path", "root", "label", "bytes", "mtime_ns", "sha256", "width", "height", "format"),
]
KEPT: list[dict[str, Any]] = [
    {"caption": "a cat", "score": 1, "ok": True, "n": 7, "mixed": 1},
    {"caption": "", "score": 0.5, "ok": False, "n": -(2**63), "mixed": "x"},
    {"caption": '\u732b "quoted"\n\x01', "score": None, "ok": True, "n": 2**53 + 1, "mixed": 0.5},
]


def batch(
    numbers: Sequence[int], kept: Mapping[int, Mapping[str, Any]], **changes: Any
) -> Batch[Any]:
    plain = make_batch(numbers)
    rows = tuple(
        dataclasses.replace(row, extra=json.dumps(kept.get(number, {})), **changes)
        for number, row in zip(numbers, plain.rows, strict=True)
    )
    return Batch(rows=rows, layers=plain.layers)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Three rows with extra columns, and in another part a row without."""
    write_store(tmp_path / "store", [batch(range(3), dict(enumerate(KEPT)))])
    write_store(tmp_path / "store", [make_batch([3])])
    return tmp_path / "store"


def check(obs: pd.DataFrame) -> None:
    assert [*obs.columns] == [*FIXED, "caption", "score", "ok", "n", "mixed"]
    assert obs.caption.tolist() == ["a cat", "", KEPT[2]["caption"], ""]
    np.testing.assert_array_equal(obs.score, np.array([1.0, 0.5, np.nan, np.nan]))
    assert obs.ok.tolist() == ["True", "False", "True", ""]
    assert obs.n.tolist() == ["7", str(-(2**63)), str(2**53 + 1), ""]
    assert obs.mixed.tolist() == ["1", "x", "0.5", ""]


def test_kept_columns_have_types(store: Path) -> None:
    check(open_store(store).obs)
    remove(store, where="mixed == ''")
    obs = open_store(store).obs
    assert [str(obs[name].dtype) for name in ("ok", "n")] == ["bool", "int64"]
    assert obs.ok.tolist() == [True, False, True]
    assert obs.n.tolist() == [7, -(2**63), 2**53 + 1]


def test_anndata_reads_the_columns_as_json(store: Path) -> None:
    kept, nothing = (anndata.read_zarr(part) for part in part_folders(store))
    assert [json.loads(text) for text in kept.obs["extra"]] == KEPT
    assert [*nothing.obs.columns] == FIXED


def test_conditions_may_use_kept_columns(store: Path) -> None:
    opened = open_store(store)
    assert opened.where("score > 0.7").tolist() == [0]
    assert opened.where("caption.str.contains('cat')").tolist() == [0]
    assert opened.where("ok == 'True' and label == 'folder 2'").tolist() == [2]
    with pytest.raises(InputError, match="no column 'captoin': try caption"):
        opened.where("captoin == ''")


def test_kept_columns_survive_compaction_and_merging(store: Path, tmp_path: Path) -> None:
    before = open_store(store).obs
    assert compact(store).parts_after == 1
    check(open_store(store).obs)
    write_store(tmp_path / "other", [batch([9], {9: {"more": "x"}})])
    merge([store, tmp_path / "other"], tmp_path / "both")
    both = open_store(tmp_path / "both").obs
    check(both.iloc[:4].drop(columns="more"))
    assert both.more.tolist() == ["", "", "", "", "x"]
    assert [*both.index[:4]] == [*before.index]
    merge([tmp_path / "both"], tmp_path / "some", where="caption == 'a cat'")
    assert open_store(tmp_path / "some").obs.n.tolist() == [7]
    for each in (store, tmp_path / "both", tmp_path / "some"):
        assert verify(each).ok


def test_a_replacing_row_has_its_own_columns(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    write_store(folder, [batch([0, 1], {0: {"caption": "old"}, 1: {"caption": "stays"}})])
    write_store(folder, [batch([0], {0: {"caption": "new"}}, bytes=5)], replace=True)
    assert open_store(folder).obs.caption.tolist() == ["stays", "new"]


def test_the_last_of_two_versions_in_one_part_counts(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    for known in ([], [7]):  # a new store, and an existing one
        if known:
            write_store(folder / "2", [make_batch(known)])
        target = folder / "2" if known else folder / "1"
        versions = [batch([0, 1], {}), batch([0], {0: {"v": 2}}, bytes=5), batch([2], {})]
        write_store(target, versions, replace=True)
        obs = open_store(target).obs
        assert obs.bytes.tolist() == [1000 + n for n in known] + [1001, 5, 1002]
        assert verify(target).ok


def test_conversions_contain_kept_columns(store: Path, tmp_path: Path) -> None:
    sparsefeat.convert(store, tmp_path / "a.h5ad", layers="fc")
    check(anndata.read_h5ad(tmp_path / "a.h5ad").obs.astype({"caption": str, "ok": str}))
    sparsefeat.convert(store, tmp_path / "a.parquet", layers="fc")
    table = pq.read_table(tmp_path / "a.parquet").to_pandas()
    check(table[[*open_store(store).obs.columns]])
    remove(store, where="mixed == ''")
    sparsefeat.convert(store, tmp_path / "b.parquet", layers="fc")
    table = pq.read_table(tmp_path / "b.parquet")
    types = {name: str(table.schema.field(name).type) for name in ("score", "ok", "n", "caption")}
    assert types == {"score": "double", "ok": "bool", "n": "int64", "caption": "string"}
    annotated = open_store(store).anndata("fc", lazy=False)
    annotated.write_h5ad(tmp_path / "c.h5ad")
    assert anndata.read_h5ad(tmp_path / "c.h5ad").obs.n.tolist() == [7, -(2**63), 2**53 + 1]


@pytest.mark.parametrize(
    "extra",
    [
        *("", "[]", "{", '{"a":[1]}', '{"a":{}}', '{"":1}', '{"path":"x"}', '{"a/b":1}'),
        *('{"index":1}', json.dumps({f"c{n}": 1 for n in range(33)}), "[" * 9000),
    ],
)
def test_invalid_json_of_columns_is_refused(tmp_path: Path, extra: str) -> None:
    plain = make_batch([0])
    row = dataclasses.replace(plain.rows[0], extra=extra)
    with pytest.raises(InputError, match="expected a JSON object of at most 32 columns"):
        write_store(tmp_path / "a", [Batch(rows=(row,), layers=plain.layers)])

    # A store from anybody: text that all rows share is in the metadata.
    write_store(tmp_path / "b", [batch([0, 1], {n: {"a": 1} for n in (0, 1)})])

    def edit(root: Any) -> None:
        node = root["consolidated_metadata"]["metadata"]["obs/extra"]
        assert node["fill_value"] == '{"a": 1}'
        node["fill_value"] = extra

    edit_root(tmp_path / "b", edit)
    if extra:  # an empty text means that there is a file
        with pytest.raises(StoreCorruptError, match="obs/extra is damaged"):
            _ = open_store(tmp_path / "b").obs
    report = verify(tmp_path / "b")
    assert not report.ok
    assert any("extra" in finding.what for finding in report.findings)


def test_too_many_columns_are_an_error(tmp_path: Path) -> None:
    kept = {n: {f"c{n}-{m}": m for m in range(32)} for n in range(9)}
    writer = StoreWriter.open(tmp_path / "s", layers=SMALL, settings={}, provenance={})
    with writer:
        for n in range(9):
            writer.append(batch([n], {n: kept[n]}))
            writer.commit()
    opened = open_store(tmp_path / "s")
    assert opened["fc"].shape[0] == 9
    with pytest.raises(StoreError, match="more than 256 different columns"):
        _ = opened.obs
