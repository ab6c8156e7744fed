"""Sets of whole numbers that take little room where neighbours belong together."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self


@dataclass(frozen=True, slots=True)
class Ranges:
    """A set of numbers from 0 on, as ascending ranges that neither overlap nor touch.

    Parameters
    ----------
    pairs
        First and last number of each range; `Ranges.of` makes them of any ranges.

    Examples
    --------
    >>> numbers = Ranges.of([(5, 7), (0, 2), (3, 3)])
    >>> numbers
    Ranges(pairs=((0, 3), (5, 7)))
    >>> 6 in numbers, 4 in numbers, numbers.gaps(10)
    (True, False, Ranges(pairs=((4, 4), (8, 9))))
    """

    pairs: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, int]]) -> Self:
        """Unite ranges in any order, overlapping or not."""
        united: list[tuple[int, int]] = []
        for first, last in sorted(pairs):
            if united and first <= united[-1][1] + 1:
                united[-1] = united[-1][0], max(last, united[-1][1])
            else:
                united.append((first, last))
        return cls(tuple(united))

    def __contains__(self, number: int) -> bool:
        place = bisect_right(self.pairs, number, key=lambda pair: pair[0])
        return place > 0 and number <= self.pairs[place - 1][1]

    def overlap(self, pair: tuple[int, int]) -> int | None:
        """Give the first number of a range that is in the set, too."""
        first, last = pair
        place = bisect_right(self.pairs, first, key=lambda each: each[1] + 1)
        if place == len(self.pairs) or self.pairs[place][0] > last:
            return None
        return max(first, self.pairs[place][0])

    def __bool__(self) -> bool:
        return bool(self.pairs)

    def __or__(self, other: "Ranges") -> "Ranges":
        return Ranges.of([*self.pairs, *other.pairs])

    def gaps(self, stop: int) -> "Ranges":
        """Give the numbers from 0 to `stop` - 1 that are not in the set."""
        edges = [-1, *(edge for pair in self.pairs for edge in pair), stop]
        around = zip(edges[::2], edges[1::2], strict=True)
        return Ranges(tuple((last + 1, first - 1) for last, first in around if first - last > 1))


NO_NUMBERS: Final = Ranges()
