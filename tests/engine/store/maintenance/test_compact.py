"""Compaction changes no row that a reader sees, and makes fewer parts."""

import pickle
import resource
import shutil
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsefeat.errors import (
    InputError,
    StoreChangedError,
    StoreCorruptError,
    StoreNotFoundError,
    StoreWriteError,
)
from sparsefeat.store import Store, StoreWriter, compact, info, merge, remove, vacuum, verify
from sparsefeat.store.format.documents import JSON_BYTES
from sparsefeat.store.part import write
from sparsefeat.types import Batch, Layer
from sparsefeat_kernels import encode

from ...refusals import no_more_than
from ..data import (
    SMALL,
    digests,
    leftovers,
    make_batch,
    make_reject,
    make_row,
    part_folders,
    write_store,
)
from ..part.test_encoders import SCALES, layer_facts, whole_multiples
from ..part.test_encoders import write as write_values

N_PARTS = 8  # of three rows each

pytestmark = pytest.mark.usefixtures("without_fsync")
compacting = sys.modules["sparsefeat.store.maintenance.compact"]


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
    return [part.entry.name for part in Store(folder).parts]


def assert_same(folder: Path, expected: Store) -> None:
    got = Store(folder)
    assert verify(folder).ok
    assert got.obs.equals(expected.obs)
    assert got.rejected.equals(expected.rejected)
    assert list(got.layers) == list(expected.layers)
    assert got.settings == expected.settings
    for name in expected.layers:
        ours, theirs = got[name].to_scipy(), expected[name].to_scipy()
        np.testing.assert_array_equal(ours.indptr, theirs.indptr)
        np.testing.assert_array_equal(ours.indices, theirs.indices)
        np.testing.assert_array_equal(ours.data.view(np.uint32), theirs.data.view(np.uint32))
        np.testing.assert_array_equal(got[name].zeros().per_row, expected[name].zeros().per_row)
        channels = got[name].zeros().per_channel, expected[name].zeros().per_channel
        np.testing.assert_array_equal(*channels)


def test_readers_see_the_same_rows_in_fewer_parts(store: Path, pieces: Path) -> None:
    calls: list[tuple[int, int]] = []
    done = compact(store, rows_per_part=10, progress=lambda *now: calls.append(now))
    assert (done.parts_before, done.parts_after, done.rows) == (8, 3, 24)
    assert [len(group) for group in done.groups] == [3, 3, 2]
    assert (done.resolved, done.lost, done.stopped) == (N_PARTS - 1, 0, False)
    assert done.bytes_after is not None
    assert 0 < done.bytes_after < done.bytes_before
    assert len(names(store)) == 3
    assert not {*names(store)} & {*names(pieces)}
    assert calls[-1] == (24, 24)
    assert calls == sorted(calls)
    assert_same(store, Store(pieces))


def test_a_second_compaction_changes_nothing(store: Path) -> None:
    compact(store, rows_per_part=10)
    before = digests(store)
    done = compact(store, rows_per_part=10)
    assert (done.groups, done.parts_after, done.bytes_after) == ((), 3, 0)
    assert digests(store) == before


def test_compacted_parts_can_be_compacted_again(store: Path, pieces: Path) -> None:
    compact(store, rows_per_part=10)
    write_store(store, [make_batch(range(24, 28))])
    assert len(names(store)) == 4
    compact(store, rows_per_part=100)
    assert len(names(store)) == 1
    assert verify(store).ok
    write_store(store, [make_batch(range(28, 30))])
    assert list(Store(store).obs["bytes"]) == [1000 + number for number in range(30)]
    assert list(Store(store).obs["bytes"][:24]) == list(Store(pieces).obs["bytes"])


def test_old_parts_stay_until_vacuum(store: Path, pieces: Path) -> None:
    before = names(pieces)
    compact(store)
    assert {path.stem for path in leftovers(store)} == {*before}
    assert_same(store, Store(pieces))
    compact(store, vacuum=True)
    assert leftovers(store) == []
    assert_same(store, Store(pieces))


def test_removed_rows_are_dropped(store: Path) -> None:
    remove(store, "bytes in [1001, 1002, 1014]")
    expected = Store(store)
    done = compact(store, rows_per_part=3)
    assert done.rows == 1 + 2
    assert [entry.n_excluded for entry in Store(store).snapshot.parts] == [0] * N_PARTS
    assert_same(store, expected)


def test_the_provenance_of_rows_is_preserved(store: Path) -> None:
    compact(store, rows_per_part=100)
    (part,) = Store(store).parts
    origins = [(origin.rows, origin.provenance) for origin in part.header.origins]
    assert origins == [(12, {"run": 0}), (12, {"run": 1})]
    assert Store(store).provenance == [{"run": 0}, {"run": 1}]
    compact(store, rows_per_part=100, everything=True)
    assert Store(store).parts[0].header.origins == part.header.origins


def test_equal_provenance_is_stored_once(store: Path) -> None:
    compact(store, rows_per_part=12)
    for run, part in enumerate(Store(store).parts):
        assert part.header.provenance == {"run": run}
        assert part.header.origins == ()


def test_parts_are_not_joined_if_their_metadata_would_be_too_large(tmp_path: Path) -> None:
    for number in range(4):
        provenance = {"command": "x" * (JSON_BYTES // 10), "run": number}
        write_store(tmp_path, [make_batch([number])], provenance=provenance)
    done = compact(tmp_path)
    assert [len(group) for group in done.groups] == [2, 2]
    assert [origin["run"] for origin in Store(tmp_path).provenance] == [0, 1, 2, 3]
    assert verify(tmp_path).ok


def test_metadata_that_are_too_large_are_refused(
    store: Path, pieces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digests(store)
    size = (part_folders(store)[0] / "zarr.json").stat().st_size
    monkeypatch.setattr(write, "JSON_BYTES", size - 100)
    with pytest.raises(InputError, match=r"metadata of a part take .* bytes, expected at most"):
        compact(store)
    assert digests(store) == before
    assert_same(store, Store(pieces))


def test_full_parts_are_not_rewritten(tmp_path: Path) -> None:
    first = 0
    for count in (9, 2, 3, 9, 4, 1, 5, 2):
        write_store(tmp_path, [make_batch(range(first, first + count))])
        first += count
    before, old = list(Store(tmp_path).obs.index), names(tmp_path)
    done = compact(tmp_path, rows_per_part=10)
    assert done.groups == ((old[1], old[2]), (old[4], old[5]))
    new = names(tmp_path)
    assert [new[part] for part in (0, 2, 4, 5)] == [old[part] for part in (0, 3, 6, 7)]
    assert list(Store(tmp_path).obs.index) == before


def test_parts_may_be_full_by_bytes(store: Path) -> None:
    row_bytes = sum(part.header.rows for part in Store(store).parts)
    assert compact(store, rows_per_part=1000, bytes_per_part=row_bytes, dry_run=True).groups == ()


def test_all_parts_are_rewritten_on_request(store: Path, pieces: Path) -> None:
    old = names(store)
    done = compact(store, rows_per_part=3, everything=True)
    assert done.groups == tuple((name,) for name in old)
    assert not {*old} & {*names(store)}
    assert_same(store, Store(pieces))


def test_a_part_is_never_split(store: Path) -> None:
    assert compact(store, rows_per_part=2, everything=True).parts_after == N_PARTS


def test_parts_are_not_joined_beyond_the_limit_of_nnz(
    store: Path, pieces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nnz = [part.layers["fc"].nnz for part in Store(store).parts]
    monkeypatch.setattr(compacting, "NNZ", 2 * nnz[0])
    done = compact(store)
    assert [len(group) for group in done.groups] == [2, 2, 2, 2]
    assert_same(store, Store(pieces))


def test_a_dry_run_reports_what_would_be_done(store: Path) -> None:
    before = digests(store)
    planned = compact(store, rows_per_part=10, dry_run=True)
    assert planned.bytes_after is None
    assert digests(store) == before
    done = compact(store, rows_per_part=10)
    for field in ("groups", "parts_before", "parts_after", "rows", "resolved", "bytes_before"):
        assert getattr(planned, field) == getattr(done, field)


def test_rows_of_only_zeros_are_preserved(tmp_path: Path) -> None:
    layer = Layer(name="x", shape=(5,))
    rows = np.eye(6, 5, dtype=np.float32)
    rows[[2, 3]] = 0
    batch = Batch(rows=tuple(map(make_row, range(6))), layers={"x": encode(rows)})
    write_store(tmp_path, [batch], [layer])
    remove(tmp_path, "bytes in [1001, 1003]")
    compact(tmp_path)
    got = Store(tmp_path)
    assert [size - 1000 for size in got.obs["bytes"]] == [0, 2, 4, 5]
    np.testing.assert_array_equal(got["x"].to_scipy().toarray(), rows[[0, 2, 4, 5]])
    assert verify(tmp_path).ok


def test_rejects_whose_image_has_a_row_are_dropped(tmp_path: Path) -> None:
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
    assert verify(tmp_path).ok


def test_values_of_every_kind_are_preserved(tmp_path: Path) -> None:
    values = np.array(
        [[0, np.inf, 1e-45, 0, 3], [-1, 0, 0, 0, np.nan], [0, 0, 0, 0, 0], [1, 2, 3, 4, 5]],
        np.float32,
    )
    values[1, 4] = np.frombuffer(b"\x01\x00\xc0\x7f", "<f4")[0]  # a NaN with a payload
    layers = [Layer(name="sparse", shape=(5,)), Layer(name="dense/pre", shape=(1, 1, 5))]
    for number in range(4):
        row = values[[number]]
        batch = Batch(
            rows=(make_row(number),),
            layers={"sparse": encode(row), "dense/pre": encode(np.where(row == 0, 7, row))},
        )
        write_store(tmp_path, [batch], layers)
    before = {name: Store(tmp_path)[name].to_scipy() for name in ("sparse", "dense/pre")}
    compact(tmp_path)
    for name, expected in before.items():
        got = Store(tmp_path)[name].to_scipy()
        assert got.data.view(np.uint32).tolist() == expected.data.view(np.uint32).tolist()
        assert got.indices.tolist() == expected.indices.tolist()


@pytest.mark.parametrize("values", ["float16", "bits:9"])
def test_rounded_values_and_their_loss_are_preserved(tmp_path: Path, values: str) -> None:
    before = write_values(tmp_path / "before", values)
    shutil.copytree(tmp_path / "before", tmp_path / "after")
    assert compact(tmp_path / "after").parts_after == 1
    assert_same(tmp_path / "after", before)
    assert info(tmp_path / "after")["values"] == values
    for layer in before.layers:
        facts = layer_facts(tmp_path / "after", layer), layer_facts(tmp_path / "before", layer)
        assert facts[0]["loss"] == facts[1]["loss"]
        assert facts[0]["values"] == facts[1]["values"]


def test_linear_codes_are_preserved(tmp_path: Path) -> None:
    before = write_values(
        tmp_path / "before", "float32", whole_multiples, scales={"sparse": SCALES}
    )
    shutil.copytree(tmp_path / "before", tmp_path / "after")
    assert compact(tmp_path / "after").parts_after == 1
    assert_same(tmp_path / "after", before)
    assert layer_facts(tmp_path / "after", "sparse")["values"] == "uint8 linear codes"


def test_parts_whose_codes_have_other_scales_are_not_joined(tmp_path: Path) -> None:
    """Their values would have to be rounded again."""
    before = write_values(tmp_path / "before", "uint8")
    shutil.copytree(tmp_path / "before", tmp_path / "after")
    assert compact(tmp_path / "after").groups == ()
    assert len(compact(tmp_path / "after", everything=True).groups) == 3
    assert_same(tmp_path / "after", before)
    merge([tmp_path / "before"], tmp_path / "merged")
    assert_same(tmp_path / "merged", before)


def test_an_open_store_can_be_read_until_vacuum(store: Path) -> None:
    before = Store(store)
    expected = before["fc"].to_scipy().toarray()
    sent = pickle.dumps(before)
    compact(store)
    np.testing.assert_array_equal(Store(store)["fc"].to_scipy().toarray(), expected)
    np.testing.assert_array_equal(pickle.loads(sent)["fc"][:].toarray(), expected)
    reopened = Store(store, snapshot=before.snapshot.number)
    vacuum(store, older_than=0)
    for read in (
        lambda: reopened["fc"][:],
        lambda: reopened["block5_pool"].to_numpy(),
        lambda: reopened.obs,
        lambda: reopened["block5_pool"].zeros(),
    ):
        with pytest.raises(StoreChangedError, match=r"vacuum deleted it, open the store again"):
            read()
    with pytest.raises(InputError, match="has no snapshot"):
        pickle.loads(sent)
    assert Store(store)["fc"].shape == (24, 40)


def test_a_compaction_during_verify_is_no_damage(store: Path) -> None:
    def meanwhile(done: int, total: int) -> None:
        if done == 1:
            compact(store, vacuum=True)

    with pytest.raises(StoreChangedError, match=r"was deleted by vacuum meanwhile"):
        verify(store, progress=meanwhile)
    assert verify(store).findings == ()


def test_appending_continues_after_a_compaction(store: Path) -> None:
    compact(store)
    write_store(store, [make_batch(range(20, 27))], provenance={"run": 2})
    assert list(Store(store).obs["bytes"]) == [1000 + number for number in range(27)]
    with StoreWriter.open(store, layers=SMALL, settings={"pool": "none"}, provenance={}) as writer:
        assert writer.index.statuses([make_reject(99)]) == ["rejected"]


def test_a_stop_ends_a_compaction_between_parts(store: Path, pieces: Path) -> None:
    stop = threading.Event()
    done = compact(store, rows_per_part=10, progress=lambda *_: stop.set(), stop=stop)
    assert done.stopped
    assert (len(done.groups), done.parts_after) == (1, 6)
    assert_same(store, Store(pieces))
    assert not compact(store, rows_per_part=10).stopped
    assert len(Store(store).parts) == 3


def test_an_interrupt_loses_only_the_current_part(store: Path, pieces: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compact(store, rows_per_part=10, progress=interrupt)
    assert len(names(store)) < N_PARTS
    assert all(each.stem in names(pieces) for each in leftovers(store))
    assert_same(store, Store(pieces))


def test_a_write_error_changes_nothing(store: Path, pieces: Path) -> None:
    with ExitStack() as full:

        def fill(done: int, total: int) -> None:
            if done > total / 2:
                full.enter_context(no_more_than(resource.RLIMIT_FSIZE, 1000))

        with pytest.raises(StoreWriteError, match=r"File too large.*committed parts are safe"):
            compact(store, rows_per_part=10, progress=fill)
    assert len(Store(store).parts) == 6
    assert all(each.stem in names(pieces) for each in leftovers(store))
    assert_same(store, Store(pieces))


def test_a_damaged_part_stops_a_compaction(store: Path, pieces: Path) -> None:
    part = part_folders(store)[4]
    file = part / "obsm" / "block5_pool" / "data" / "c.0"
    intact = file.read_bytes()
    file.write_bytes(intact[:9] + bytes([intact[9] ^ 1]) + intact[10:])
    with pytest.raises(StoreCorruptError, match=part.name):
        compact(store, rows_per_part=10)
    assert len(Store(store).parts) == 6
    file.write_bytes(intact)
    assert_same(store, Store(pieces))


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")
def test_indices_out_of_order_stop_a_compaction(tmp_path: Path) -> None:
    from zarr import open_group

    for numbers in ([0, 1], [2, 3]):
        write_store(tmp_path, [make_batch(numbers)])
    before = digests(tmp_path)
    part = part_folders(tmp_path)[1]
    array: Any = open_group(part, mode="r+")["obsm/block5_pool/indices"]
    values = array[...]
    array[...] = values[::-1]
    tampered = digests(tmp_path)
    assert tampered != before
    with pytest.raises(
        StoreCorruptError, match=rf"block5_pool in .*{part.name} is damaged .*strictly"
    ):
        compact(tmp_path)
    assert digests(tmp_path) == tampered


def test_a_folder_without_a_store_is_refused(tmp_path: Path) -> None:
    for dry_run in (False, True):
        with pytest.raises(StoreNotFoundError, match="extract into it first"):
            compact(tmp_path, dry_run=dry_run)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match=r"got 0 rows.*expected 1 to"):
        compact(tmp_path, rows_per_part=0)
