from pathlib import Path
from typing import Any

import h5py
import pytest

from sparsefeat.interop.conversion.sink import Sink


class Full(Sink):
    """Refuses everything beyond 1,000 bytes."""

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > 1000:
            self._failure = self._failure or OSError(28, "No space left on device")
        return super().write(data)


def test_it_is_a_file(tmp_path: Path) -> None:
    with Sink(tmp_path / "x") as sink:
        assert sink.write(b"0123456789") == 10
        assert sink.write(b"") == 0
        assert sink.seek(2) == 2
        assert sink.read(3) == b"234"
        assert sink.tell() == 5
        sink.truncate(7)
        sink.check()
    assert (tmp_path / "x").read_bytes() == b"0123456"
    with pytest.raises(FileExistsError):
        Sink(tmp_path / "x")


def test_the_first_error_is_raised_whatever_the_library_makes_of_it(tmp_path: Path) -> None:
    def fill() -> None:
        with Full(tmp_path / "x") as sink, h5py.File(sink, "w") as file:
            for number in range(100):
                file[f"{number}"] = [number] * 1000

    with pytest.raises(OSError, match="No space left"):
        fill()
    assert (tmp_path / "x").stat().st_size <= 1000


def test_nothing_is_written_after_an_error(tmp_path: Path) -> None:
    def fill() -> None:
        with Full(tmp_path / "x") as sink:
            sink.write(b"1" * 600)
            assert sink.write(b"2" * 600) == 600
            assert sink.write(b"3") == 1
            with pytest.raises(OSError, match="No space left"):
                sink.check()

    with pytest.raises(OSError, match="No space left"):
        fill()
    assert (tmp_path / "x").read_bytes() == b"1" * 600
