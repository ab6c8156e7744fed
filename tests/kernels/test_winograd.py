import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsefeat_kernels import (
    WinogradConvolution,
    choose_variant,
    fits_winograd,
    reference,
)
from sparsefeat_kernels._winograd import cook_toom

from .common import assert_same_dense, property_settings

Float32 = npt.NDArray[np.float32]

VARIANTS = ("avx512", "avx2", "neon")  # LLVM compiles each for any processor
LIMIT = 3e-6  # of the relative L2 error against double precision


def make(n_in: int, n_out: int, seed: int = 0) -> tuple[Float32, Float32]:
    rng = np.random.default_rng(seed)
    kernel = rng.standard_normal((n_out, n_in, 3, 3), np.float32) / np.float32(np.sqrt(9 * n_in))
    return kernel, rng.standard_normal(n_out, np.float32)


def make_images(*shape: int, seed: int = 1) -> Float32:
    return np.maximum(np.random.default_rng(seed).standard_normal(shape, np.float32), 0)


def error(got: npt.NDArray[np.floating], expected: npt.NDArray[np.floating]) -> float:
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


def test_transform_matrices_are_exact() -> None:
    points = [Fraction(0), Fraction(1, 2), Fraction(-1, 2), Fraction(2), Fraction(-2)]
    matrices = cook_toom(points)
    x = [Fraction(value) for value in (3, -1, 4, 1, -5, 9)]
    w = [Fraction(value) for value in (2, -7, 18)]

    def times(matrix: tuple[tuple[Fraction, ...], ...], vector: list[Fraction]) -> list[Fraction]:
        return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]  # type: ignore[misc]

    products = [
        a * b for a, b in zip(times(matrices.input, x), times(matrices.weights, w), strict=True)
    ]
    correlation = [sum(x[i + k] * w[k] for k in range(3)) for i in range(4)]
    assert times(matrices.output, products) == correlation


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("n_in", "n_out", "shape"),
    [
        (16, 16, (1, 1, 1)),
        (16, 48, (2, 2, 3)),
        (64, 64, (1, 7, 33)),
        (64, 128, (3, 4, 4)),
        (128, 80, (1, 9, 14)),
        (144, 32, (2, 13, 5)),
        (272, 512, (1, 6, 10)),
        (512, 512, (2, 14, 14)),
    ],
)
def test_it_equals_direct_convolution(
    n_in: int, n_out: int, shape: tuple[int, int, int], variant: str
) -> None:
    kernel, bias = make(n_in, n_out)
    convolution = WinogradConvolution(kernel, bias, variant=variant)
    images = make_images(*shape, n_in)
    expected = reference.convolve(images, kernel, bias)
    assert error(convolution(images), expected) < LIMIT
    rectified = convolution(images, relu=True)
    assert rectified.min() >= 0
    assert error(rectified, np.maximum(expected, 0)) < LIMIT
    pooled = np.full((shape[0], shape[1] // 2, shape[2] // 2, n_out), np.nan, np.float32)
    assert convolution(images, relu=True, pooled=pooled) is pooled
    assert_same_dense(pooled, reference.max_pool(rectified).astype(np.float32))
    out = np.full_like(rectified, np.nan)
    pooled[:] = np.nan
    assert convolution(images, relu=True, out=out, pooled=pooled) is out
    assert_same_dense(out, rectified)
    assert_same_dense(pooled, reference.max_pool(rectified).astype(np.float32))


@property_settings
@given(
    channels=st.tuples(st.integers(1, 20), st.integers(1, 9)),
    shape=st.tuples(st.integers(0, 3), st.integers(1, 19), st.integers(1, 19)),
    threads=st.integers(1, 5),
    variant=st.sampled_from(VARIANTS),
    seed=st.integers(0, 2**32),
)
def test_images_of_any_shape(
    channels: tuple[int, int],
    shape: tuple[int, int, int],
    threads: int,
    variant: str,
    seed: int,
) -> None:
    n_in, n_out = 16 * channels[0], 16 * channels[1]
    kernel, bias = make(n_in, n_out, seed)
    images = make_images(*shape, n_in, seed=seed)
    convolution = WinogradConvolution(kernel, bias, variant=variant)
    with ThreadPoolExecutor(threads) as executor:
        got = convolution(images, executor=executor, threads=threads)
    expected = reference.convolve(images, kernel, bias)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=3e-5)


def test_results_do_not_depend_on_variant_or_threads() -> None:
    kernel, bias = make(256, 192)
    images = make_images(9, 28, 31, 256)
    alone = WinogradConvolution(kernel, bias, variant="avx512")
    expected = alone(images)
    for variant in VARIANTS:
        convolution = WinogradConvolution(kernel, bias, variant=variant)
        assert_same_dense(convolution(images), expected)
        for threads in (2, 3, 7):
            with ThreadPoolExecutor(threads) as executor:
                got = convolution(images, executor=executor, threads=threads)
                one = convolution(images[4:5], executor=executor, threads=threads)
            assert_same_dense(got, expected)
            assert_same_dense(one, expected[4:5])


def test_one_convolution_serves_many_threads() -> None:
    kernel, bias = make(64, 64)
    convolution = WinogradConvolution(kernel, bias)
    batches = [make_images(2, 20 + i, 24, 64, seed=i) for i in range(8)]
    expected = [convolution(images) for images in batches]
    with ThreadPoolExecutor(4) as executor:
        for got, wanted in zip(executor.map(convolution, batches), expected, strict=True):
            assert_same_dense(got, wanted)


def test_nothing_is_written_outside_the_output() -> None:
    kernel, bias = make(16, 48)
    memory = np.full(3 * 5 * 7 * 48 + 2 * 64, np.float32(-7))
    out = memory[64:-64].reshape(3, 5, 7, 48)
    WinogradConvolution(kernel, bias)(make_images(3, 5, 7, 16), relu=True, out=out)
    assert (memory[:64] == -7).all()
    assert (memory[-64:] == -7).all()
    assert out.min() == 0


@pytest.mark.parametrize("row", [7, 8, 9, 10, 11, 12])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_spread_only_within_their_tiles(value: float, row: int) -> None:
    kernel, bias = make(16, 16)
    convolution = WinogradConvolution(kernel, bias)
    images = make_images(1, 24, 24, 16)
    expected = convolution(images)
    images[0, row, row, 3] = value
    got = convolution(images)
    spoilt = ~np.isfinite(got[0]).all(axis=-1)
    rows = np.flatnonzero(spoilt.any(axis=1))
    assert {row - 1, row, row + 1} <= set(rows.tolist())
    assert row - 3 <= rows.min()
    assert rows.max() <= row + 3
    got[0, spoilt] = expected[0, spoilt]
    assert_same_dense(got, expected)


def test_pooling_keeps_nan() -> None:
    kernel, bias = make(16, 32)
    convolution = WinogradConvolution(kernel, bias)
    for row in range(6, 14):
        images = make_images(1, 20, 20, 16)
        images[0, row, 9, 5] = np.nan
        pooled = np.empty((1, 10, 10, 32), np.float32)
        out = convolution(images, relu=True, out=np.empty((1, 20, 20, 32), np.float32))
        convolution(images, relu=True, pooled=pooled)
        np.testing.assert_array_equal(pooled, reference.max_pool(out))
        assert np.isnan(pooled).any()


def test_nothing_is_written_after_a_call_has_failed() -> None:
    """If a thread can't be started, the call waits for those that write, and raises."""
    kernel, bias = make(64, 64)
    convolution = WinogradConvolution(kernel, bias)
    images = make_images(4, 64, 64, 64)
    out = np.empty((4, 64, 64, 64), np.float32)

    class Failing(ThreadPoolExecutor):
        n_submitted = 0

        def submit(self, work: Any, *arguments: Any, **options: Any) -> Any:  # type: ignore[override]
            self.n_submitted += 1
            if self.n_submitted == 2:
                raise RuntimeError("no more threads")
            return super().submit(work, *arguments, **options)

    with Failing(3) as executor:
        with pytest.raises(RuntimeError, match="no more threads"):
            convolution(images, out=out, executor=executor, threads=3)
        out[:] = 7
        time.sleep(0.2)
        assert (out == 7).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_computes_the_same() -> None:
    """A fork copies no threads, so the child does all of the work itself."""
    code = """
import os, warnings
import numpy as np
from concurrent.futures import ThreadPoolExecutor
from sparsefeat_kernels import WinogradConvolution
convolution = WinogradConvolution(np.ones((32, 32, 3, 3), np.float32), np.ones(32, np.float32))
images = np.ones((4, 64, 64, 32), np.float32)
with ThreadPoolExecutor(2) as executor:
    expected = convolution(images, executor=executor, threads=3)
    warnings.simplefilter("ignore")  # Python warns of forks while there are threads
    child = os.fork()
    if child == 0:
        got = convolution(images, executor=executor, threads=3)
        os._exit(0 if np.array_equal(got, expected) else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert run.stdout.strip() == "0"


def test_a_convolution_refuses_wrong_arguments() -> None:
    kernel, bias = make(16, 32)
    convolution = WinogradConvolution(kernel, bias)
    images = make_images(2, 8, 8, 16)

    def refused(match: str, *arguments: object, **options: object) -> None:
        with pytest.raises((TypeError, ValueError), match=match) as caught:
            convolution(*arguments, **options)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)

    refused("threads is 0", images, threads=0)
    refused("float64", images.astype(np.float64))
    refused("list", [[1.0]])
    refused("MaskedArray", np.ma.array(images))
    refused("expected 4 axes", images[0])
    refused("strides", images.transpose(0, 2, 1, 3))
    refused(r"expected \(N, H, W, 16\)", make_images(2, 8, 8, 32))
    refused(r"expected \(N, H, W, 16\)", np.empty((2, 0, 8, 16), np.float32))
    refused(r"expected \(2, 8, 8, 32\)", images, out=np.empty((2, 8, 8, 16), np.float32))
    refused(r"expected \(2, 4, 4, 32\)", images, pooled=np.empty((2, 8, 8, 32), np.float32))
    out = np.empty((2, 8, 8, 32), np.float32)
    out.flags.writeable = False
    refused("read-only", images, out=out)
    memory = np.zeros(2 * 8 * 8 * 32 + 16, np.float32)
    refused(
        "out overlaps images",
        memory[: images.size].reshape(images.shape),
        out=memory[16:].reshape(2, 8, 8, 32),
    )


@pytest.mark.parametrize(
    ("kernel", "bias", "match"),
    [
        (np.zeros((32, 16, 3, 3)), np.zeros(32, np.float32), "float64"),
        (np.zeros((32, 16, 5, 5), np.float32), np.zeros(32, np.float32), "5, 5"),
        (np.zeros((32, 3, 3, 3), np.float32), np.zeros(32, np.float32), "multiples of 16"),
        (np.zeros((32, 0, 3, 3), np.float32), np.zeros(32, np.float32), "multiples of 16"),
        (np.zeros((32, 16, 3, 3), np.float32), np.zeros(16, np.float32), "expected 32"),
    ],
)
def test_wrong_kernels_are_refused(kernel: Float32, bias: Float32, match: str) -> None:
    with pytest.raises((TypeError, ValueError), match=match):
        WinogradConvolution(kernel, bias)


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(ValueError, match="avx512, avx2, neon"):
        WinogradConvolution(*make(16, 16), variant="sse")


def test_numbers_of_channels_that_fit() -> None:
    assert fits_winograd(16, 512)
    assert not fits_winograd(3, 64)
    assert not fits_winograd(64, 40)
    assert not fits_winograd(0, 16)


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ("+avx2,+fma,+avx512f,+avx512vl", "avx512"),
        ("+avx2,+fma", "avx2"),
        ("+avx2,-fma", "None"),
        ("+avx", "None"),
        ("", "None"),
    ],
)
def test_the_variant_is_chosen_by_the_processor_s_features(features: str, expected: str) -> None:
    code = "import sparsefeat_kernels as k; print(k.choose_variant())"
    environment = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": features}
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == expected


def test_this_processor_has_a_variant() -> None:
    assert choose_variant() in VARIANTS


REGISTERS = """
import re
import numba
from sparsefeat_kernels import _winograd
variant = _winograd.VARIANTS["avx2"]
lanes, n_vectors, n_rows = variant.lanes, variant.n_vectors, variant.rows[0]
@numba.njit
def product(inputs, weights, depth, products, stride, is_first):
    _winograd.multiply(lanes, n_vectors, n_rows, inputs, weights, depth, products, stride, is_first)
product.compile((numba.int64,) * 6)
(assembly,) = product.inspect_asm().values()
blocks = re.split(r"^\\.L\\w+:", assembly, flags=re.MULTILINE)
(loop,) = [block for block in blocks if "vfmadd" in block]
assert loop.count("vfmadd") == n_vectors * n_rows
assert "ymm" in loop and "rsp" not in loop, loop
"""


@pytest.mark.skipif(
    choose_variant() not in ("avx512", "avx2") or sys.platform != "linux",
    reason="reads assembly of x86-64 as Linux writes it",
)
def test_sums_stay_in_the_registers_that_avx2_has() -> None:
    environment = {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+bmi,+bmi2",
    }
    run = subprocess.run(
        [sys.executable, "-c", REGISTERS],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
