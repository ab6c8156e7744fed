"""A compacted store is read for ever; tests/fixtures/compacted-2 was written by format 2.

It is as a kill left it: one of the replaced parts is still there. ``python -m
tests.engine.store.test_format_compacted FOLDER`` writes such a store: for the next format only.
"""

import shutil
import sys
from pathlib import Path

import numpy as np

from sparsefeat.store import Store, compact, verify

from .data import make_batch, make_reject, make_row, write_store
from .test_format import FIXTURES, LAYERS, frozen_rows

FOLDER = FIXTURES / "compacted-2"
ROWS = 4


def test_a_compacted_store() -> None:
    store = Store(FOLDER)
    assert [part.path.name for part in store.parts] == ["part-00003.zarr", "part-00004.zarr"]
    part = store.parts[0]
    assert part.header.version == 2
    assert part.header.replaces.pairs == ((0, 2),)
    origins = [(origin.rows, origin.provenance) for origin in part.header.origins]
    assert origins == [(2, {"run": 0}), (1, {"run": 1})]
    assert store.provenance == [{"run": 0}, {"run": 1}, {"run": 3}]
    for layer in LAYERS:
        np.testing.assert_array_equal(store[layer.name].toarray(), frozen_rows(layer, range(ROWS)))
    assert list(store.obs["path"]) == [make_row(number).path for number in range(ROWS)]
    assert list(store.rejected["reason"]) == ["try 3"]
    (finding,) = verify(FOLDER).findings
    assert finding.harmless
    assert "part-00001.zarr was compacted" in finding.what


def test_the_next_writer_clears_it_up(tmp_path: Path) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "store")
    assert compact(folder).parts_after == 1
    assert [path.name for path in folder.glob("part-*")] == ["part-00005.zarr"]
    assert Store(folder).parts[0].header.replaces.pairs == ((0, 4),)
    assert Store(folder).obs.equals(Store(FOLDER).obs)
    assert verify(folder).findings == ()


def write(folder: Path) -> None:
    def append(number: int) -> None:
        rejects = [make_reject(1, reason=f"try {number}")]
        write_store(
            folder,
            [make_batch([number], LAYERS, rejects, frozen_rows)],
            LAYERS,
            provenance={"run": (0, 0, 1, 3)[number]},
        )

    for number in range(3):
        append(number)
    kept = shutil.copytree(folder / "part-00001.zarr", folder / ".kept")
    compact(folder)
    append(3)
    kept.rename(folder / "part-00001.zarr")
    (folder / ".sparsefeat.lock").unlink(missing_ok=True)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
