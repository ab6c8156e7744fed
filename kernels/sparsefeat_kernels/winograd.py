"""3x3 convolutions with a quarter of the multiplications: Winograd's F(4x4, 3x3).

The algorithm is that of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks"
(2016). The interpolation points are chosen for small rounding errors: the relative error is about
1e-6, compared with 3e-7 for direct convolution.
"""

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, wait
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sparsefeat_kernels.csr import read_only

Float32 = npt.NDArray[np.float32]

CHANNELS = 16  # the numbers of input and output channels must be multiples of this
_SHARES_PER_THREAD = 4  # so that other threads can take over the work of a delayed one
_LINE_BYTES = 64

# The processor features that each variant needs, fastest variant first.
_FEATURES = {
    "avx512": ("avx512f", "avx512vl"),
    "avx2": ("avx2", "fma"),
    "neon": ("neon",),
}


class WinogradConvolution:
    """A 3x3 convolution of stride 1 with zero padding and bias, optionally with ReLU and pooling.

    The result is the same, bit for bit, for every batch size, number of threads and variant.
    A NaN or infinity in the input can make elements NaN that are up to three rows or columns away;
    with direct convolution that distance is one. Pooling propagates NaN. The transformed weights
    take four times the memory of the kernel.

    Parameters
    ----------
    kernel
        float32 (C', C, 3, 3): output channels, input channels, rows, columns. C and C' are
        multiples of 16.
    bias
        float32 (C',).
    variant
        ``avx512``, ``avx2`` or ``neon``: the vector instructions to use. By default the fastest
        that this processor has. The other variants compute the same numbers more slowly.

    Raises
    ------
    TypeError, ValueError
        An array has another type or shape, or a number of channels is not a multiple of 16;
        `variant` is unknown, or this processor has none of the three.

    Examples
    --------
    >>> import numpy as np
    >>> kernel = np.zeros((16, 16, 3, 3), np.float32)
    >>> kernel[:, :, 1, 1] = np.eye(16)
    >>> convolution = WinogradConvolution(kernel, np.full(16, -1, np.float32), variant="avx2")
    >>> convolution(np.full((1, 8, 8, 16), 3, np.float32)).max().round(5)
    np.float32(2.0)
    """

    def __init__(self, kernel: Float32, bias: Float32, *, variant: str | None = None) -> None:
        from sparsefeat_kernels import _winograd

        _check_array("kernel", kernel, 4)
        _check_array("bias", bias, 1)
        n_out: int = kernel.shape[0]
        n_in: int = kernel.shape[1]
        if kernel.shape[2:] != (3, 3) or not fits_winograd(n_in, n_out):
            raise ValueError(
                f"kernel has shape {kernel.shape}, expected (n_out, n_in, 3, 3) with multiples of "
                f"{CHANNELS} channels"
            )
        if len(bias) != n_out:
            raise ValueError(f"bias has {len(bias)} elements, expected {n_out}: one per channel")
        variant = variant or choose_variant()
        if variant is None:
            raise ValueError(
                "this processor has none of AVX-512, AVX2 with FMA, and NEON: name the variant"
            )
        if variant not in _winograd.VARIANTS:
            raise ValueError(
                f"variant is {variant!r}, expected one of: {', '.join(_winograd.VARIANTS)}"
            )
        self._variant = _winograd.VARIANTS[variant]
        self._n_in, self._n_out = n_in, n_out
        panel = self._variant.panel
        self._n_padded = -(-n_out // panel) * panel
        self._weights = _aligned(_winograd.POSITIONS * n_in * self._n_padded)
        _winograd.transform_weights(
            read_only(kernel), _winograd.WEIGHT_MATRIX, panel, self._weights
        )
        self._bias = np.array(bias)
        self._zeros = np.zeros(n_in, np.float32)
        self._convolve = _winograd.convolution(self._variant)
        self._process = os.getpid()

    def __call__(
        self,
        images: Float32,
        *,
        relu: bool = False,
        out: Float32 | None = None,
        pooled: Float32 | None = None,
        executor: Executor | None = None,
        threads: int = 1,
    ) -> Float32:
        """Convolve images.

        Parameters
        ----------
        images
            float32 (N, H, W, C), C-contiguous; N may be 0, H and W are at least 1.
        relu
            Replace negative values by 0, before pooling.
        out
            float32 (N, H, W, C') to write to. By default a new array, unless `pooled` is given.
        pooled
            float32 (N, H // 2, W // 2, C') to write the maxima of 2x2 elements to. If `out` is not
            given, only the maxima are computed.
        executor
            Provides the other threads. Without it, or in a forked process, only the calling thread
            works.
        threads
            Number of threads that share the work, including the calling one.

        Returns
        -------
        float32
            `out`; or `pooled` if only that was given.

        Raises
        ------
        TypeError, ValueError
            An array has another type, shape or memory layout, or arrays overlap; or `threads` is
            less than 1.
        """
        if threads < 1:
            raise ValueError(f"threads is {threads}, expected at least 1")
        _check_array("images", images, 4)
        n, height, width, n_in = images.shape
        if n_in != self._n_in or height < 1 or width < 1:
            raise ValueError(f"images have shape {images.shape}, expected (N, H, W, {self._n_in})")
        shape = (n, height, width, self._n_out)
        if out is None and pooled is None:
            out = np.empty(shape, np.float32)
        if out is not None:
            _check_target("out", out, shape)
        if pooled is not None:
            _check_target("pooled", pooled, (n, height // 2, width // 2, self._n_out))
        _check_apart(images=images, out=out, pooled=pooled)

        result = pooled if out is None else out
        assert result is not None
        if not result.size:
            return result
        if os.getpid() != self._process:
            executor = None  # forked: it has no threads, and its lock may be held by one of them
        n_tiles = n * -(-height // 4) * -(-width // 4)
        shares = deque(self._shares(n_tiles, threads if executor is not None else 1))

        def work() -> None:
            while True:
                try:
                    share = shares.popleft()
                except IndexError:
                    return
                self._convolve_share(share, images, out, pooled, relu=relu)

        helpers: list[Future[None]] = []
        try:
            if executor is not None:
                helpers.extend(executor.submit(work) for _ in range(1, threads))
            work()
        finally:
            # No thread may write to the arrays after this call returns. Tasks that have not
            # started are cancelled rather than awaited.
            shares.clear()
            begun = [helper for helper in helpers if not helper.cancel()]
            wait(begun)
        for helper in begun:
            helper.result()
        return result

    def _shares(self, n_tiles: int, threads: int) -> list["_Share"]:
        """Split the work by tiles if there are enough of them, otherwise by output channels."""
        block = self._block
        n_shares = threads * min(_SHARES_PER_THREAD, n_tiles // (threads * block))
        if threads == 1:
            n_shares = 1
        if n_shares:
            return [
                _Share(first, last, 0, self._n_padded) for first, last in _ranges(n_tiles, n_shares)
            ]
        panel = self._variant.panel
        return [
            _Share(0, n_tiles, first * panel, last * panel)
            for first, last in _ranges(self._n_padded // panel, threads)
        ]

    @property
    def _block(self) -> int:
        few, some, many = self._variant.blocks
        most = max(self._n_in, self._n_out)
        return few if most <= 64 else some if most <= 256 else many

    def _convolve_share(
        self,
        share: "_Share",
        images: Float32,
        out: Float32 | None,
        pooled: Float32 | None,
        *,
        relu: bool,
    ) -> None:
        from sparsefeat_kernels import _winograd

        n_tiles = share.last_tile - share.first_tile
        n_channels = share.last_channel - share.first_channel
        block = self._block
        if n_tiles < 4 * block:  # with more blocks, a smaller last one hardly matters
            block = -(-n_tiles // max(1, round(n_tiles / block)))
        # The multiplication rounds the number of tiles up, and writes products for them too.
        room = block + self._variant.rows[0]
        depths = -(-self._n_in // _winograd.DEPTH)
        sizes = (
            _winograd.POSITIONS * (depths * room * _winograd.DEPTH + _winograd.PADDING),
            _winograd.POSITIONS * (room * n_channels + _winograd.PADDING),
            self._n_out,
        )
        inputs, products, discarded = _scratch.take(sizes)
        _, height, width, _ = images.shape
        self._convolve(
            images.ctypes.data,
            0 if out is None else out.ctypes.data,
            0 if pooled is None else pooled.ctypes.data,
            self._weights.ctypes.data,
            self._bias.ctypes.data,
            np.float32(0 if relu else -np.inf),
            height,
            width,
            self._n_in,
            self._n_out,
            *share,
            block,
            inputs.ctypes.data,
            products.ctypes.data,
            self._zeros.ctypes.data,
            discarded.ctypes.data,
            np.empty(_winograd.POSITIONS, np.int64),
        )


def fits_winograd(n_in: int, n_out: int) -> bool:
    """Return whether `WinogradConvolution` supports these numbers of channels.

    Examples
    --------
    >>> fits_winograd(64, 128), fits_winograd(3, 64)
    (True, False)
    """
    return n_in > 0 and n_out > 0 and n_in % CHANNELS == 0 and n_out % CHANNELS == 0


def choose_variant() -> str | None:
    """Return the name of the fastest variant on this processor, or None if it supports none.

    ``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` are honoured, because they decide what numba
    compiles for.

    Examples
    --------
    >>> choose_variant() in ("avx512", "avx2", "neon", None)
    True
    """
    features = _features()
    for variant, needed in _FEATURES.items():
        if features.issuperset(needed):
            return variant
    return None


def compile_winograd(
    variant: str | None = None, *, on_compile: Callable[[], object] | None = None
) -> None:
    """Compile the kernels of a variant, or load them from numba's cache.

    Compiling takes some seconds the first time on a machine. Without this call the first
    convolution compiles.

    Parameters
    ----------
    variant
        As for `WinogradConvolution`.
    on_compile
        Called once before compilation starts; not called if the cache has everything.

    Examples
    --------
    >>> compile_winograd("avx2")
    """
    from sparsefeat_kernels import _winograd
    from sparsefeat_kernels._jit import event

    called = False

    class Listener(event.Listener):
        def on_start(self, event: Any) -> None:
            nonlocal called
            module = event.data["dispatcher"].py_func.__module__
            if on_compile is not None and not called and module == _winograd.__name__:
                called = True
                on_compile()

        def on_end(self, event: Any) -> None:
            pass

    kernel = np.zeros((CHANNELS, CHANNELS, 3, 3), np.float32)
    with event.install_listener("numba:compile", Listener()):
        convolution = WinogradConvolution(kernel, np.zeros(CHANNELS, np.float32), variant=variant)
        convolution(np.zeros((1, 1, 1, CHANNELS), np.float32))


class _Share(NamedTuple):
    first_tile: int
    last_tile: int
    first_channel: int
    last_channel: int


class _Scratch(threading.local):
    """Scratch memory of each calling thread; it is reallocated only when more is needed."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.float32)

    def take(self, sizes: Iterable[int]) -> list[Float32]:
        """Return arrays of the given numbers of elements, each aligned to a cache line."""
        line = _LINE_BYTES // 4
        rounded = [-(-size // line) * line for size in sizes]
        if len(self._memory) < sum(rounded):
            # Zeros, because the kernel also multiplies a few elements that were never written.
            self._memory = _aligned(sum(rounded))
        ends = np.cumsum(rounded).tolist()
        return [self._memory[end - n : end] for end, n in zip(ends, rounded, strict=True)]


_scratch = _Scratch()


def _aligned(n_elements: int) -> Float32:
    """Return zeros whose first element is aligned to a cache line."""
    line = _LINE_BYTES // 4
    memory = np.zeros(n_elements + line, np.float32)
    first = -memory.ctypes.data % _LINE_BYTES // 4
    return memory[first : first + n_elements]


def _ranges(n: int, n_parts: int) -> list[tuple[int, int]]:
    """Split the range from 0 to n into at most `n_parts` non-empty parts of similar size."""
    ends = [n * part // n_parts for part in range(n_parts + 1)]
    return [(first, last) for first, last in itertools.pairwise(ends) if last > first]


def _features() -> set[str]:
    """Return LLVM's names of the processor features that numba compiles for."""
    import llvmlite.binding  # type: ignore[import-untyped]

    listed = os.environ.get("NUMBA_CPU_FEATURES")
    if listed is None and os.environ.get("NUMBA_CPU_NAME") == "generic":
        listed = ""
    if listed is not None:
        return {name[1:] for name in listed.split(",") if name.startswith("+")}
    features = {name for name, has in llvmlite.binding.get_host_cpu_features().items() if has}
    # On some systems LLVM lists no features for 64-bit ARM; every such processor has NEON.
    if llvmlite.binding.get_process_triple().startswith(("aarch64", "arm64")):
        features.add("neon")
    return features


def _check_array(name: str, array: Float32, n_axes: int) -> None:
    plain = isinstance(array, np.ndarray) and not isinstance(array, np.ma.MaskedArray)
    if not plain or array.dtype != np.float32:
        got = array.dtype if plain else type(array).__name__
        raise TypeError(f"{name}: got {got}, expected an array of float32: convert it with .astype")
    if array.ndim != n_axes or not array.flags.c_contiguous or not array.flags.aligned:
        raise ValueError(
            f"{name} has shape {array.shape} and strides {array.strides}, expected {n_axes} axes, "
            "C-contiguous and aligned: pass np.ascontiguousarray of it"
        )


def _check_target(name: str, array: Float32, shape: tuple[int, ...]) -> None:
    _check_array(name, array, len(shape))
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
    if not array.flags.writeable:
        raise ValueError(f"{name} is read-only, expected a writeable array: pass a copy")


def _check_apart(**arrays: Float32 | None) -> None:
    given = [(name, array) for name, array in arrays.items() if array is not None]
    for index, (name, array) in enumerate(given):
        for other_name, other in given[index + 1 :]:
            if np.may_share_memory(array, other):
                raise ValueError(f"{other_name} overlaps {name}: pass another array")
