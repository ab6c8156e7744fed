"""In all formats, conversion leaves no partial files, needs little memory, and refuses clearly."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scipy.sparse import load_npz

import sparsefeat
from sparsefeat.errors import (
    InputError,
    LayerError,
    StoreCorruptError,
    StoreMemoryError,
    StoreNotFoundError,
    StoreWriteError,
)
from sparsefeat.interop.conversion import FORMATS, Conversion

from ...refusals import as_nobody
from ...store.data import part_folders
from .stores import assert_same_matrix, big_store, odd_store, only_store_left

NAMES = {"h5ad": "all.h5ad", "parquet": "all.parquet", "npz": "all"}


def convert(folder: Path, to: str, **options: Any) -> Conversion:
    return sparsefeat.convert(folder / "store", folder / NAMES[to], to=to, **options)


@pytest.mark.parametrize("to", FORMATS)
def test_an_interrupt_leaves_no_files(tmp_path: Path, to: str) -> None:
    odd_store(tmp_path / "store")
    seen = []

    def interrupt(done: int, total: int) -> None:
        seen.append((done, total))
        assert len(list(tmp_path.glob(".sparsefeat-*.tmp"))) == 1
        if len(seen) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(tmp_path, to, memory=1, progress=interrupt)
    assert len(seen) == 5
    assert only_store_left(tmp_path)


@pytest.mark.parametrize("to", FORMATS)
def test_progress_ends_at_the_number_of_rows(tmp_path: Path, to: str) -> None:
    odd_store(tmp_path / "store")
    seen: list[tuple[int, int]] = []
    convert(tmp_path, to, memory=1, progress=lambda *counts: seen.append(counts))
    assert seen == sorted(seen)
    assert seen[-1] == (11, 11)


@pytest.mark.parametrize("to", FORMATS)
def test_damage_leaves_no_files_and_replaces_none(tmp_path: Path, to: str) -> None:
    store = odd_store(tmp_path / "store")
    convert(tmp_path, to)
    before = {file: file.read_bytes() for file in tmp_path.rglob("all*") if file.is_file()}
    part = part_folders(Path(store.folder))[1]
    values = next((part / "obsm/block5_pool/data").iterdir())
    content = bytearray(values.read_bytes())
    content[len(content) // 2] ^= 1
    values.write_bytes(content)
    with pytest.raises(StoreCorruptError, match=part.name):
        convert(tmp_path, to, force=True)
    assert {file: file.read_bytes() for file in before} == before
    assert not list(tmp_path.glob(".sparsefeat*"))


@pytest.mark.parametrize("to", FORMATS)
def test_an_existing_name_is_replaced_only_by_force(tmp_path: Path, to: str) -> None:
    odd_store(tmp_path / "store")
    first = convert(tmp_path, to)
    with pytest.raises(InputError, match=r"exists.*--force"):
        convert(tmp_path, to)
    smaller = convert(tmp_path, to, layers="fc", force=True)
    assert list(smaller.layers) == ["fc"]
    assert smaller.bytes < first.bytes
    assert {entry.name for entry in tmp_path.iterdir()} == {"store", NAMES[to]}


FULL = """
import sys, sparsefeat
store, output, to = sys.argv[1:]
try:
    sparsefeat.convert(store, output, to=to)
except sparsefeat.StoreWriteError as exc:
    print(exc)
"""


@pytest.mark.parametrize("to", FORMATS)
def test_a_full_disk_leaves_no_files(tmp_path: Path, to: str) -> None:
    import numpy as np

    from sparsefeat.types import Layer

    from ...store.data import make_batch, write_store

    layer = Layer(name="x", shape=(100_000,))
    rng = np.random.default_rng(0)
    batch = make_batch(range(8), [layer], make=lambda *_: rng.random((8, 100_000), np.float32))
    write_store(tmp_path / "store", [batch], [layer])
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "sparsefeat-test", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small disk can't be mounted here: {mounted.stderr.strip()}")
    try:
        # A separate process, because its end shows that no library keeps the file open.
        done = subprocess.run(
            [sys.executable, "-c", FULL, str(tmp_path / "store"), str(disk / NAMES[to]), to],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "No space left on device" in done.stdout
        assert "has room: make room, or name another one" in done.stdout
        assert len(done.stdout.splitlines()) == 1
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_an_unwritable_folder_is_an_error(tmp_path: Path) -> None:
    store = odd_store(tmp_path / "store")
    (document, *_) = Path(store.folder).glob("snapshots/*")
    with pytest.raises(InputError, match="can't write"):
        sparsefeat.convert(store, document / "all.h5ad")
    convert(tmp_path, "npz")  # imports modules that another user may not read
    shutil.rmtree(tmp_path / NAMES["npz"])
    tmp_path.chmod(0o555)
    with as_nobody(tmp_path), pytest.raises(StoreWriteError, match="Permission denied"):
        convert(tmp_path, "npz")
    tmp_path.chmod(0o755)
    assert only_store_left(tmp_path)


PEAK = """
import resource, sys
import sparsefeat
from sparsefeat.interop.conversion import {to}
import anndata, h5py, pyarrow.parquet, scipy.sparse
store = sparsefeat.open(sys.argv[1])
store["x"][0], store.obs  # what reading one row takes is there before
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
sparsefeat.convert(store, sys.argv[2], to="{to}", memory=16 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("to", FORMATS)
def test_memory_is_bounded(tmp_path: Path, to: str) -> None:
    store = big_store(tmp_path / "store", rows=64, features=1 << 20)
    raw = 8 * int(store["x"][0].nnz) * store.n_rows
    assert raw == 256 << 20
    done = subprocess.run(
        [sys.executable, "-c", PEAK.format(to=to), str(store.folder), str(tmp_path / NAMES[to])],
        capture_output=True,
        text=True,
        check=True,
    )
    grown = 1024 * int(done.stdout)
    assert grown < raw / 2, f"{grown / 2**20:.0f} MiB"


@pytest.mark.parametrize("to", FORMATS)
def test_conversion_needs_less_than_a_store_s_memory_limit(tmp_path: Path, to: str) -> None:
    odd_store(tmp_path / "store")
    store = sparsefeat.open(tmp_path / "store", memory_limit=1000)
    with pytest.raises(StoreMemoryError):
        store["block5_pool"][:]
    assert sparsefeat.convert(store, tmp_path / NAMES[to], to=to).rows == 11


def test_the_format_follows_from_the_name(tmp_path: Path) -> None:
    odd_store(tmp_path / "store")
    assert sparsefeat.convert(tmp_path / "store", tmp_path / "a.h5ad").to == "h5ad"
    assert sparsefeat.convert(tmp_path / "store", tmp_path / "a.PARQUET").to == "parquet"
    assert sparsefeat.convert(tmp_path / "store", tmp_path / "a.NPZ", layers="fc").to == "npz"
    for name, to in (("b.h5ad", "parquet"), ("b.h5ad", "npz"), ("b", "h5ad"), ("b.csv", "parquet")):
        with pytest.raises(InputError, match=rf"expected a name that ends in .{to}"):
            sparsefeat.convert(tmp_path / "store", tmp_path / name, to=to)
    with pytest.raises(InputError, match=r"no format, expected one of h5ad, parquet, npz.*--to"):
        sparsefeat.convert(tmp_path / "store", tmp_path / "c.csv")
    with pytest.raises(InputError, match="format 'csv'"):
        sparsefeat.convert(tmp_path / "store", tmp_path / "c.h5ad", to="csv")


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    odd_store(tmp_path / "store")
    with pytest.raises(LayerError, match="block6_pool"):
        convert(tmp_path, "h5ad", layers="block6_pool")
    with pytest.raises(InputError, match="row 11 is out of range"):
        convert(tmp_path, "h5ad", rows=[11])
    with pytest.raises(InputError, match="got memory=0 bytes"):
        convert(tmp_path, "h5ad", memory=0)
    with pytest.raises(StoreNotFoundError):
        sparsefeat.convert(tmp_path / "photos", tmp_path / "a.h5ad")
    assert only_store_left(tmp_path)


def test_a_condition_selects_rows(tmp_path: Path) -> None:
    store = odd_store(tmp_path / "store")
    done = convert(tmp_path, "npz", where="height in [481, 489]")
    assert done.rows == 2
    converted = load_npz(tmp_path / "all" / "block5_pool.npz")
    assert_same_matrix(converted, store["block5_pool"][[1, 9]])
    with pytest.raises(InputError, match="got both rows and where"):
        convert(tmp_path, "npz", where="height > 0", rows=[0])
