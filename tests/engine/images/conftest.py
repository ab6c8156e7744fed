"""Real images, and a process with Keras to compare with."""

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import skimage.data
from PIL import Image

from sparsefeat.images import PRESETS, Decoded, decode, normalize
from sparsefeat.types import Reject

Size = tuple[int, int]
Keras = Callable[[Path, Size], npt.NDArray[np.float32] | str]


@pytest.fixture(scope="session")
def photographs() -> dict[str, Image.Image]:
    """Four real images, RGB, of different sizes and shapes."""
    return {
        name: Image.fromarray(getattr(skimage.data, name)())
        for name in ("astronaut", "chelsea", "coffee", "rocket")
    }


@pytest.fixture(scope="session")
def keras() -> Iterator[Keras]:
    """Ask Keras to read a file at a size: float32 (height, width, 3), or the text of its error."""
    reader = Path(__file__).with_name("keras_reader.py")
    with subprocess.Popen(
        [sys.executable, str(reader)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        requests, answers = process.stdin, process.stdout

        def ask(path: Path, size: Size) -> npt.NDArray[np.float32] | str:
            pickle.dump((str(path), size), requests)
            requests.flush()
            answer: npt.NDArray[np.float32] | str = pickle.load(answers)
            return answer

        yield ask
        requests.close()


@pytest.fixture(scope="session")
def like_keras(keras: Keras) -> Callable[[Path, Size], Decoded | Reject]:
    """Decode with the preset `keras`, and check that Keras gives the same for the file."""

    def check(file: Path, size: Size) -> Decoded | Reject:
        expected = keras(file, size)
        got = decode(file, PRESETS["keras"], size)
        if isinstance(expected, str):
            assert isinstance(got, Reject), f"Keras raises {expected}"
        else:
            assert isinstance(got, Decoded), f"{got}, but Keras reads it"
            assert normalize(got.pixels).tobytes() == expected.tobytes()
        return got

    return check
