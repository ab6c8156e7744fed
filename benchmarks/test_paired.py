"""Timing in turn works; nothing is timed here."""

import time
from functools import partial

import pytest

from .paired import Paired


def test_each_round_has_a_new_random_order() -> None:
    called: list[str] = []
    names = ["a", "b", "c", "d"]
    ways = {name: partial(called.append, name) for name in names}
    paired = Paired(ways=ways, pause_seconds=0)
    for _ in range(20):
        paired.round()
    rounds = [called[index : index + 4] for index in range(0, len(called), 4)]
    assert all(sorted(one) == names for one in rounds)
    assert [len(seconds) for seconds in paired.seconds.values()] == [20] * 4
    for name in names:
        before = {one[one.index(name) - 1] for one in rounds if one[0] != name}
        assert before == set(names) - {name}
    called.clear()
    again = Paired(ways=ways, pause_seconds=0)
    for _ in range(20):
        again.round()
    assert called == [name for one in rounds for name in one]


def test_turns_are_separated_by_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(time, "sleep", lambda seconds: done.append(f"pause of {seconds}"))
    ways = {name: partial(done.append, name) for name in ("a", "b")}
    Paired(ways=ways, between=partial(done.append, "clear"), pause_seconds=0.25).round()
    assert done[:3] in (["clear", "pause of 0.25", "a"], ["clear", "pause of 0.25", "b"])
    assert done[3:5] == ["clear", "pause of 0.25"]
    assert {done[2], done[5]} == {"a", "b"}


def test_ratios_are_computed_round_by_round() -> None:
    seconds = {"fast": [1.0, 4.0, 2.0], "slow": [2.0, 8.0, 3.0]}
    ratio = Paired(ways={}, seconds=seconds).ratio("fast", "slow")
    assert (ratio.low, ratio.median, ratio.high) == (1.75, 2.0, 2.0)
