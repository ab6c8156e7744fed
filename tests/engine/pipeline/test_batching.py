from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from sparsefeat.images import Decoded, QuirkWarning, decode, preset
from sparsefeat.pipeline.batching import MAX_WAITING, Group, groups
from sparsefeat.types import Reject, Skipped

KERAS = preset("keras")
REJECT = Reject(path="a", root="", bytes=0, mtime_ns=0, sha256="", reason="not an image")


def image(notes: frozenset[str] = frozenset()) -> Decoded:
    decoded = decode(np.zeros((32, 32, 3), np.uint8), KERAS, (32, 32))
    assert isinstance(decoded, Decoded)
    return Decoded(row=decoded.row, pixels=decoded.pixels, notes=notes)


def sizes(collected: list[Group]) -> list[tuple[int, int]]:
    return [(len(group.decoded), len(group.rejects)) for group in collected]


def test_all_groups_but_the_last_are_full() -> None:
    results: list[Any] = [image(), REJECT, image(), image(), REJECT, REJECT]
    assert sizes(list(groups(results, KERAS, 2))) == [(2, 1), (1, 2)]
    assert list(groups([], KERAS, 2)) == []


def test_many_rejects_make_a_group_without_images() -> None:
    results = [image()] + [REJECT] * (MAX_WAITING + 1)
    assert sizes(list(groups(results, KERAS, 2))) == [(0, MAX_WAITING), (1, 1)]


def test_skipped_images_are_counted_in_the_next_group() -> None:
    known = Skipped(stored=MAX_WAITING - 2, changed=("a.jpg",))
    one = Skipped(rejected=1)
    results: list[Any] = [image(), known, one, known, image(), Skipped(stored=1)]
    collected = list(groups(results, KERAS, 2))
    assert [len(group.decoded) for group in collected] == [0, 2, 0]
    assert [len(group.skipped) for group in collected] == [MAX_WAITING, MAX_WAITING - 1, 1]
    assert collected[0].skipped == known + one


def test_images_before_an_error_are_yielded() -> None:
    def results() -> Iterator[Decoded]:
        yield image()
        raise ValueError("the source broke")

    collected = groups(results(), KERAS, 8)
    assert sizes([next(collected)]) == [(1, 0)]
    with pytest.raises(ValueError, match="the source broke"):
        next(collected)


def test_a_quirk_is_warned_of_once() -> None:
    odd = image(frozenset({"sixteen-bit"}))
    with pytest.warns(QuirkWarning, match="16-bit") as told:
        assert len(list(groups([odd, odd, odd], KERAS, 1))) == 3
    assert len(told) == 1
