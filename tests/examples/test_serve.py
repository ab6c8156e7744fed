"""`serve.py` runs several requests in one batch, with one extractor."""

import http.client
import io
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import sparsefeat

from .conftest import EXAMPLES

LAYER = "block5_pool"
Float32 = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def serve() -> Any:
    spec = spec_from_file_location("serve", EXAMPLES / "serve.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def extractor(small_vgg16: Path) -> sparsefeat.Extractor:
    return sparsefeat.Extractor(small_vgg16, LAYER)


class Watched:
    """An extractor that records the size of each batch, and waits for `begin` before the first."""

    def __init__(self, extractor: sparsefeat.Extractor) -> None:
        self._extractor = extractor
        self.sizes: list[int] = []
        self.begin = Event()

    def run(self, images: Float32) -> dict[str, Float32]:
        self.begin.wait(60)
        self.sizes.append(len(images))
        return self._extractor.run(images)


def inputs(count: int) -> list[Float32]:
    random = np.random.default_rng(0)
    return [random.uniform(-100, 120, (1, 64, 64, 3)).astype(np.float32) for _ in range(count)]


def test_waiting_requests_share_a_batch_and_each_gets_its_own_result(
    serve: Any, extractor: sparsefeat.Extractor
) -> None:
    watched = Watched(extractor)
    batcher = serve.Batcher(watched, LAYER, max_batch=8)
    images = inputs(20)
    with ThreadPoolExecutor(20) as pool:
        futures = list(pool.map(batcher.submit, images))
    watched.begin.set()
    results = [future.result(60) for future in futures]
    batcher.close()
    for one, result in zip(images, results, strict=True):
        np.testing.assert_array_equal(result, extractor.run(one)[LAYER][0])
    # The first batch may have fewer images: it begins before all have arrived.
    assert sum(watched.sizes) == 20
    assert max(watched.sizes) == 8
    assert len(watched.sizes) <= 4


def test_an_error_reaches_only_the_requests_of_its_batch(
    serve: Any, extractor: sparsefeat.Extractor
) -> None:
    watched = Watched(extractor)
    batcher = serve.Batcher(watched, LAYER, max_batch=2)
    good, *_ = inputs(1)
    first: Future[Float32] = batcher.submit(np.zeros((1, 8, 8, 3), np.float32))  # too small
    watched.begin.set()
    with pytest.raises(sparsefeat.InputError, match="8x8"):
        first.result(60)
    cancelled = Watched(extractor)
    assert batcher.submit(good).result(60).shape == extractor.run(good)[LAYER].shape[1:]
    batcher.close()

    batcher = serve.Batcher(cancelled, LAYER, max_batch=1)
    running, abandoned, last = (batcher.submit(good) for _ in range(3))
    assert abandoned.cancel()
    cancelled.begin.set()
    batcher.close()  # finishes what was submitted
    assert running.done()
    assert last.done()
    assert len(cancelled.sizes) == 2


@pytest.fixture(scope="module")
def address(furnished: Path) -> Iterator[str]:
    """The server, on loopback."""
    missing = [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed: they are for this example alone")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, EXAMPLES / "serve.py", "demo/vgg16.onnx", LAYER, "--port", str(port)],
        cwd=furnished,
    )
    for _ in range(600):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            break
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait()


def post(address: str, body: bytes) -> dict[str, Any]:
    with urllib.request.urlopen(urllib.request.Request(f"{address}/features", body)) as response:
        found: dict[str, Any] = json.load(response)
        return found


def test_the_server_gives_each_client_the_features_of_its_image(
    address: str, furnished: Path
) -> None:
    paths = sorted((furnished / "demo/photos").iterdir())
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda path: post(address, path.read_bytes()), paths * 2))
    extractor = sparsefeat.Extractor(furnished / "demo/vgg16.onnx", LAYER)
    (batch,) = extractor.extract([str(path) for path in paths])
    rows = batch.layers[LAYER].to_scipy()
    for number, answer in enumerate(answers):
        row = rows[[number % len(paths)]]
        assert answer["shape"] == [7, 7, 512]
        assert answer["indices"] == row.indices.tolist()
        np.testing.assert_array_equal(np.float32(answer["values"]), row.data)


def test_the_server_refuses_bodies_that_are_not_images(address: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(address, b"no image")
    with caught.value as answer:
        assert answer.code == 422
        assert "not an image" in json.load(answer)["detail"]

    connection = http.client.HTTPConnection(address.removeprefix("http://"))
    connection.putrequest("POST", "/features")
    connection.putheader("Content-Length", str(21 << 20))
    connection.endheaders()  # refused before the body is sent
    assert connection.getresponse().status == 413
    connection.close()

    buffer = io.BytesIO()
    Image.new("RGB", (50, 40), "red").save(buffer, "PNG")
    assert post(address, buffer.getvalue())["layer"] == LAYER
