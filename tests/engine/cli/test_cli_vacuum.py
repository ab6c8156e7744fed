"""`sparsefeat vacuum` reports what it deletes, and `sparsefeat history` lists commits."""

import json
import re
from pathlib import Path

import pytest
from msgspec import structs

from sparsefeat.store import Store, verify
from sparsefeat.store.format import seal, unseal

from ..store.data import leftovers, make_batch, write_store
from ..store.maintenance.test_vacuum import age
from .test_cli import ok, run

PARTS = 3


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "features"
    for number in range(PARTS):
        write_store(folder, [make_batch([number])])
    ok("compact features", tmp_path)
    return folder


def test_vacuum_reports_what_it_would_do_and_what_it_did(store: Path) -> None:
    nothing = (
        "features: 0 parts (0 B on disk), 0 snapshots and 0 temporary files deleted; "
        "3 parts kept (changed or replaced recently)\n"
    )
    assert ok("vacuum features", store.parent) == nothing
    assert len(leftovers(store)) == PARTS
    age(store, hours=3)
    assert ok("vacuum features --older-than 4h", store.parent) == nothing
    says = r"features: 3 parts \([\d.]+ \w+ on disk\), 3 snapshots and 0 temporary files %s\n"
    planned = ok("vacuum features --older-than 120m -n", store.parent)
    assert re.fullmatch(says % "would be deleted", planned)
    assert len(leftovers(store)) == PARTS
    done = run("vacuum features --older-than 2h", store.parent)
    assert re.fullmatch(says % "deleted", done.stdout)
    assert (done.exit_code, done.stderr) == (0, "")
    assert leftovers(store) == []
    assert verify(store).findings == ()


def test_vacuum_reports_parts_that_it_keeps_for_now(store: Path) -> None:
    age(store, hours=25)
    (store / "parts" / "0123456789abcdef.zarr").mkdir()
    said = ok("vacuum features", store.parent)
    assert said.startswith("features: 3 parts (")
    assert said.endswith("deleted; 1 part kept (changed or replaced recently)\n")
    facts = json.loads(ok("vacuum features --older-than 0 --json", store.parent))
    assert (facts["store"], facts["parts"], facts["waiting"]) == ("features", 1, 0)


def test_compact_with_vacuum_deletes_old_parts_at_once(store: Path) -> None:
    write_store(store, [make_batch([7])])
    told, deleted = ok("compact features --vacuum", store.parent).splitlines()
    assert told.startswith("features: 2 parts became 1, ")
    # The three parts of the first compaction, the two of this one, and all older snapshots.
    assert deleted.startswith("features: 5 parts (")
    assert deleted.endswith(" 5 snapshots and 0 temporary files deleted")
    assert leftovers(store) == []
    facts = json.loads(ok("compact features --vacuum --json", store.parent))
    assert (facts["groups"], facts["vacuumed"]["parts"]) == ([], 0)
    assert json.loads(ok("compact features --json", store.parent))["vacuumed"] is None
    assert [int(size) - 1000 for size in Store(store).obs["bytes"]] == [0, 1, 2, 7]


def test_history_lists_commits(store: Path) -> None:
    lines = ok("history features", store.parent).splitlines()
    assert lines[0].split() == ["snapshot", "created", "by", "rows", "change", "parts"]
    assert [line.split()[0] for line in lines[1:]] == ["1", "2", "3", "4"]
    assert lines[1].split()[2:] == ["extract", "1", "+1", "1"]
    assert lines[4].split()[2:] == ["compact", "3", "+0", "1"]
    facts = json.loads(ok("history features --json", store.parent))
    assert [each["rows"] for each in facts] == [1, 2, 3, 3]
    assert [each["parts"] for each in facts] == [1, 2, 3, 1]
    ok("vacuum features --older-than 0", store.parent)
    (commit,) = json.loads(ok("history features --json", store.parent))
    assert (commit["snapshot"], commit["added"]) == (4, None)


def test_history_escapes_control_sequences(store: Path) -> None:
    newest = max((store / "snapshots").iterdir())
    document = unseal(newest.read_bytes(), where="")
    newest.write_bytes(seal(structs.replace(document, operation="\x1b[2Jmine\n1", created="\x07")))
    last = ok("history features", store.parent).splitlines()[-1]
    assert "\\x07" in last
    assert "\\x1b[2Jmine\\n1" in last


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("vacuum nowhere", "nowhere is not a folder"),
        ("vacuum .", "extract into it first"),
        ("vacuum features --older-than soon", "expected a time such as 30m, 24h or 7d"),
        ("vacuum features --older-than 90", "expected a time such as"),
        ("vacuum features --older-than -1h", "expected a time such as"),
        ("vacuum", "STORE"),
        ("history nowhere", "nowhere is not a folder"),
        ("history .", "extract into it first"),
    ],
)
def test_errors_are_one_line(store: Path, line: str, says: str) -> None:
    before = sorted(store.rglob("*"))
    done = run(line, store.parent)
    assert done.exit_code == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(store.rglob("*")) == before
