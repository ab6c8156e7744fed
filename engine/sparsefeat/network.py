"""The network as it is run: convolutions by Winograd where that can be, the rest by ONNX Runtime.

VGG16 is a chain of layers. It is cut into stages, each of which takes the activations that the one
before it gives, NHWC: a convolution with its ReLU and pooling, or a graph for ONNX Runtime with any
number of layers.
"""

import itertools
import logging
import math
import threading
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args
from weakref import WeakValueDictionary

import numpy as np
import onnx
from numpy.typing import NDArray

from sparsefeat.errors import InputError, ProviderError
from sparsefeat.model import PRE, ModelFile, ModelLayer, Pool, Size, cut, output_layer
from sparsefeat.providers import CudaOptions, Precision, Provider, Setup, candidates, set_up
from sparsefeat.session import Session
from sparsefeat_kernels import (
    WinogradConvolution,
    compile_winograd,
    fits,
    suitable_variant,
)

Float32 = NDArray[np.float32]

Convolution = Literal["auto", "direct", "winograd"]
CONVOLUTIONS: tuple[str, ...] = get_args(Convolution)

_log = logging.getLogger(__name__)


class Network:
    """Runs preprocessed images through the layers that chosen outputs need.

    One thread at a time runs it, others wait; the work is shared by `threads`.

    Parameters
    ----------
    file
        The model.
    names
        The outputs, as `choose` gives them.
    pool
        Global pooling of spatial outputs over rows and columns.
    size
        Height and width that the graph is fixed to; None for any.
    convolution
        ``direct`` for ONNX Runtime's, ``winograd`` for ours wherever they fit, ``auto`` for the
        faster one: Winograd's in float32 on a processor that has vectors for it.
    provider
        ``cpu``, ``openvino``, ``cuda``, or ``auto`` for the fastest that can be had.
    precision
        What the provider is told to compute in.
    threads
        Threads that share the work of one layer.
    options
        The provider's own.

    Raises
    ------
    InputError
        There is no such kind of convolution.
    ProviderError
        There is no such provider, it can't be had here, or it doesn't run all of the graph; or
        Winograd's convolutions can't be had.
    ModelError
        The graph or its weights can't be loaded.
    """

    def __init__(
        self,
        file: ModelFile,
        names: Sequence[str],
        *,
        pool: Pool,
        size: Size | None,
        convolution: Convolution,
        provider: str,
        precision: Precision,
        threads: int,
        options: CudaOptions | Mapping[str, object] | None,
    ) -> None:
        if convolution not in CONVOLUTIONS:
            raise InputError(
                f"unknown convolution {convolution!r}, expected one of: {', '.join(CONVOLUTIONS)}"
            )
        self._file, self._names, self._pool, self._size = file, names, pool, size
        self._precision, self._threads = precision, threads
        self._running = threading.Lock()
        self._memory = _Memory()
        self._passed_over: dict[str, str] = {}
        *better, last = candidates(provider, precision)
        for candidate in better:
            try:
                self._build(candidate, convolution, options)
            except ProviderError as exc:
                self._passed_over[candidate.name] = str(exc)
            else:
                return
        # Options are for the provider that has them: without it, nobody asked for them.
        self._build(last, convolution, None if better else options)

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of the provider that is active."""
        return self._provider

    @property
    def options(self) -> dict[str, str]:
        """What the provider was told, as ONNX Runtime takes it."""
        return dict(self._options)

    @property
    def passed_over(self) -> dict[str, str]:
        """The providers that ``auto`` would rather have taken, and why it could not."""
        return dict(self._passed_over)

    @property
    def convolution(self) -> str:
        """``winograd`` if any layer is convolved so, else ``direct``."""
        return "direct" if self._variant is None else "winograd"

    @property
    def variant(self) -> str | None:
        """The vectors that Winograd's convolutions use; None where there are none."""
        return self._variant

    def run(self, images: Float32, outputs: Mapping[str, Float32]) -> None:
        """Run one batch, into arrays that are there already.

        Parameters
        ----------
        images
            float32 (N, H, W, 3) with N >= 1, C-contiguous.
        outputs
            For each chosen output an array of its shape, float32, C-contiguous.

        Raises
        ------
        ProviderError
            ONNX Runtime failed, or there is no memory.
        """
        with self._running:
            targets = _Targets(self._file, images, self._pool_behind, outputs, self._memory)
            x = images
            try:
                for stage in self._stages:
                    x = stage.run(x, targets)
            except MemoryError as exc:
                n, height, width, _ = images.shape
                raise ProviderError(
                    f"no memory for {n} pictures of {height}x{width} inside the network ({exc}); "
                    "take a smaller batch or size, or fewer layers"
                ) from exc

    def _build(
        self,
        provider: Provider,
        convolution: Convolution,
        options: CudaOptions | Mapping[str, object] | None,
    ) -> None:
        variant = _variant(convolution, provider, self._precision)
        parts = _parts(self._file, self._names, convolve=variant is not None)
        self._variant = variant if any(isinstance(part, _Convolved) for part in parts) else None
        # ONNX Runtime pools in its graph; what several stages give is pooled in one way for all.
        self._graph_pool: Pool = self._pool if self._variant is None else "none"
        self._pool_behind: Pool = "none" if self._variant is None else self._pool
        setup = set_up(
            provider,
            precision=self._precision,
            threads=self._threads,
            options=options,
            # Its threads, waiting in a loop for more, would keep ours from the processor.
            spin=self._variant is None,
        )
        self._provider, self._options = provider.ort_name, setup.options
        executor: Executor | None = None
        if self._variant is not None:
            executor = ThreadPoolExecutor(self._threads, "sparsefeat-convolve")
            with _announced():
                compile_winograd(self._variant)

        def build(part: _Part, before: _Part | None) -> _Stage:
            if isinstance(part, _Convolved):
                assert self._variant is not None
                convolution = _convolution(self._file, part.layer.name, self._variant)
                return _ConvolvedStage(part, convolution, executor, self._threads)
            return self._graph_stage(part, before, setup)

        built = map if executor is None else executor.map
        self._stages = list(built(build, parts, [None, *parts[:-1]]))

    def _graph_stage(self, part: "_Graph", before: "_Part | None", setup: Setup) -> "_GraphStage":
        inside = {layer.name for layer in part.layers}
        names = [name for name in self._names if name.removesuffix(PRE) in inside]
        handed_on = None if part.is_last else part.last.name
        if handed_on is not None and handed_on not in names:
            names.append(handed_on)
        graph = cut(
            self._file,
            names,
            pool=self._graph_pool,
            size=self._size,
            after=None if before is None else before.last,
        )
        session = Session(self._file, graph, setup)
        self._provider = session.provider
        return _GraphStage(session, names, handed_on)


@dataclass(frozen=True, kw_only=True)
class _Convolved:
    """A convolution by Winograd, with the pooling behind it if there is one."""

    layer: ModelLayer
    pooling: ModelLayer | None

    @property
    def last(self) -> ModelLayer:
        return self.pooling or self.layer


@dataclass(frozen=True, kw_only=True)
class _Graph:
    """Layers one after the other that ONNX Runtime runs."""

    layers: tuple[ModelLayer, ...]
    is_last: bool

    @property
    def last(self) -> ModelLayer:
        return self.layers[-1]


_Part = _Convolved | _Graph


class _Memory:
    """Memory that grows to the most that was ever needed for a use."""

    def __init__(self) -> None:
        self._arrays: dict[str, Float32] = {}

    def take(self, use: str, shape: tuple[int, ...]) -> Float32:
        n = math.prod(shape)
        if n > self._arrays.get(use, _NOTHING).size:
            self._arrays.pop(use, None)  # both at once would be twice as much
            self._arrays[use] = np.empty(n, np.float32)
        return self._arrays[use][:n].reshape(shape)


_NOTHING = np.empty(0, np.float32)


class _Targets:
    """Where one batch's activations go: into the caller's arrays, or into memory of our own."""

    def __init__(
        self,
        file: ModelFile,
        images: Float32,
        pool: Pool,
        outputs: Mapping[str, Float32],
        memory: _Memory,
    ) -> None:
        self._layers = {layer.name: layer for layer in file.metadata.layers}
        self._n = len(images)
        self._size = (images.shape[1], images.shape[2])
        self._pool, self._outputs, self._memory = pool, outputs, memory
        self._turn = False

    def wants(self, name: str) -> bool:
        """Whether the caller wants this output, pooled globally or not."""
        return name in self._outputs

    def take(self, name: str, use: str | None = None) -> Float32:
        """Give the array for a layer's activations.

        Without a `use` they are what the next stage takes, and stay until it has run.
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
        """Pool globally what the caller wants so."""
        if name in self._outputs and self._pooled(self._layers[name.removesuffix(PRE)]):
            if self._pool == "max":
                activations.max(axis=(1, 2), out=self._outputs[name])
            else:
                self._outputs[name][:] = activations.mean(axis=(1, 2), dtype=np.float64)

    def _pooled(self, layer: ModelLayer) -> bool:
        return self._pool != "none" and layer.spatial


class _Stage(Protocol):
    def run(self, x: Float32, targets: _Targets) -> Float32:
        """Run the stage; give what the next one takes."""
        ...


class _GraphStage:
    def __init__(self, session: Session, names: Sequence[str], handed_on: str | None) -> None:
        self._session, self._names, self._handed_on = session, names, handed_on

    def run(self, x: Float32, targets: _Targets) -> Float32:
        arrays = {
            name: targets.take(name, None if name == self._handed_on else name)
            for name in self._names
        }
        self._session.run(x, arrays)
        for name, array in arrays.items():
            targets.finish(name, array)
        return x if self._handed_on is None else arrays[self._handed_on]


class _ConvolvedStage:
    def __init__(
        self,
        part: _Convolved,
        convolution: WinogradConvolution,
        executor: Executor | None,
        threads: int,
    ) -> None:
        self._name = part.layer.name
        self._pooled_name = None if part.pooling is None else part.pooling.name
        self._convolution, self._executor, self._threads = convolution, executor, threads

    def run(self, x: Float32, targets: _Targets) -> Float32:
        name, pooled_name = self._name, self._pooled_name
        pooled = None if pooled_name is None else targets.take(pooled_name)
        out = None
        if pooled_name is None:
            out = targets.take(name)
        elif targets.wants(name) or targets.wants(name + PRE):
            out = targets.take(name, "whole")
        if targets.wants(name + PRE):
            before = targets.take(name + PRE, "before ReLU")
            self._convolve(x, before, None, relu=False)
            assert out is not None
            np.maximum(before, 0, out=out)
            if pooled is not None:
                _max_pool(out, out=pooled)
            targets.finish(name + PRE, before)
        else:
            self._convolve(x, out, pooled, relu=True)
        if out is not None:
            targets.finish(name, out)
        if pooled_name is None or pooled is None:
            assert out is not None
            return out
        targets.finish(pooled_name, pooled)
        return pooled

    def _convolve(
        self, x: Float32, out: Float32 | None, pooled: Float32 | None, *, relu: bool
    ) -> None:
        self._convolution(
            x,
            relu=relu,
            out=out,
            pooled=pooled,
            executor=self._executor,
            threads=self._threads,
        )


def _max_pool(x: Float32, *, out: Float32) -> None:
    """Take the maxima of 2x2 elements; an odd last row or column is left out."""
    height, width = 2 * out.shape[1], 2 * out.shape[2]
    np.maximum(x[:, 0:height:2, 0:width:2], x[:, 0:height:2, 1:width:2], out=out)
    for column in (0, 1):
        np.maximum(out, x[:, 1:height:2, column:width:2], out=out)


def _variant(convolution: Convolution, provider: Provider, precision: Precision) -> str | None:
    """Name the vectors that Winograd's convolutions are to use; None for direct convolutions.

    Raises
    ------
    ProviderError
        They were asked for and can't be had.
    """
    if convolution == "direct":
        return None
    problem = None
    if provider.name != "cpu" or precision != "fp32":
        problem = (
            f"{provider.name} in {precision} has its own; use --provider cpu --precision fp32, "
            "or --convolution auto"
        )
    elif (variant := suitable_variant()) is not None:
        return variant
    else:
        problem = (
            "this processor has none of AVX-512, AVX2 with FMA, and NEON; use --convolution auto"
        )
    if convolution == "winograd":
        raise ProviderError(f"convolution winograd was asked for, but {problem}")
    return None


def _parts(file: ModelFile, names: Sequence[str], *, convolve: bool) -> list[_Part]:
    """Cut the chain of layers, down to the last one that is needed, into parts."""
    wanted = {name.removesuffix(PRE) for name in names}
    layers = list(file.metadata.layers)
    while layers[-1].name not in wanted:
        layers.pop()
    convolved, pooled = _fitting(file) if convolve else (set(), set())
    parts: list[_Part] = []
    rest: list[ModelLayer] = []
    following = iter([*layers[1:], None])
    for layer, after in zip(layers, following, strict=True):
        if layer.name in convolved:
            if rest:
                parts.append(_Graph(layers=tuple(rest), is_last=False))
                rest = []
            pooling = after if after is not None and after.name in pooled else None
            parts.append(_Convolved(layer=layer, pooling=pooling))
        elif not (parts and not rest and parts[-1].last is layer):
            rest.append(layer)
    if rest:
        parts.append(_Graph(layers=tuple(rest), is_last=True))
    return parts


def _fitting(file: ModelFile) -> tuple[set[str], set[str]]:
    """Name the layers that are rectified convolutions as ours, and those that pool as ours do."""
    makers = {output: node for node in file.graph.graph.node for output in node.output}
    shapes = {tensor.name: tuple(tensor.dims) for tensor in file.graph.graph.initializer}
    convolved, pooled = set(), set()
    for before, layer in itertools.pairwise(file.metadata.layers):
        source, result = f"{before.name}/nchw", f"{layer.name}/nchw"
        if _is(makers.get(result), "MaxPool", [source], kernel_shape=[2, 2], strides=[2, 2]):
            pooled.add(layer.name)
        inputs = [source, f"{layer.name}/kernel", f"{layer.name}/bias"]
        n_out, n_in, *_ = shapes.get(inputs[1], (0, 0))
        if (
            _is(makers.get(result), "Relu", [layer.name + PRE])
            and _is(
                makers.get(layer.name + PRE),
                "Conv",
                inputs,
                kernel_shape=[3, 3],
                pads=[1, 1, 1, 1],
            )
            and fits(n_in, n_out)
        ):
            convolved.add(layer.name)
    return convolved, pooled


# What a node's attributes are where it doesn't say.
_DEFAULTS: dict[str, Any] = {
    "auto_pad": b"NOTSET",
    "ceil_mode": 0,
    "dilations": [1, 1],
    "group": 1,
    "pads": [0, 0, 0, 0],
    "storage_order": 0,
    "strides": [1, 1],
}


def _is(
    node: onnx.NodeProto | None, op_type: str, inputs: Sequence[str], **attributes: object
) -> bool:
    """Whether the node is this operation, with attributes that are the default's but for these."""
    if node is None or node.op_type != op_type or list(node.input) != list(inputs):
        return False
    given = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    return {**_DEFAULTS, **given} == {**_DEFAULTS, **attributes}


_kept: WeakValueDictionary[tuple[object, ...], WinogradConvolution] = WeakValueDictionary()


def _convolution(file: ModelFile, layer: str, variant: str) -> WinogradConvolution:
    """Transform a layer's weights, or take them from another network that is still there."""
    status = file.path.stat()
    key = (file.path, status.st_mtime_ns, status.st_ino, layer, variant)
    kept = _kept.get(key)
    if kept is None:
        kernel, bias = file.tensor(f"{layer}/kernel"), file.tensor(f"{layer}/bias")
        kept = _kept[key] = WinogradConvolution(
            np.ascontiguousarray(kernel), np.ascontiguousarray(bias), variant=variant
        )
    return kept


@contextmanager
def _announced() -> Generator[None, None, None]:
    """Say so if code has to be compiled, which takes some seconds once on a machine."""
    from numba.core import event

    class Announcement(event.Listener):
        said = False

        def on_start(self, event: object) -> None:
            if not self.said:
                self.said = True
                _log.info("compiling the convolutions for this processor; this is done once")

        def on_end(self, event: object) -> None:
            pass

    with event.install_listener("numba:compile", Announcement()):
        yield
