"""Run the network: Winograd convolutions by our kernels where possible, the rest by ONNX Runtime.

VGG16 is a chain of layers. It is cut into stages that pass on NHWC activations. A stage is either
a Winograd convolution with its ReLU and pooling, or a graph of any number of layers for ONNX
Runtime.
"""

import itertools
import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakValueDictionary

import numpy as np
import onnx
from numpy.typing import NDArray

from sparsefeat.errors import ModelError, ProviderError
from sparsefeat.model import PRE, ModelFile, ModelLayer, Pool, Size, cut
from sparsefeat.runtime import (
    CudaOptions,
    Precision,
    Provider,
    Setup,
    candidate_providers,
    configure_session,
)
from sparsefeat.runtime.session import Session
from sparsefeat.runtime.stages import ConvolvedStage, GraphStage, Memory, Stage, Targets
from sparsefeat_kernels import (
    WinogradConvolution,
    choose_variant,
    compile_winograd,
    fits_winograd,
)

Float32 = NDArray[np.float32]

Convolution = Literal["auto", "direct", "winograd"]

_log = logging.getLogger(__name__)


class Network:
    """Runs preprocessed images through the layers that the chosen outputs need.

    It is thread-safe. With Winograd convolutions, threads run one at a time.

    Parameters
    ----------
    file
        The model.
    names
        The outputs, as `choose_layers` returns them.
    pool
        Global pooling of spatial outputs over rows and columns.
    size
        (height, width) that the graph is fixed to; None for any size.
    convolution
        ``direct``: convolutions of ONNX Runtime. ``winograd``: Winograd convolutions where
        possible. ``auto``: the faster of the two, which is Winograd in float32 on a CPU with
        suitable vector instructions.
    provider
        ``cpu``, ``openvino``, ``cuda``, or ``auto`` for the fastest that is available.
    precision
        The precision to compute in.
    threads
        Number of threads that share the work of one layer.
    options
        Options of ``cuda``; other providers have none.

    Raises
    ------
    ProviderError
        The provider is unknown or not available, or can't run the whole graph; or Winograd
        convolutions were asked for and are not available.
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
        options: CudaOptions | None,
    ) -> None:
        self._file, self._names, self._pool, self._size = file, names, pool, size
        self._precision, self._threads = precision, threads
        self._running = threading.Lock()
        self._memory = Memory()
        self._unavailable: dict[str, str] = {}
        *better, last = candidate_providers(provider, precision)
        for candidate in better:
            try:
                self._build(candidate, convolution, options)
            except ProviderError as exc:
                self._unavailable[candidate.name] = str(exc)
                _log.info("provider %s is unavailable: %s", candidate.name, exc)
            else:
                return
        # The options are those of the first candidate; a fallback runs without options.
        self._build(last, convolution, None if better else options)

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of the active provider."""
        return self._provider

    @property
    def options(self) -> dict[str, str]:
        """The provider's options, as ONNX Runtime takes them."""
        return dict(self._options)

    @property
    def unavailable(self) -> dict[str, str]:
        """The faster providers that ``auto`` could not use: the reason by name."""
        return dict(self._unavailable)

    @property
    def convolution(self) -> str:
        """``winograd`` if any layer uses a Winograd convolution, otherwise ``direct``."""
        return "direct" if self._variant is None else "winograd"

    @property
    def variant(self) -> str | None:
        """The vector instructions of the Winograd convolutions; None without such convolutions."""
        return self._variant

    def run(self, images: Float32, outputs: Mapping[str, Float32]) -> None:
        """Run one batch and write the results to existing arrays.

        Parameters
        ----------
        images
            float32 (N, H, W, 3) with N >= 1, C-contiguous.
        outputs
            For each chosen output a C-contiguous float32 array of its shape.

        Raises
        ------
        ProviderError
            ONNX Runtime failed, or there is not enough memory.
        """
        # The activations between stages are in memory that the next batch overwrites.
        with self._running if self._variant is not None else nullcontext():
            targets = Targets(
                self._file.metadata.layers, images, self._pool_after, outputs, self._memory
            )
            x = images
            try:
                for stage in self._stages:
                    x = stage.run(x, targets)
            except MemoryError as exc:
                n, height, width, _ = images.shape
                raise ProviderError(
                    f"not enough memory for {n} images of {height}x{width} inside the network "
                    f"({exc}); use a smaller batch or size, or fewer layers"
                ) from exc

    def _build(
        self,
        provider: Provider,
        convolution: Convolution,
        options: CudaOptions | None,
    ) -> None:
        variant = _variant(convolution, provider, self._precision)
        parts = _parts(self._file, self._names, convolve=variant is not None)
        self._variant = variant if any(isinstance(part, _Convolved) for part in parts) else None
        # If ONNX Runtime runs everything, global pooling is part of its graph; else it's done here.
        self._graph_pool: Pool = self._pool if self._variant is None else "none"
        self._pool_after: Pool = "none" if self._variant is None else self._pool
        self._provider = provider.ort_name
        self._options: dict[str, str] = {}
        if self._variant is not None:
            load_convolutions(self._variant)
        executor: Executor | None = None
        if self._variant is not None and self._threads > 1:
            # The calling thread works too.
            executor = ThreadPoolExecutor(self._threads - 1, "sparsefeat-convolve")

        def build(part: _Part, before: _Part | None) -> Stage:
            if isinstance(part, _Convolved):
                assert self._variant is not None
                convolution = _convolution(self._file, part.layer.name, self._variant)
                pooled_name = None if part.pooling is None else part.pooling.name
                name = part.layer.name
                return ConvolvedStage(name, pooled_name, convolution, executor, self._threads)
            setup = configure_session(
                provider,
                precision=self._precision,
                threads=self._threads,
                options=options,
                # Spinning threads of ONNX Runtime would take processor time from ours.
                spin=self._variant is None,
            )
            return self._graph_stage(part, before, setup)

        built = map if executor is None else executor.map
        self._stages = list(built(build, parts, [None, *parts[:-1]]))

    def _graph_stage(self, part: "_Graph", before: "_Part | None", setup: Setup) -> "GraphStage":
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
        self._provider, self._options = session.provider, setup.options
        return GraphStage(session, names, handed_on)


@dataclass(frozen=True, kw_only=True)
class _Convolved:
    """A Winograd convolution, with the pooling after it if there is one."""

    layer: ModelLayer
    pooling: ModelLayer | None

    @property
    def last(self) -> ModelLayer:
        return self.pooling or self.layer


@dataclass(frozen=True, kw_only=True)
class _Graph:
    """Consecutive layers that ONNX Runtime runs."""

    layers: tuple[ModelLayer, ...]
    is_last: bool

    @property
    def last(self) -> ModelLayer:
        return self.layers[-1]


_Part = _Convolved | _Graph


def _variant(convolution: Convolution, provider: Provider, precision: Precision) -> str | None:
    """Choose the variant of the Winograd convolutions; None for direct convolutions.

    Raises
    ------
    ProviderError
        Winograd convolutions were asked for and are not available.
    """
    if convolution == "direct":
        return None
    problem = None
    if provider.name != "cpu" or precision != "fp32":
        problem = (
            f"{provider.name} in {precision} uses its own convolutions; use --provider cpu "
            "--precision fp32, or --convolution auto"
        )
    elif (variant := choose_variant()) is not None:
        return variant
    else:
        problem = (
            "this processor has neither AVX-512 nor AVX2 with FMA nor NEON; use --convolution auto"
        )
    if convolution == "winograd":
        raise ProviderError(f"convolution winograd was asked for, but {problem}")
    return None


def _parts(file: ModelFile, names: Sequence[str], *, convolve: bool) -> list[_Part]:
    """Cut the chain of layers, up to the last one that is needed, into parts."""
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
    """Return the names of the convolutions and pools that `WinogradConvolution` can compute."""
    makers = {output: node for node in file.graph.graph.node for output in node.output}
    weights = {tensor.name: tensor for tensor in file.graph.graph.initializer}
    convolved, pooled = set(), set()
    for before, layer in itertools.pairwise(file.metadata.layers):
        source, result = f"{before.name}/nchw", f"{layer.name}/nchw"
        if _is(makers.get(result), "MaxPool", [source], kernel_shape=[2, 2], strides=[2, 2]):
            pooled.add(layer.name)
        inputs = [source, f"{layer.name}/kernel", f"{layer.name}/bias"]
        if (
            _is(makers.get(result), "Relu", [layer.name + PRE])
            and _is(
                makers.get(layer.name + PRE),
                "Conv",
                inputs,
                kernel_shape=[3, 3],
                pads=[1, 1, 1, 1],
            )
            and _fit(weights.get(inputs[1]), weights.get(inputs[2]))
        ):
            convolved.add(layer.name)
    return convolved, pooled


def _fit(kernel: onnx.TensorProto | None, bias: onnx.TensorProto | None) -> bool:
    if kernel is None or bias is None or len(kernel.dims) != 4:
        return False
    n_out, n_in, *taps = kernel.dims
    return (
        {kernel.data_type, bias.data_type} == {onnx.TensorProto.FLOAT}
        and taps == [3, 3]
        and list(bias.dims) == [n_out]
        and fits_winograd(n_in, n_out)
    )


# Default values of attributes in ONNX.
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
    """Return whether the node is this operation, with these attributes and defaults otherwise."""
    if node is None or node.op_type != op_type or list(node.input) != list(inputs):
        return False
    given = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    return {**_DEFAULTS, **given} == {**_DEFAULTS, **attributes}


_shared: WeakValueDictionary[tuple[object, ...], WinogradConvolution] = WeakValueDictionary()
_sharing = threading.Lock()


def _convolution(file: ModelFile, layer: str, variant: str) -> WinogradConvolution:
    """Return the convolution of a layer; networks with the same weights share one.

    Raises
    ------
    ModelError
        The weights can't be read, or their digest does not match.
    """
    names = f"{layer}/kernel", f"{layer}/bias"
    digests = [file.metadata.crc32c.get(name) for name in names]
    key = (file.metadata.weights.sha256, *digests, layer, variant)
    with _sharing:
        shared = _shared.get(key)
    if shared is None or None in digests:
        try:
            kernel, bias = (np.ascontiguousarray(file.tensor(name)) for name in names)
            shared = WinogradConvolution(kernel, bias, variant=variant)
        except ModelError:
            raise
        except (TypeError, ValueError, OSError) as exc:
            raise ModelError(f"{file.path}: layer {layer} can't be loaded: {exc}") from exc
        with _sharing:
            shared = _shared.setdefault(key, shared)
    else:
        file.check(names)
    return shared


_compiling = threading.Lock()  # another thread may be loading the code ahead of time


def load_convolutions(variant: str | None = None) -> None:
    """Load the compiled code of the Winograd convolutions, compiling it on first use.

    It logs a warning before it compiles.

    Parameters
    ----------
    variant
        The vector instructions to use; by default the fastest that this processor has.
    """
    variant = variant or choose_variant()
    if variant is not None:
        with _compiling:
            compile_winograd(
                variant,
                on_compile=lambda: _log.warning(
                    "compiling the convolutions for this processor; this happens only once"
                ),
            )
