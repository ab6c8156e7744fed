"""`sparsefeat merge` reports what it did."""

import json
from pathlib import Path

import pytest

from sparsefeat.store import Store

from ..store.data import make_batch, make_reject, write_store
from .test_cli import ok, run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_store(tmp_path / "a", [make_batch([0, 1], rejects=[make_reject(1)])])
    write_store(tmp_path / "b", [make_batch([1, 2])])
    write_store(tmp_path / "c", [make_batch([3])], settings={"pool": "max"})
    return tmp_path


def test_two_stores_are_merged(folder: Path) -> None:
    done = run("merge a b -o week", folder)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("week: 3 rows and 1 reject added in 1 part, ")
    assert "; 1 row already in the store; " in done.stdout
    assert ok("verify week", folder).startswith("week: undamaged; 3 rows")
    facts = json.loads(ok("merge b -o week --json", folder))
    assert (facts["rows"], facts["duplicates"], facts["store"]) == (0, 2, "week")


def test_a_condition_selects_rows(folder: Path) -> None:
    said = ok("merge a b -o some --where 'bytes >= 1001'", folder)
    assert said.startswith("some: 2 rows and 0 rejects added in 1 part, ")
    assert [int(size) for size in Store(folder / "some").obs["bytes"]] == [1001, 1002]
    refused = run("merge a b -o none --where 'size > 3'", folder)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "there is no column 'size'" in refused.stderr
    assert not (folder / "none").exists()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("merge a b -o b", "one of the stores to merge"),
        ("merge a c -o week", "settings.pool: got 'max', expected 'none'"),
        ("merge a c -o week", "c and a have other settings"),
        ("merge a nowhere -o week", "nowhere"),
        ("merge -o week", "STORES"),
        ("merge a b", "--output"),
    ],
)
def test_errors_are_one_line(folder: Path, line: str, says: str) -> None:
    done = run(line, folder)
    assert done.exit_code == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "week").exists()
    assert len(Store(folder / "b")) == 2
