import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from sparsefeat.system.ordered import map_ordered


def test_results_keep_the_order_whatever_takes_longer() -> None:
    def work(n: int) -> int:
        time.sleep(0.002 * (n % 3))
        return n * n

    assert list(map_ordered(work, range(50), threads=4, ahead=8)) == [n * n for n in range(50)]
    assert list(map_ordered(work, [], threads=4, ahead=8)) == []


def test_no_more_than_ahead_are_taken_from_an_endless_source() -> None:
    taken = 0

    def source() -> Iterator[int]:
        nonlocal taken
        for n in itertools.count():
            taken += 1
            yield n

    results = map_ordered(str, source(), threads=2, ahead=5)
    for expected in range(20):
        assert next(results) == str(expected)
        assert taken <= expected + 5 + 1
    results.close()


def test_a_slow_source_s_results_are_not_held_back() -> None:
    asked = threading.Event()

    def source() -> Iterator[int]:
        yield 0
        while not asked.is_set():  # the second item comes only once the first result is out
            yield 1

    results = map_ordered(int, source(), threads=1, ahead=1000)
    assert next(results) == 0
    asked.set()
    assert all(result == 1 for result in results)


@pytest.mark.parametrize("where", ["work", "source"])
def test_exceptions_come_out_in_their_place(where: str) -> None:
    def work(n: int) -> int:
        if n == 3 and where == "work":
            raise ValueError("bad")
        return n

    def source() -> Iterator[int]:
        for n in range(10):
            if n == 8 and where == "source":
                raise ValueError("bad")
            yield n

    seen: list[int] = []
    with pytest.raises(ValueError, match="bad"):
        seen.extend(map_ordered(work, source(), threads=2, ahead=2))
    assert seen == list(range(len(seen)))
    assert len(seen) == (3 if where == "work" else 8)


def test_closing_ends_the_threads() -> None:
    results = map_ordered(int, itertools.count(), threads=3, ahead=6)
    next(results)
    results.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("sparsefeat-stage")]


@pytest.mark.parametrize("ahead", [2, 3, 8])
def test_there_is_always_work_while_a_result_is_worked_with(ahead: int) -> None:
    """However slow the caller is: the next item is begun before a result is handed out."""
    begun = 0

    def work(n: int) -> int:
        nonlocal begun
        begun += 1
        return n

    for n in map_ordered(work, range(40), threads=1, ahead=ahead):
        time.sleep(0.005)  # long enough for everything begun to be done
        assert begun >= min(40, n + 2)
        assert begun <= n + 1 + ahead
