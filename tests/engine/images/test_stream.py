"""Images that are listed in a thread, and taken meanwhile."""

import threading
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from sparsefeat.errors import SourceError
from sparsefeat.images import ImageStream, Search, Source, list_images
from sparsefeat.types import Reject

WAIT_SECONDS = 60


def sources(count: int) -> list[Source]:
    return [
        Source(
            file=f"/photos/{n}.jpg",
            root="/photos",
            path=f"{n}.jpg",
            label="photos\udce9",
            bytes=n,
            mtime_ns=-n,
        )
        for n in range(count)
    ]


def taken(stream: ImageStream) -> Iterator[Source | Reject]:
    return chain.from_iterable(stream.blocks(threading.Event()))


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 1088, 1089, 60_000])
def test_images_come_in_the_order_of_the_listing(count: int) -> None:
    expected = sources(count)
    stream = ImageStream(expected)
    assert stream.wait(WAIT_SECONDS)
    assert [*taken(stream)] == expected
    assert (stream.n_listed, stream.complete) == (count, True)


def test_the_first_images_come_before_the_last_is_listed() -> None:
    seen = threading.Event()

    def listed() -> Iterator[Source]:
        yield from sources(64)
        seen.wait()
        yield from sources(1)

    stream = ImageStream(listed())
    images = taken(stream)
    assert next(images).bytes == 0
    assert (stream.n_listed, stream.complete) == (64, False)
    seen.set()
    assert len([*images]) == 64
    assert (stream.n_listed, stream.complete) == (65, True)


def test_an_error_of_the_listing_comes_after_the_images_before_it() -> None:
    def listed() -> Iterator[Source | Reject]:
        yield from sources(100)
        raise SourceError("the drive is gone")

    stream = ImageStream(listed())
    seen: list[Source | Reject] = []
    with pytest.raises(SourceError, match="the drive is gone"):
        seen.extend(taken(stream))
    assert seen == sources(100)
    assert not stream.complete


def test_a_stop_ends_a_stream_that_waits() -> None:
    hangs, stop = threading.Event(), threading.Event()

    def listed() -> Iterator[Source]:
        hangs.wait()
        yield from sources(1)

    stream = ImageStream(listed())
    assert not stream.wait(0.01)
    stop.set()
    assert [*stream.blocks(stop)] == []
    stream.close()
    hangs.set()


def test_a_search_gives_the_listed_images(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "a/1.jpg", "a/film.mov", "é.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    search = Search(tmp_path, exclude="nothing")
    stream = ImageStream(search)
    found = [*taken(stream)]
    expected = list_images(tmp_path, exclude="nothing")
    assert found == expected
    assert [image.path for image in found] == ["a/1.jpg", "b/2.jpg", "é.jpg"]
    assert search.companions == expected.companions == {".mov": 1}
    assert search.unmatched == expected.unmatched == (("exclude", "nothing"),)
