"""Serve the features of one layer over HTTP, with FastAPI and micro-batching.

pip install fastapi uvicorn
python examples/serve.py demo/vgg16.onnx block5_pool
curl --data-binary @demo/photos/chelsea.png http://127.0.0.1:8000/features
"""

import argparse
import asyncio
import queue
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from threading import Thread
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

import sparsefeat

Float32 = npt.NDArray[np.float32]
Waiting = tuple[Float32, "Future[Float32]"]

MAX_BYTES = 20 << 20  # of an image's file


class Batcher:
    """Runs the images of several requests as one batch, in a thread of its own.

    Images that arrive while a batch runs wait, and are the next batch, at most `max_batch` of them.
    A request that comes alone doesn't wait for others.
    """

    def __init__(self, extractor: sparsefeat.Extractor, layer: str, max_batch: int) -> None:
        self._extractor, self._layer, self._max_batch = extractor, layer, max_batch
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._thread = Thread(target=self._run, name="batcher")
        self._thread.start()

    def submit(self, images: Float32) -> "Future[Float32]":
        """Queue one preprocessed image, float32 (1, H, W, 3); the result has its features."""
        future: Future[Float32] = Future()
        self._queue.put((images, future))
        return future

    def close(self) -> None:
        """Finish what was submitted, and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        waiting: list[Waiting] = []
        while (first := self._queue.get()) is not None:
            waiting = [first]
            with suppress(queue.Empty):
                while len(waiting) < self._max_batch:
                    other = self._queue.get_nowait()
                    if other is None:
                        self._queue.put(None)  # for the outer loop
                        break
                    waiting.append(other)
            # A client that has disconnected needs no result.
            running = [one for one in waiting if one[1].set_running_or_notify_cancel()]
            if not running:
                continue
            try:
                images = np.concatenate([images for images, _ in running])
                features = self._extractor.run(images)[self._layer]
            except Exception as error:
                for _, future in running:
                    future.set_exception(error)
            else:
                for (_, future), row in zip(running, features, strict=True):
                    future.set_result(row)


def application(extractor: sparsefeat.Extractor, layer: str, max_batch: int) -> Any:
    """Make the application: one extractor for all requests.

    Decoding runs in FastAPI's threads. With a `max_batch` of 0 there is no batcher: the network
    runs in these threads, too, one image at a time.
    """
    from fastapi import FastAPI, HTTPException, Request, Response
    from fastapi.concurrency import run_in_threadpool

    batcher = Batcher(extractor, layer, max_batch) if max_batch else None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        if batcher is not None:
            batcher.close()

    app = FastAPI(title="VGG16 features", lifespan=lifespan)

    def read(body: bytes) -> Float32:
        pixels = extractor.read(body).pixels  # uint8 (H, W, 3)
        return sparsefeat.normalize(pixels[np.newaxis], extractor.scaling)

    def encode(features: Float32) -> bytes:
        flat = features.ravel()
        indices = np.flatnonzero(flat)
        return msgspec.json.encode(
            {
                "layer": layer,
                "shape": features.shape,
                "indices": indices.tolist(),
                "values": flat[indices].tolist(),
            }
        )

    @app.post("/features")
    async def features(request: Request) -> Response:
        """Take an image's file as the body; give the values that aren't zero, and their indices."""
        if int(request.headers.get("content-length", MAX_BYTES + 1)) > MAX_BYTES:
            raise HTTPException(413, f"expected Content-Length of at most {MAX_BYTES} bytes")
        try:
            images = await run_in_threadpool(read, await request.body())
        except sparsefeat.InputError as error:
            raise HTTPException(422, str(error)) from error
        if batcher is None:
            row = (await run_in_threadpool(extractor.run, images))[layer][0]
        else:
            row = await asyncio.wrap_future(batcher.submit(images))
        return Response(encode(row), media_type="application/json")

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Say that the model is loaded."""
        return {"layer": layer, "precision": extractor.precision}

    return app


def main() -> None:
    """Serve the features of one layer over HTTP."""
    import uvicorn

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("model", help="what `sparsefeat export` made")
    parser.add_argument("layer", help="such as block5_pool")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--threads", type=int, help="by default one for each processor")
    parser.add_argument("--max-batch", type=int, default=8, help="0: no micro-batching")
    given = parser.parse_args()

    extractor = sparsefeat.Extractor(given.model, given.layer, threads=given.threads)
    app = application(extractor, given.layer, given.max_batch)
    uvicorn.run(app, host=given.host, port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
