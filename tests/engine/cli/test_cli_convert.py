import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import anndata
import pytest
from scipy.sparse import load_npz

from sparsefeat.store import Store

from ..command import assert_one_line, run
from ..interop.conversion.stores import assert_same_matrix, odd_store, only_store_left


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    odd_store(tmp_path / "store")
    return tmp_path


def test_convert_reports_what_it_wrote(folder: Path) -> None:
    done = run(folder, "convert", "store", "-o", "all.h5ad", "--layers", "block5_pool,fc")
    assert done.exit_code == 0, done.stderr
    assert done.stderr == ""
    first, heading, *layers = done.stdout.splitlines()
    size = (folder / "all.h5ad").stat().st_size
    assert first.startswith(f"all.h5ad: h5ad, 11 rows, 2 rejected, {size / 1000:.3g} kB; ")
    assert heading.split() == ["layer", "shape", "non-zeros", "written", "of", "dense"]
    nnz = Store(folder / "store")["block5_pool"].nnz
    assert [line.split()[:3] for line in layers] == [
        ["block5_pool", "3x3x8", str(nnz)],
        ["fc", "40", "429"],
    ]
    data = anndata.read_h5ad(folder / "all.h5ad")
    assert_same_matrix(data.obsm["block5_pool"], Store(folder / "store")["block5_pool"].to_scipy())


@pytest.mark.parametrize(
    ("words", "to"),
    [
        (("-o", "all.parquet"), "parquet"),
        (("-o", "all", "--to", "npz"), "npz"),
        (("-o", "fc.npz", "-l", "fc", "--memory", "1"), "npz"),
    ],
)
def test_convert_prints_json(folder: Path, words: tuple[str, ...], to: str) -> None:
    done = run(folder, "convert", "store", "--json", *words)
    assert done.exit_code == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["path"], facts["to"], facts["rows"], facts["rejected"]) == (words[1], to, 11, 2)
    assert facts["layers"]["fc"]["shape"] == [40]
    assert facts["layers"]["fc"]["nnz"] == 429
    assert 0 < facts["layers"]["fc"]["bytes"] <= facts["bytes"]
    assert facts["seconds"] > 0


def test_a_condition_selects_rows(folder: Path) -> None:
    store = Store(folder / "store")
    done = run(folder, "convert", "store", "-o", "some.h5ad", "--where", "height in [481, 489]")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("some.h5ad: h5ad, 2 rows, ")
    data = anndata.read_h5ad(folder / "some.h5ad")
    assert [*data.obs_names] == [*store.obs.index[[1, 9]]]
    assert_same_matrix(data.obsm["block5_pool"], store["block5_pool"][[1, 9]])


def test_a_condition_that_holds_for_no_row_gives_an_empty_file(folder: Path) -> None:
    words = ("-o", "none", "--to", "npz", "--where", "height < 0", "--json")
    done = run(folder, "convert", "store", *words)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 0
    assert load_npz(folder / "none" / "fc.npz").shape == (0, 40)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("store", "-o", "all.csv"), "expected one of h5ad, parquet, npz"),
        (("store", "-o", "all.npz"), "for one .npz file"),
        (("store", "-o", "store/snapshots/00000001.json/all.h5ad"), "can't write"),
        (("store", "-o", ""), "empty name"),
        (("store", "-o", "-", "--to", "npz"), "standard output"),
        (("store", "-o", "all.h5ad", "--to", "parquet"), "ends in .parquet"),
        (("store", "-o", "store", "--to", "npz"), "exists"),
        (
            ("store", "-o", "store", "--to", "npz", "--force"),
            "files that no conversion made",
        ),
        (("store", "-o", "all.h5ad", "--layers", "block6_pool"), "no layer 'block6_pool'"),
        (("photos", "-o", "all.h5ad"), "expected a store"),
        (("store", "-o", "all.h5ad", "--memory", "0"), "1<=x"),
        (("store", "-o", "all.h5ad", "--where", "hight > 5"), "no column 'hight': try height"),
        (("store", "-o", "all.h5ad", "--where", ""), "as a condition"),
        (("store",), "Missing option '-o'"),
    ],
)
def test_errors_are_one_line(folder: Path, words: tuple[str, ...], said: str) -> None:
    done = run(folder, "convert", *words)
    assert_one_line(done)
    assert said in done.stderr
    assert only_store_left(folder)
    assert len(Store(folder / "store")) == 11


SLOW = """
import sys, time
from sparsefeat.cli import main
from sparsefeat.interop.conversion.reader import StoreReader
wrote = StoreReader.wrote
StoreReader.wrote = lambda *words: (time.sleep(0.3), wrote(*words))
StoreReader.stretches = lambda self, *layers: ((row, row + 1) for row in range(self.n_rows))
main(sys.argv[1:])
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("words", [("-o", "all.h5ad"), ("-o", "all", "--to", "npz")])
def test_a_signal_leaves_no_files(folder: Path, number: int, words: tuple[str, ...]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, "convert", "store", *words],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not list(folder.glob(".sparsefeat-*.tmp")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        assert process.wait() == 128 + number
        assert process.stderr is not None
        assert process.stderr.read().startswith("stopping after the current rows")
    assert only_store_left(folder)
