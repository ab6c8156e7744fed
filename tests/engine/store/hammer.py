"""A process that opens and reads a store repeatedly, while others write to it.

``python -m tests.engine.store.hammer FOLDER MOST`` reads until the file FOLDER/.enough is there.
The rows must have the numbers from 0 to at most MOST without gaps and their values, and never
become fewer. Prints how often it read the store.
"""

import sys
from pathlib import Path

import numpy as np

from sparsefeat.store import Store

from .data import SMALL, dense_rows


def main(folder: Path, most: int) -> None:
    layer = next(layer for layer in SMALL if layer.name == "block5_pool")
    expected = dense_rows(layer, range(most))
    seen = reads = 0
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while not (folder / ".enough").exists():
        store = Store(folder)
        assert len(store) >= seen, f"{len(store)} rows after {seen}"
        seen = len(store)
        numbers = store.obs["bytes"].to_numpy() - 1000
        assert numbers.tolist() == list(range(seen)), numbers
        got = store[layer.name].to_numpy().reshape(seen, -1)
        assert np.array_equal(got, expected[:seen]), "other values"
        zeros = store[layer.name].zeros().per_row
        assert np.array_equal(zeros, (expected[:seen] == 0).sum(axis=1)), "other zeros"
        reads += 1
    sys.stdout.write(f"{reads}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
