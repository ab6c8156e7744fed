"""Engines that workers can build without any framework."""

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


class FakeEngine:
    """Doubles its input, or misbehaves as `behave` says."""

    def __init__(self, *, behave: str = "", sleep: float = 0.0) -> None:
        self._behave, self._sleep = behave, sleep
        self.facts: dict[str, Any] = {"device": "cpu", "pid": os.getpid()}
        if behave == "missing":
            import no_such_package  # type: ignore[import-not-found]  # noqa: F401
        if behave == "refuse":
            from sparsefeat.errors import ProviderError

            raise ProviderError("can't be had here")
        print("a library's chatter")  # noqa: T201

    def run(self, images: Float32) -> dict[str, Float32]:
        time.sleep(self._sleep)
        if self._behave == "die":
            os.kill(os.getpid(), 9)
        if self._behave == "exit":
            os._exit(3)
        if self._behave == "fail":
            raise RuntimeError("out of\nluck")
        if self._behave == "fork":
            started = multiprocessing.get_context("fork").Event()
            process = multiprocessing.get_context("fork").Process(target=_stay, args=(started,))
            process.start()
            assert started.wait(60)
        return {"twice": 2 * images}

    def extract(
        self, files: Sequence[str], *, batch_size: int, size: tuple[int, int]
    ) -> Iterator[dict[str, Float32]]:
        """Yield images whose values are the number in the file's name."""
        for start in range(0, len(files), batch_size):
            time.sleep(self._sleep)
            values = [int(Path(file).stem) for file in files[start : start + batch_size]]
            yield {"value": np.stack([np.full(size, value, np.float32) for value in values])}


def _stay(started: Any) -> None:
    started.set()
    time.sleep(600)
