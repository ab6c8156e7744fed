"""Sets of numbers as ranges, against Python's sets."""

from hypothesis import given, settings
from hypothesis import strategies as st
from sparsefeat.store.ranges import NO_NUMBERS, Ranges

MOST = 30
PAIRS = st.lists(
    st.tuples(st.integers(0, MOST), st.integers(0, MOST)).map(lambda pair: (min(pair), max(pair))),
    max_size=8,
)


def numbers(pairs: list[tuple[int, int]] | tuple[tuple[int, int], ...]) -> set[int]:
    return {number for first, last in pairs for number in range(first, last + 1)}


@settings(deadline=None)
@given(PAIRS, PAIRS, st.integers(0, MOST + 5))
def test_ranges_are_sets(
    some: list[tuple[int, int]], others: list[tuple[int, int]], n: int
) -> None:
    ranges, expected = Ranges.of(some), numbers(some)
    assert numbers(ranges.pairs) == expected
    assert all(a < c - 1 for (_, a), (c, _) in zip(ranges.pairs, ranges.pairs[1:], strict=False))
    assert {number for number in range(MOST + 2) if number in ranges} == expected
    assert bool(ranges) == bool(expected)
    assert numbers((ranges | Ranges.of(others)).pairs) == expected | numbers(others)
    for pair in others:
        assert ranges.overlap(pair) == min(numbers([pair]) & expected, default=None)
    stop = MOST + 1 + n
    assert numbers(ranges.gaps(stop).pairs) == set(range(stop)) - expected


def test_huge_ranges_take_no_room() -> None:
    huge = Ranges.of([(0, 10**18)])
    assert 10**17 in huge
    assert huge.gaps(10**18) == NO_NUMBERS
    assert NO_NUMBERS.gaps(10**18).pairs == ((0, 10**18 - 1),)
