"""`sparsefeat compact` reports what it does, and stops between parts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sparsefeat.store import Store, verify

from ..store.data import make_batch, make_reject, write_store
from .test_cli import ok, run

PARTS = 6


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for number in range(PARTS):
        rejects = [make_reject(1, reason=f"try {number}")]
        write_store(tmp_path / "features", [make_batch([number], rejects=rejects)])
    return tmp_path / "features"


def test_compact_reports_what_it_would_do_and_what_it_did(store: Path) -> None:
    folder = store.parent
    planned = ok("compact features --rows-per-part 4 --dry-run", folder)
    assert planned.startswith("features: 6 parts would become 2, 6 rows rewritten; ")
    assert "; 5 resolved rejects dropped; " in planned
    assert len(Store(store).parts) == PARTS
    done = run("compact features --rows-per-part 4", folder)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("features: 6 parts became 2, 6 rows rewritten; ")
    assert ok("info features", folder).startswith("features: 6 rows, 1 rejected, 2 parts")
    assert "\nfeatures: undamaged; 6 rows, 2 parts" in ok("verify features", folder)
    again = ok("compact features --rows-per-part 4", folder)
    assert again == "features: nothing to combine in 2 parts\n"
    facts = json.loads(ok("compact features --json", folder))
    assert [len(group) for group in facts["groups"]] == [2]
    assert (facts["parts_after"], facts["rows"], facts["stopped"]) == (1, 6, False)


def test_a_signal_stops_it_after_the_current_part(store: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from sparsefeat.cli import main\n"
        "from sparsefeat.store import compact\n"
        "module = sys.modules['sparsefeat.store.maintenance.compact']\n"
        "write = module.write_group\n"
        "def interrupted(*args, **options):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return write(*args, **options)\n"
        "module.write_group = interrupted\n"
        "main(['compact', 'features', '--rows-per-part', '3'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=store.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 143
    assert "6 parts became 4" in done.stdout
    assert "stopping after the current part" in done.stderr
    assert "the same command continues from here" in done.stderr
    assert [int(size) for size in Store(store).obs["bytes"]] == list(range(1000, 1006))
    assert verify(store).ok
    assert "4 parts became 2" not in ok(
        "compact features --dry-run --rows-per-part 3", store.parent
    )


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("compact nowhere", "nowhere"),
        ("compact .", "extract into it first"),
        ("compact features --rows-per-part 0", "--rows-per-part"),
    ],
)
def test_errors_are_one_line(store: Path, line: str, says: str) -> None:
    done = run(line, store.parent)
    assert done.exit_code == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert len(Store(store).parts) == PARTS
