"""Engines that workers can build without any framework."""

import os
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


class FakeEngine:
    """Doubles its input; does something else when told."""

    def __init__(self, *, behave: str = "", sleep: float = 0.0) -> None:
        self._behave, self._sleep = behave, sleep
        self.facts: dict[str, Any] = {"device": "cpu"}
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
        return {"twice": 2 * images}
