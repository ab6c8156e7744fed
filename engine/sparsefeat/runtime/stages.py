"""The stages of the network; each reads the activations of the stage before it."""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sparsefeat.model import PRE, ModelLayer, Pool, output_layer
from sparsefeat.runtime.session import Session
from sparsefeat_kernels import WinogradConvolution

Float32 = NDArray[np.float32]

_NOTHING = np.empty(0, np.float32)


class Memory:
    """Reusable memory, which grows to the largest size needed for each use."""

    def __init__(self) -> None:
        self._arrays: dict[str, Float32] = {}

    def take(self, use: str, shape: tuple[int, ...]) -> Float32:
        """Return a float32 array of `shape`; the next call for the same use overwrites it."""
        n = math.prod(shape)
        if n > self._arrays.get(use, _NOTHING).size:
            self._arrays.pop(use, None)  # free the old array before allocating the new one
            self._arrays[use] = np.empty(n, np.float32)
        return self._arrays[use][:n].reshape(shape)


class Targets:
    """The arrays for one batch's activations: the caller's, or scratch memory."""

    def __init__(
        self,
        layers: Sequence[ModelLayer],
        images: Float32,
        pool: Pool,
        outputs: Mapping[str, Float32],
        memory: Memory,
    ) -> None:
        self._layers = {layer.name: layer for layer in layers}
        self._n = len(images)
        self._size = (images.shape[1], images.shape[2])
        self._pool, self._outputs, self._memory = pool, outputs, memory
        self._turn = False

    def wants(self, name: str) -> bool:
        """Return whether the caller wants this output, globally pooled or not."""
        return name in self._outputs

    def take(self, name: str, use: str | None = None) -> Float32:
        """Return the array to write a layer's activations to.

        Without `use`, they are the input of the next stage and stay valid until it has run.
        """
        layer = self._layers[name.removesuffix(PRE)]
        if name in self._outputs and not self._pooled(layer):
            return self._outputs[name]
        if use is None:
            self._turn = not self._turn
            use = "even" if self._turn else "odd"
        shape = output_layer(name, layer, self._size, "none").shape
        return self._memory.take(use, (self._n, *shape))

    def finish(self, name: str, activations: Float32) -> None:
        """Write the globally pooled activations to the caller's array, if pooling was asked for."""
        if name in self._outputs and self._pooled(self._layers[name.removesuffix(PRE)]):
            if self._pool == "max":
                activations.max(axis=(1, 2), out=self._outputs[name])
            else:
                self._outputs[name][:] = activations.mean(axis=(1, 2), dtype=np.float64)

    def _pooled(self, layer: ModelLayer) -> bool:
        return self._pool != "none" and layer.spatial


class Stage(Protocol):
    """A part of the network that reads activations and computes the next ones."""

    def run(self, x: Float32, targets: Targets) -> Float32:
        """Run the stage and return the input of the next stage."""
        ...


class GraphStage:
    """Layers that ONNX Runtime runs: `names` are its outputs, `handed_on` feeds the next stage.

    In the last stage, `handed_on` is None.
    """

    def __init__(self, session: Session, names: Sequence[str], handed_on: str | None) -> None:
        self._session, self._names, self._handed_on = session, names, handed_on

    def run(self, x: Float32, targets: Targets) -> Float32:
        """Run the graph."""
        arrays = {
            name: targets.take(name, None if name == self._handed_on else name)
            for name in self._names
        }
        self._session.run(x, arrays)
        for name, array in arrays.items():
            targets.finish(name, array)
        return x if self._handed_on is None else arrays[self._handed_on]


class ConvolvedStage:
    """A Winograd convolution with its ReLU and, if there is one, the pooling after it.

    `threads` threads share the work: the calling thread and those of `executor`.
    """

    def __init__(
        self,
        name: str,
        pooled_name: str | None,
        convolution: WinogradConvolution,
        executor: Executor | None,
        threads: int,
    ) -> None:
        self._name, self._pooled_name = name, pooled_name
        self._convolve = partial(convolution, executor=executor, threads=threads)

    def run(self, x: Float32, targets: Targets) -> Float32:
        """Convolve, rectify and pool."""
        name, pooled_name = self._name, self._pooled_name
        pooled = None if pooled_name is None else targets.take(pooled_name)
        out = None
        if pooled_name is None:
            out = targets.take(name)
        elif targets.wants(name) or targets.wants(name + PRE):
            out = targets.take(name, "whole")
        if targets.wants(name + PRE):
            before = targets.take(name + PRE, "before ReLU")
            self._convolve(x, out=before)
            assert out is not None
            np.maximum(before, 0, out=out)
            if pooled is not None:
                _max_pool(out, out=pooled)
            targets.finish(name + PRE, before)
        else:
            self._convolve(x, relu=True, out=out, pooled=pooled)
        if out is not None:
            targets.finish(name, out)
        if pooled_name is None or pooled is None:
            assert out is not None
            return out
        targets.finish(pooled_name, pooled)
        return pooled


def _max_pool(x: Float32, *, out: Float32) -> None:
    """Take the maxima of 2x2 elements; an odd last row or column is left out."""
    height, width = 2 * out.shape[1], 2 * out.shape[2]
    np.maximum(x[:, 0:height:2, 0:width:2], x[:, 0:height:2, 1:width:2], out=out)
    for column in (0, 1):
        np.maximum(out, x[:, 1:height:2, column:width:2], out=out)
