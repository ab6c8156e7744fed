"""`sparsefeat remove` reports how many rows it removes."""

import json
from pathlib import Path

import pytest

from sparsefeat.store import Store

from ..store.data import make_batch, write_store
from .test_cli import ok, run


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write_store(tmp_path / "features", [make_batch(range(6))])
    return tmp_path / "features"


def test_remove_reports_what_it_would_do_and_what_it_did(store: Path) -> None:
    line = "remove features --where \"label == 'folder 1'\""
    planned = run(f"{line} --dry-run", store.parent)
    assert (planned.exit_code, planned.stderr) == (0, "")
    assert planned.stdout == "features: 2 rows would be removed, 4 left\n"
    assert len(Store(store)) == 6
    done = run(line, store.parent)
    assert (done.exit_code, done.stdout) == (0, "features: 2 rows removed, 4 left\n")
    assert "sparsefeat extract adds them again" in done.stderr
    assert ok("info features", store.parent).startswith("features: 4 rows, ")
    facts = json.loads(ok("remove features --where 'bytes == 1000' --json", store.parent))
    assert facts == {"store": "features", "rows": 1, "rows_left": 3}
    none = run(line, store.parent)
    assert (none.stdout, none.stderr) == ("features: 0 rows removed, 3 left\n", "")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("remove features", "--where"),
        ("remove features --where 'size > 3'", "there is no column 'size'"),
        ("remove features --where ''", "expected text such as"),
        ("remove nowhere --where 'bytes > 3'", "nowhere is not a folder"),
    ],
)
def test_errors_are_one_line(store: Path, line: str, says: str) -> None:
    done = run(line, store.parent)
    assert done.exit_code == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert len(Store(store)) == 6
