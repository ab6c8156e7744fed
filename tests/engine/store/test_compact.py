"""Compaction keeps what a reader sees, bit for bit, and takes fewer parts for it."""

import json
import pickle
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsefeat.errors import (
    InputError,
    StoreChangedError,
    StoreCorruptError,
    StoreLockedError,
    StoreMismatchError,
    StoreNotFoundError,
    StoreWriteError,
)
from sparsefeat.store import Store, StoreWriter, compact, group, info, merge, packing, verify
from sparsefeat.store import part_writer as writing
from sparsefeat.store.format.documents import JSON_BYTES
from sparsefeat.types import Batch, Layer
from sparsefeat_kernels import encode

from .attacks import edit_header
from .data import SMALL, digests, make_batch, make_reject, make_row, write_store
from .test_forms import STEPS, counted, layer_facts
from .test_forms import write as write_values

N_PARTS = 8  # of three rows each

pytestmark = pytest.mark.usefixtures("without_fsync")


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of small parts; provenance changes after the first four."""
    folder = tmp_path_factory.mktemp("pieces")
    for number in range(N_PARTS):
        rejects = [make_reject(number), make_reject(99, reason=f"try {number}")]
        write_store(
            folder,
            [make_batch(range(3 * number, 3 * number + 3), rejects=rejects)],
            provenance={"run": number // 4},
        )
    return folder


@pytest.fixture
def store(pieces: Path, tmp_path: Path) -> Path:
    folder: Path = shutil.copytree(pieces, tmp_path / "store")
    return folder


def names(folder: Path) -> list[str]:
    return [part.path.name for part in Store(folder).parts]


def assert_same(folder: Path, expected: Store) -> None:
    got = Store(folder)
    assert verify(folder).findings == ()
    assert got.obs.equals(expected.obs)
    assert got.rejected.equals(expected.rejected)
    assert list(got.layers) == list(expected.layers)
    assert got.settings == expected.settings
    for name in expected.layers:
        ours, theirs = got[name], expected[name]
        np.testing.assert_array_equal(ours.indptr, theirs.indptr)
        np.testing.assert_array_equal(ours.indices, theirs.indices)
        np.testing.assert_array_equal(ours.data.view(np.uint32), theirs.data.view(np.uint32))
        np.testing.assert_array_equal(got.zeros(name).per_row, expected.zeros(name).per_row)
        channels = got.zeros(name).per_channel, expected.zeros(name).per_channel
        np.testing.assert_array_equal(*channels)


def test_what_a_reader_sees_stays(store: Path, pieces: Path) -> None:
    calls: list[tuple[int, int]] = []
    done = compact(store, rows_per_part=10, progress=lambda *now: calls.append(now))
    assert (done.parts_before, done.parts_after, done.rows) == (8, 3, 24)
    assert [len(group) for group in done.groups] == [3, 3, 2]
    assert (done.duplicates, done.resolved, done.stopped) == (0, N_PARTS - 1, False)
    assert done.bytes_after is not None
    assert 0 < done.bytes_after < done.bytes_before
    assert names(store) == [f"part-{number:05d}.zarr" for number in (8, 9, 10)]
    assert calls[-1] == (24, 24)
    assert calls == sorted(calls)
    assert_same(store, Store(pieces))


def test_once_is_enough(store: Path) -> None:
    compact(store, rows_per_part=10)
    before = digests(store)
    done = compact(store, rows_per_part=10)
    assert (done.groups, done.parts_after, done.bytes_after) == ((), 3, 0)
    assert digests(store) == before


def test_compacting_what_was_compacted(store: Path, pieces: Path) -> None:
    compact(store, rows_per_part=10)
    write_store(store, [make_batch(range(24, 28))])
    assert names(store)[-1] == "part-00011.zarr"
    compact(store, rows_per_part=100)
    (part,) = Store(store).parts
    assert part.path.name == "part-00012.zarr"
    assert part.header.replaces.pairs == ((0, 11),)
    assert verify(store).findings == ()
    write_store(store, [make_batch(range(28, 30))])
    assert names(store) == ["part-00012.zarr", "part-00013.zarr"]
    assert list(Store(store).obs["bytes"]) == [1000 + number for number in range(30)]
    assert list(Store(store).obs["bytes"][:24]) == list(Store(pieces).obs["bytes"])


def test_where_rows_come_from_is_kept(store: Path) -> None:
    compact(store, rows_per_part=100)
    (part,) = Store(store).parts
    origins = [(origin.rows, origin.provenance) for origin in part.header.origins]
    assert origins == [(12, {"run": 0}), (12, {"run": 1})]
    assert Store(store).provenance == [{"run": 0}, {"run": 1}]
    compact(store, rows_per_part=100, everything=True)
    assert Store(store).parts[0].header.origins == part.header.origins


def test_one_provenance_stays_as_it_was(store: Path) -> None:
    compact(store, rows_per_part=12)
    for run, part in enumerate(Store(store).parts):
        assert part.header.provenance == {"run": run}
        assert part.header.origins == ()


def test_no_part_says_more_than_can_be_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert packing.ORIGIN_BYTES_PER_PART < JSON_BYTES // 2
    monkeypatch.setattr(packing, "ORIGIN_BYTES_PER_PART", 2500)
    for number in range(4):
        provenance = {"command": "x" * 1000, "run": number}
        write_store(tmp_path, [make_batch([number])], provenance=provenance)
    done = compact(tmp_path)
    assert [len(group) for group in done.groups] == [2, 2]
    assert [origin["run"] for origin in Store(tmp_path).provenance] == [0, 1, 2, 3]
    assert verify(tmp_path).findings == ()


def test_metadata_that_could_not_be_read_again(
    store: Path, pieces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digests(store)
    size = (store / "part-00000.zarr/zarr.json").stat().st_size
    monkeypatch.setattr(group, "JSON_BYTES", size - 100)
    with pytest.raises(InputError, match=r"metadata of a part take .* bytes, expected at most"):
        compact(store)
    assert digests(store) == before
    assert_same(store, Store(pieces))


def test_of_a_linked_part_only_the_link_goes(store: Path, pieces: Path) -> None:
    elsewhere = (store / "part-00001.zarr").rename(store.parent / "elsewhere")
    (store / "part-00001.zarr").symlink_to(elsewhere)
    before = digests(elsewhere)
    compact(store)
    assert digests(elsewhere) == before
    assert [path.name for path in store.glob("*part-*")] == ["part-00008.zarr"]
    assert_same(store, Store(pieces))
    (store / ".part-00007.0123abcd.tmp").symlink_to(elsewhere)
    write_store(store, [])
    assert digests(elsewhere) == before
    assert not any(store.glob(".part-*"))


def test_older_readers_refuse_a_compacted_part(store: Path) -> None:
    compact(store, rows_per_part=10)
    root = json.loads((store / "part-00008.zarr" / "zarr.json").read_bytes())
    assert root["attributes"]["sparsefeat"]["format"] == 2


def test_full_parts_stay(tmp_path: Path) -> None:
    first = 0
    for count in (9, 2, 3, 9, 4, 1, 5, 2):
        write_store(tmp_path, [make_batch(range(first, first + count))])
        first += count
    before = list(Store(tmp_path).obs.index)
    done = compact(tmp_path, rows_per_part=10)
    assert done.groups == (
        ("part-00001.zarr", "part-00002.zarr"),
        ("part-00004.zarr", "part-00005.zarr"),
    )
    assert names(tmp_path) == [f"part-{number:05d}.zarr" for number in (0, 8, 3, 9, 6, 7)]
    assert list(Store(tmp_path).obs.index) == before


def test_a_part_may_be_full_of_bytes(store: Path) -> None:
    row_bytes = sum(part.header.rows for part in Store(store).parts)
    assert compact(store, rows_per_part=1000, bytes_per_part=row_bytes, dry_run=True).groups == ()


def test_everything_is_written_anew(store: Path, pieces: Path) -> None:
    done = compact(store, rows_per_part=3, everything=True)
    assert done.groups == tuple((f"part-{number:05d}.zarr",) for number in range(N_PARTS))
    assert names(store) == [f"part-{number:05d}.zarr" for number in range(N_PARTS, 2 * N_PARTS)]
    assert_same(store, Store(pieces))


def test_a_part_is_never_split(store: Path) -> None:
    assert compact(store, rows_per_part=2, everything=True).parts_after == N_PARTS


def test_no_part_gets_more_non_zeros_than_readers_can_count(
    store: Path, pieces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sparsefeat.store import packing

    nnz = [part.layers["fc"].nnz for part in Store(store).parts]
    monkeypatch.setattr(packing, "NNZ_PER_PART", 2 * nnz[0])
    done = compact(store)
    assert [len(group) for group in done.groups] == [2, 2, 2, 2]
    assert_same(store, Store(pieces))


def test_a_dry_run_says_what_would_be_done(store: Path) -> None:
    before = digests(store)
    planned = compact(store, rows_per_part=10, dry_run=True)
    assert planned.bytes_after is None
    assert digests(store) == before
    done = compact(store, rows_per_part=10)
    for field in ("groups", "parts_before", "parts_after", "rows", "resolved", "bytes_before"):
        assert getattr(planned, field) == getattr(done, field)


def test_rows_that_are_there_twice_go(store: Path) -> None:
    """A part was copied back from somewhere."""
    shutil.copytree(store / "part-00001.zarr", store / "part-00008.zarr")
    assert not verify(store).ok
    done = compact(store, rows_per_part=3)
    assert done.groups == (("part-00008.zarr",),)
    assert (done.duplicates, done.rows, done.parts_after) == (3, 0, N_PARTS + 1)
    assert list(Store(store).obs["bytes"]) == [1000 + number for number in range(24)]
    assert verify(store).findings == ()


def test_some_rows_of_a_part_are_there_twice(tmp_path: Path) -> None:
    """Rows without elements lie between those that stay."""
    layer = Layer(name="x", shape=(5,))
    rows = np.eye(6, 5, dtype=np.float32)
    rows[[2, 3]] = 0

    def batch(numbers: list[int]) -> Batch:
        return Batch(
            rows=tuple(make_row(number) for number in numbers), layers={"x": encode(rows[numbers])}
        )

    write_store(tmp_path / "a", [batch([1, 3])], [layer])
    write_store(tmp_path / "b", [batch([0, 1, 2, 3, 4, 5])], [layer])
    (tmp_path / "b" / "part-00000.zarr").rename(tmp_path / "a" / "part-00001.zarr")
    assert compact(tmp_path / "a").duplicates == 2
    got = Store(tmp_path / "a")
    assert [size - 1000 for size in got.obs["bytes"]] == [1, 3, 0, 2, 4, 5]
    np.testing.assert_array_equal(got["x"].toarray(), rows[[1, 3, 0, 2, 4, 5]])
    assert verify(tmp_path / "a").findings == ()


def test_rejects_that_gave_a_row_go(tmp_path: Path) -> None:
    tried = make_reject(1)
    row = make_row(1, path=tried.path, bytes=tried.bytes, mtime_ns=tried.mtime_ns)
    layers = make_batch([1]).layers
    write_store(tmp_path, [make_batch([], rejects=[tried, make_reject(2)])])
    write_store(tmp_path, [make_batch([], rejects=[make_reject(3)])])
    write_store(tmp_path, [Batch(rows=(row,), layers=layers)])
    assert compact(tmp_path).resolved == 1
    (part,) = Store(tmp_path).parts
    assert part.header.rejected == 2
    assert [path[-5:] for path in Store(tmp_path).rejected["path"]] == ["2.png", "3.png"]
    assert verify(tmp_path).findings == ()


def test_values_of_every_kind_stay(tmp_path: Path) -> None:
    values = np.array(
        [[0, np.inf, 1e-45, 0, 3], [-1, 0, 0, 0, np.nan], [0, 0, 0, 0, 0], [1, 2, 3, 4, 5]],
        np.float32,
    )
    values[1, 4] = np.frombuffer(b"\x01\x00\xc0\x7f", "<f4")[0]  # a NaN that says something
    layers = [Layer(name="sparse", shape=(5,)), Layer(name="dense/pre", shape=(1, 1, 5))]
    for number in range(4):
        row = values[[number]]
        batch = Batch(
            rows=(make_row(number),),
            layers={"sparse": encode(row), "dense/pre": encode(np.where(row == 0, 7, row))},
        )
        write_store(tmp_path, [batch], layers)
    before = {name: Store(tmp_path)[name] for name in ("sparse", "dense/pre")}
    compact(tmp_path)
    for name, expected in before.items():
        got = Store(tmp_path)[name]
        assert got.data.view(np.uint32).tolist() == expected.data.view(np.uint32).tolist()
        assert got.indices.tolist() == expected.indices.tolist()


@pytest.mark.parametrize("values", ["float16", "bits:9"])
def test_rounded_values_stay_and_so_does_what_they_lost(tmp_path: Path, values: str) -> None:
    before = write_values(tmp_path / "before", values)
    shutil.copytree(tmp_path / "before", tmp_path / "after")
    assert compact(tmp_path / "after").parts_after == 1
    assert_same(tmp_path / "after", before)
    assert info(tmp_path / "after")["values"] == values
    for layer in before.layers:
        facts = layer_facts(tmp_path / "after", layer), layer_facts(tmp_path / "before", layer)
        assert facts[0]["loss"] == facts[1]["loss"]
        assert facts[0]["values"] == facts[1]["values"]


def test_whole_numbers_of_steps_stay_so(tmp_path: Path) -> None:
    before = write_values(tmp_path / "before", "float32", counted, steps={"sparse": STEPS})
    shutil.copytree(tmp_path / "before", tmp_path / "after")
    assert compact(tmp_path / "after").parts_after == 1
    assert_same(tmp_path / "after", before)
    assert layer_facts(tmp_path / "after", "sparse")["values"] == "uint8 steps"


def test_codes_with_other_steps_are_not_mixed(tmp_path: Path) -> None:
    """They would have to be rounded again."""
    before = write_values(tmp_path / "before", "uint8")
    shutil.copytree(tmp_path / "before", tmp_path / "after")
    assert compact(tmp_path / "after").groups == ()
    assert len(compact(tmp_path / "after", everything=True).groups) == 3
    assert_same(tmp_path / "after", before)
    merge([tmp_path / "before"], tmp_path / "merged")
    assert_same(tmp_path / "merged", before)


def test_a_store_that_was_open(store: Path) -> None:
    before = Store(store)
    assert before["fc", :3].shape == (3, 40)
    compact(store)
    for read in (
        lambda: before["fc"],
        lambda: before.dense("block5_pool"),
        lambda: before.obs,
        lambda: before.zeros("block5_pool"),
        lambda: before.parts[0].n_bytes(),
    ):
        with pytest.raises(StoreChangedError, match=r"was compacted.*open it again"):
            read()
    assert Store(store)["fc"].shape == (24, 40)


def test_a_store_that_was_handed_to_another_process(store: Path) -> None:
    sent = pickle.dumps(Store(store))
    assert len(pickle.loads(sent)) == 24
    compact(store)
    with pytest.raises(StoreChangedError, match="open it again, in every process"):
        pickle.loads(sent)


def test_a_compaction_while_all_is_verified(store: Path) -> None:
    def meanwhile(done: int, total: int) -> None:
        if done == 1:
            compact(store)

    with pytest.raises(StoreChangedError, match=r"part-00001\.zarr has gone"):
        verify(store, progress=meanwhile)
    assert verify(store).findings == ()


def test_writing_goes_on_where_it_was(store: Path) -> None:
    compact(store)
    write_store(store, [make_batch(range(20, 27))], provenance={"run": 2})
    assert list(Store(store).obs["bytes"]) == [1000 + number for number in range(27)]
    with StoreWriter.open(store, layers=SMALL, settings={"pool": "none"}, provenance={}) as writer:
        reject = make_reject(99)
        status = writer.index.status(
            root=reject.root, path=reject.path, bytes=reject.bytes, mtime_ns=reject.mtime_ns
        )
        assert status == "rejected"


def test_it_stops_between_parts(store: Path, pieces: Path) -> None:
    stop = threading.Event()
    done = compact(store, rows_per_part=10, progress=lambda *_: stop.set(), stop=stop)
    assert done.stopped
    assert (len(done.groups), done.parts_after) == (1, 6)
    assert_same(store, Store(pieces))
    assert not compact(store, rows_per_part=10).stopped
    assert len(Store(store).parts) == 3


def test_an_interrupt_loses_the_part_in_hand_only(store: Path, pieces: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compact(store, rows_per_part=10, progress=interrupt)
    assert not any(store.glob(".part-*"))
    assert names(store)[0] == "part-00008.zarr"
    assert_same(store, Store(pieces))


def test_a_disk_that_refuses(store: Path, pieces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = 0

    def full(folder: Path) -> None:
        nonlocal commits
        commits += 1
        if commits == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "sync_tree", full)
    with pytest.raises(StoreWriteError, match=r"No space left.*committed parts are safe"):
        compact(store, rows_per_part=10)
    assert not any(store.glob(".part-*"))
    assert len(Store(store).parts) == 6
    assert_same(store, Store(pieces))


@pytest.mark.parametrize("finish", ["compact", "write"])
def test_what_a_crash_left_is_removed_by_the_next_writer(
    store: Path, pieces: Path, finish: str
) -> None:
    """Between committing the new part and removing the old ones."""
    old = shutil.copytree(store / "part-00001.zarr", store.parent / "old")
    compact(store)
    old.rename(store / "part-00001.zarr")
    assert len(Store(store)) == 24
    assert Store(store).obs.equals(Store(pieces).obs)
    (finding,) = verify(store).findings
    assert finding.harmless
    assert "part-00001.zarr was compacted" in finding.what
    if finish == "compact":
        compact(store)
    else:
        write_store(store, [])
    assert sorted(path.name for path in store.glob("part-*")) == ["part-00008.zarr"]
    assert_same(store, Store(pieces))


def test_a_part_of_another_store_removes_nothing(store: Path, tmp_path: Path) -> None:
    """A compacted part names numbers, which mean other parts in another folder."""
    for number in range(30, 34):
        write_store(tmp_path / "other", [make_batch([number])])
    compact(tmp_path / "other")
    shutil.copytree(tmp_path / "other" / "part-00004.zarr", store / "part-00008.zarr")
    before = digests(store)
    for write in (lambda: compact(store), lambda: write_store(store, [make_batch([50])])):
        with pytest.raises(StoreCorruptError, match=r"part-00000\.zarr was replaced.*no other has"):
            write()
    assert digests(store) == before
    found = [str(finding) for finding in verify(store).findings if not finding.harmless]
    expected = [
        f"part-{number:05d}.zarr: was replaced by another part, but has 3 rows of its own"
        for number in range(4)
    ]
    assert found == expected
    shutil.rmtree(store / "part-00008.zarr")
    assert len(Store(store)) == 24
    assert verify(store).findings == ()


def test_a_lost_part_is_missed(store: Path) -> None:
    compact(store, rows_per_part=10)
    shutil.rmtree(store / "part-00009.zarr")
    first, second = map(str, verify(store).findings)
    assert first == "part-00003.zarr to part-00005.zarr are missing"
    assert second == "part-00009.zarr is missing"
    compact(store, everything=True)
    assert [str(finding) for finding in verify(store).findings] == [first, second]


def test_a_damaged_part_stops_it(store: Path, pieces: Path) -> None:
    (file,) = (store / "part-00004.zarr" / "obsm" / "block5_pool" / "data" / "c").iterdir()
    sound = file.read_bytes()
    file.write_bytes(sound[:9] + bytes([sound[9] ^ 1]) + sound[10:])
    with pytest.raises(StoreCorruptError, match="part-00004"):
        compact(store, rows_per_part=10)
    assert not any(store.glob(".part-*"))
    assert len(Store(store).parts) == 6
    file.write_bytes(sound)
    assert_same(store, Store(pieces))


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")
def test_indices_out_of_order_stop_it(tmp_path: Path) -> None:
    from zarr import open_array

    for numbers in ([0, 1], [2, 3]):
        write_store(tmp_path, [make_batch(numbers)])
    before = digests(tmp_path)
    array = open_array(tmp_path / "part-00001.zarr/obsm/block5_pool/indices", mode="r+")
    values: Any = array[...]
    array[...] = values[::-1]
    tampered = digests(tmp_path)
    assert tampered != before
    with pytest.raises(StoreCorruptError, match=r"part-00001\.zarr, block5_pool.*strictly"):
        compact(tmp_path)
    assert digests(tmp_path) == tampered


@pytest.mark.parametrize("what", ["node", "key", "key of a layer"])
def test_parts_with_more_than_is_understood_stay(store: Path, what: str) -> None:
    """A later version has added something within the format."""
    part = store / "part-00003.zarr"

    def edit(header: Any) -> None:
        if what == "key":
            header["author"] = "somebody"
        elif what == "key of a layer":
            header["layers"][1]["unit"] = "volt"

    edit_header(part, edit)
    if what == "node":
        root = json.loads((part / "zarr.json").read_bytes())
        node = {"zarr_format": 3, "node_type": "group", "attributes": {}}
        root["consolidated_metadata"]["metadata"]["obs/score"] = node
        (part / "zarr.json").write_text(json.dumps(root))
    before = (part / "zarr.json").read_bytes()
    done = compact(store, everything=True)
    assert [len(group) for group in done.groups] == [3, 4]
    assert names(store) == ["part-00008.zarr", "part-00003.zarr", "part-00009.zarr"]
    assert (part / "zarr.json").read_bytes() == before


def test_parts_that_do_not_belong_together(store: Path, tmp_path: Path) -> None:
    write_store(tmp_path / "other", [make_batch([40])], settings={"pool": "max"})
    (tmp_path / "other" / "part-00000.zarr").rename(store / "part-00008.zarr")
    before = digests(store)
    for dry_run in (False, True):
        with pytest.raises(StoreMismatchError, match="pool: got 'max', expected 'none'"):
            compact(store, dry_run=dry_run)
    assert digests(store) == before


def test_one_at_a_time(store: Path) -> None:
    with (
        StoreWriter.open(store, layers=SMALL, settings={"pool": "none"}, provenance={}),
        pytest.raises(StoreLockedError),
    ):
        compact(store)
    compact(store)


def test_what_is_no_store(tmp_path: Path) -> None:
    for dry_run in (False, True):
        with pytest.raises(StoreNotFoundError, match="extract into it first"):
            compact(tmp_path, dry_run=dry_run)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match=r"got 0 rows.*expected 1 to"):
        compact(tmp_path, rows_per_part=0)
