"""Which stretches of a flat array go where in another one."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """Stretches ``source[i]`` to ``source[i] + length[i]``, copied to ``target[i]`` and on.

    All int64 (n,); neither `source` nor its ends decrease.
    """

    source: Int64
    target: Int64
    length: Int64

    @classmethod
    def whole(cls, start: int, stop: int) -> Self:
        """Give the one that copies elements `start` to `stop` to the front."""
        return cls(*(np.array([number], np.int64) for number in (start, 0, stop - start)))

    @classmethod
    def rows(cls, rows: Int64, source: Int64, target: Int64, places: Int64) -> Self:
        """Give those that copy rows of elements, neighbours in one stretch.

        Parameters
        ----------
        rows
            Wanted rows, ascending, repeated or not.
        source
            (all rows + 1,), where each row's elements start.
        target
            (places + 1,), where each place's elements start.
        places
            As many as `rows`: where each one goes.
        """
        starts, lengths, targets = source[rows], source[rows + 1] - source[rows], target[places]
        some = lengths > 0
        starts, lengths, targets = starts[some], lengths[some], targets[some]
        if not len(starts):
            return cls(starts, targets, lengths)
        goes_on = (starts[1:] == starts[:-1] + lengths[:-1]) & (
            targets[1:] == targets[:-1] + lengths[:-1]
        )
        first = np.append(0, np.flatnonzero(~goes_on) + 1)
        return cls(starts[first], targets[first], np.add.reduceat(lengths, first))

    @property
    def stop(self) -> Int64:
        """One past the last element of each."""
        return self.source + self.length
