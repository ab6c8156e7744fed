"""A process that appends rows to a store while others append the same rows.

``python -m tests.engine.store.racer FOLDER COUNT SEED`` appends the rows of the numbers below
COUNT in an order of its own and a few at a time, except those that are stored by then.
It prints a line when it is done.
"""

import random
import sys

from sparsefeat.store import StoreWriter

from .data import SMALL, make_batch, make_row

ROWS_PER_PART = 5


def main(folder: str, count: int, seed: int) -> None:
    order = random.Random(seed)
    numbers = [*range(count)]
    order.shuffle(numbers)
    with StoreWriter.open(
        folder, layers=SMALL, settings={"pool": "none"}, provenance={}, rows_per_part=ROWS_PER_PART
    ) as writer:
        while numbers:
            batch = [number for number in numbers[:3] if not writer.index.holds(make_row(number))]
            numbers = numbers[3:]
            # The writer excludes rows that others commit from here on.
            writer.append(make_batch(batch))
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
