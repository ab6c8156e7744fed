import math
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse

import sparsefeat
from sparsefeat.store import Store
from sparsefeat.types import ChannelScales, Layer
from sparsefeat.viz.report import estimate_floor
from sparsefeat.viz.report.sizes import (
    MIN_VALUES,
    ValueCounts,
    count_index_bits,
    draw_rows,
    measure_sizes,
)

from ...store.data import SMALL, dense_rows, make_batch, write_store
from .conftest import Real


def entropy(things: list[int]) -> float:
    """Compute the entropy in bits by counting one by one."""
    counts = Counter(things)
    return -sum(n / len(things) * math.log2(n / len(things)) for n in counts.values())


def value_bits(values: npt.NDArray[np.float32]) -> float:
    whole = values.view(np.uint32).tolist()
    return (
        entropy([bits >> 16 for bits in whole])
        + entropy([bits >> 8 & 255 for bits in whole])
        + entropy([bits & 255 for bits in whole])
    )


@pytest.mark.parametrize("layer", ["block4_pool", "block5_pool"])
def test_the_floor_equals_a_direct_computation(real: Real, layer: str) -> None:
    store = sparsefeat.open(real.folder)
    floor = estimate_floor(store, layer)
    dense = store[layer].to_numpy()
    by_channel = dense.reshape(-1, dense.shape[-1])
    index_bits = sum(
        math.log2(math.comb(len(channel), int((channel != 0).sum()))) + math.log2(len(channel) + 1)
        for channel in by_channel.T
    )
    values = dense[dense != 0]
    assert floor.index_bits == pytest.approx(index_bits, rel=1e-9)
    assert floor.value_bits == pytest.approx(value_bits(values), rel=1e-9)
    assert floor.sampled_rows == 6
    assert floor.sampled_values == len(values)
    expected = (index_bits + len(values) * value_bits(values)) / 8
    assert floor.n_bytes == pytest.approx(expected, abs=1)


def test_a_store_comes_near_the_floor_and_not_below(real: Real) -> None:
    """With real features. The estimate ignores neighbours, which codecs hardly use either."""
    for size in real.report.sizes.layers:
        assert size.floor.n_bytes is not None
        assert 0.97 < size.stored / size.floor.n_bytes < 1.2


def test_few_rows_use_one_count_for_the_whole_layer(tmp_path: Path) -> None:
    """With one row of a vector, a count per element costs a bit; one count for all costs less."""
    zeros = np.ones(1000, np.int64)
    zeros[:20] = 0
    bits = count_index_bits(zeros, 1)
    assert bits == pytest.approx(math.log2(math.comb(1000, 20)) + math.log2(1001))
    assert bits < 1000


def test_empty_layers_cost_almost_nothing() -> None:
    assert count_index_bits(np.zeros(4, np.int64), 0) == 0
    assert count_index_bits(np.zeros(4, np.int64), 100) == pytest.approx(math.log2(401))


def test_repeated_values_are_counted_as_wholes() -> None:
    """The 255 levels of an int8 model have noisy mantissas, but are only 255."""
    levels = np.random.default_rng(0).normal(size=255).astype(np.float32)
    values = levels[np.random.default_rng(1).integers(0, 255, 50_000)]
    counts = ValueCounts()
    for start in range(0, len(values), 9_999):
        counts.add(values[start : start + 9_999])
    assert counts.n_values == len(values)
    assert counts.entropy() == pytest.approx(entropy(values.view(np.uint32).tolist()))
    assert counts.entropy() < 8


def test_rounded_values_have_no_noise() -> None:
    noise = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    rounded = (noise.view(np.uint32) & 0xFFFF0000).view(np.float32)
    for values in (noise, rounded):
        counts = ValueCounts()
        counts.add(values)
        assert counts.entropy() == pytest.approx(value_bits(values), rel=1e-9)
    assert value_bits(noise) - value_bits(rounded) > 15.9  # of the 16 that were cut off


@pytest.mark.parametrize("values", ["float32", "uint8"])
def test_for_codes_the_entropy_of_codes_counts(tmp_path: Path, values: str) -> None:
    """With several parts, whose scales differ by channel and part."""
    layer = Layer(name="x", shape=(20, 20, 16))
    scales = ChannelScales(scales=2.0 ** np.arange(-8, 8, dtype=np.float32))
    numbers = np.random.default_rng(0).binomial(20, 0.2, (12, 400, 16)).astype(np.float32)
    rows = (numbers * scales.scales).reshape(12, -1)
    batches = [make_batch([n], [layer], make=lambda _, n: rows[n]) for n in range(12)]
    write_store(tmp_path, batches, [layer], rows_per_part=5, values=values, scales={"x": scales})
    store = Store(tmp_path)
    codes: list[int] = []
    for part in store.parts:
        stored = part.read("obsm/x" if part.layers["x"].encoding == "dense" else "obsm/x/data")
        codes += stored[stored != 0].tolist()
    assert len(codes) >= MIN_VALUES
    assert estimate_floor(store, "x").value_bits == pytest.approx(entropy(codes), rel=1e-6)


def test_sampled_rows_depend_on_the_seed_and_are_limited() -> None:
    drawn = draw_rows(100_000, 25_088, seed=3)
    assert len(drawn) == 64
    assert (np.diff(drawn) > 0).all()
    assert drawn.tolist() == draw_rows(100_000, 25_088, seed=3).tolist()
    assert drawn.tolist() != draw_rows(100_000, 25_088, seed=4).tolist()
    assert len(draw_rows(100, 3_211_264, seed=0)) == 5
    assert draw_rows(7, 10, seed=0).tolist() == list(range(7))
    assert draw_rows(0, 10, seed=0).tolist() == []


def test_only_sampled_rows_are_read(tmp_path: Path) -> None:
    layer = Layer(name="conv", shape=(4, 4, 32))
    write_store(tmp_path / "s", [make_batch(range(200), [layer])], [layer], rows_per_part=30)
    floor = estimate_floor(Store(tmp_path / "s"), "conv", seed=5)
    drawn = draw_rows(200, layer.n_features, seed=5)
    values = dense_rows(layer, drawn.tolist())
    assert floor.sampled_rows == 64
    assert floor.sampled_values == np.count_nonzero(values) < 10_000
    assert floor.n_bytes is None
    assert floor.value_bits is None


def on_disk(folder: Path, pattern: str = "**/*") -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern) if path.is_file())


def test_sizes_are_those_on_disk_and_in_memory(real: Real) -> None:
    sizes = real.report.sizes
    assert sizes.total == on_disk(real.folder, "parts/**/*")
    assert (sizes.others, sizes.others_stored) == (0, 0)
    for size in sizes.layers:
        x = real.dense[size.layer]
        rows = scipy.sparse.csr_array(x.reshape(len(x), -1))
        assert size.dense == x.nbytes
        pointers = 8 * (len(x) + 1)
        assert size.csr == rows.data.nbytes + 4 * len(rows.indices) + pointers
        key = size.layer.replace("/", ".")
        assert size.stored == on_disk(real.folder, f"parts/*/obsm/{key}/**/*")
    assert sizes.tables == sizes.total - sum(size.stored for size in sizes.layers)
    encodings = {size.layer: size.encoding for size in sizes.layers}
    assert encodings["block5_pool"] == "csr"
    assert encodings["block5_conv3/pre"] == "dense"


def test_omitted_layers_are_counted_as_others(tmp_path: Path) -> None:
    write_store(tmp_path, [make_batch(range(9))], rows_per_part=4)
    sizes = measure_sizes(Store(tmp_path), ("block5_pool",))
    assert [size.layer for size in sizes.layers] == ["block5_pool"]
    assert sizes.others == 2
    assert sizes.others_stored == sum(
        on_disk(tmp_path, f"parts/*/obsm/{key}/**/*") for key in ("block5_conv3.pre", "fc")
    )
    assert sizes.layers[0].csr == 8 * np.count_nonzero(dense_rows(SMALL[0], range(9))) + 8 * 10
    assert sizes.total == on_disk(tmp_path, "parts/**/*")
