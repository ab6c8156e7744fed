"""Bytes on disk, bytes that are read, and bytes in memory."""

import gc
import tracemalloc
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import numpy.typing as npt
import pytest
import skimage.data
from sklearn.datasets import load_sample_images

from sparsefeat import Extractor
from sparsefeat.store import Store, StoreWriter, info
from sparsefeat.types import Batch, ChannelScales, Layer
from sparsefeat_kernels import Csr, encode, round_mantissa

from ..data import bytes_read, make_batch, make_row, write_store

CHUNK = 256 * 1024


@cache
def feature_maps() -> dict[str, npt.NDArray[np.float32]]:
    """Apply random convolutions and ReLU to real images: dense, medium and sparse maps.

    float32 (24, H * W * 32) each.
    """
    crops = []
    for name in ("astronaut", "coffee", "chelsea", "rocket"):
        image = getattr(skimage.data, name)().astype(np.float32) - 117
        height, width = image.shape[:2]
        for corner in range(6):
            y, x = (height - 130) * corner // 5, (width - 130) * corner // 5
            crops.append(image[y : y + 130, x : x + 130])
    maps = np.stack(crops)
    features = {}
    rng = np.random.default_rng(0)
    for name, density in (("block1", 0.78), ("block3", 0.39), ("block5", 0.1)):
        kernel = rng.normal(size=(9 * maps.shape[-1], 32)).astype(np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(maps, (3, 3), axis=(1, 2))
        responses = windows[:, ::2, ::2].reshape(*windows[:, ::2, ::2].shape[:3], -1) @ kernel
        maps = np.maximum(responses - np.quantile(responses, 1 - density), 0)
        features[name] = np.ascontiguousarray(maps.reshape(len(maps), -1))
    return features


def reference_bytes(csr: Csr) -> int:
    """Count bytes of a reference: Blosc in chunks of 256 Ki elements, differences of indices."""
    blosc = numcodecs.Blosc("zstd", clevel=1, shuffle=1, blocksize=1 << 20)
    differences = [
        np.diff(csr.indices[start : start + CHUNK], prepend=np.int32(0))
        for start in range(0, csr.nnz, CHUNK)
    ]
    values = [csr.data[start : start + CHUNK] for start in range(0, csr.nnz, CHUNK)]
    return sum(len(blosc.encode(chunk)) for chunk in [*differences, *values, csr.indptr])


@pytest.mark.parametrize("n_rows", [6, 24])
def test_layers_take_about_as_many_bytes_as_the_reference(tmp_path: Path, n_rows: int) -> None:
    maps = {name: values[:n_rows] for name, values in feature_maps().items()}
    layers = [Layer(name=name, shape=(values.shape[1] // 32, 32)) for name, values in maps.items()]
    batch = Batch(
        rows=tuple(make_row(number) for number in range(n_rows)),
        layers={name: encode(values) for name, values in maps.items()},
    )
    write_store(tmp_path, [batch], layers)
    summary = info(tmp_path)["layers"]
    assert isinstance(summary, dict)
    for name in maps:
        entry = summary[name]
        assert isinstance(entry, dict)
        stored, reference = entry["bytes_stored"], reference_bytes(batch.layers[name])
        assert isinstance(stored, int)
        arrays = sum(f.stat().st_size for f in tmp_path.glob(f"*/obsm/{name}/*/c/**/*"))
        assert arrays <= reference + 200  # for indexes of shards
        # Metadata take some 1,700 bytes, whatever the number of rows.
        assert stored <= reference + 1900


def stored_bytes(folder: Path, maps: dict[str, npt.NDArray[np.float32]], **options: Any) -> Any:
    """Return the bytes that each layer's arrays take in a separate store."""
    layers = [Layer(name=name, shape=(rows.shape[1] // 32, 32)) for name, rows in maps.items()]
    batch = Batch(
        rows=tuple(make_row(number) for number in range(24)),
        layers={name: encode(rows) for name, rows in maps.items()},
    )
    write_store(folder, [batch], layers, **options)
    return {
        name: sum(f.stat().st_size for f in folder.glob(f"*/obsm/{name}/**/*") if f.is_file())
        for name in maps
    }


@pytest.mark.parametrize(
    ("values", "most"), [("float16", 0.6), ("bits:10", 0.68), ("bfloat16", 0.5), ("uint8", 0.4)]
)
def test_fewer_bits_take_fewer_bytes(tmp_path: Path, values: str, most: float) -> None:
    maps = {
        name: rows / np.float32(8) for name, rows in feature_maps().items()
    }  # within the range of float16
    stored = stored_bytes(tmp_path, maps, values=values)
    for name, rows in maps.items():
        assert stored[name] <= most * reference_bytes(encode(rows)), name


def test_linear_codes_take_a_third_of_float32(tmp_path: Path) -> None:
    """The share falls with density, because the positions of non-zeros cost the same."""
    maps, counted, scales = feature_maps(), {}, {}
    for name, rows in maps.items():
        positions = rows.reshape(-1, 32)
        # Scales of 8 bits, so that multiples of them are exact.
        scale = round_mantissa(np.maximum(positions.max(axis=0), 1) / 255, 7)
        scales[name] = ChannelScales(scales=scale)
        counted[name] = (np.rint(positions / scale).clip(0, 255) * scale).reshape(rows.shape)
    stored = stored_bytes(tmp_path, counted, scales=scales)
    parts = Store(tmp_path).parts
    for (name, rows), most in zip(maps.items(), (0.33, 0.33, 0.38), strict=True):
        assert parts[0].layers[name].values is not None
        assert stored[name] <= most * reference_bytes(encode(rows)), name


def test_features_of_a_network_are_compressed_as_expected(vgg16: Path, tmp_path: Path) -> None:
    """With only six images, metadata take a larger share than in large stores."""
    names = ("astronaut", "coffee", "chelsea", "rocket")
    photographs = [getattr(skimage.data, name)() for name in names]
    photographs += load_sample_images().images
    extractor = Extractor(vgg16, layers="pools")
    write_store(tmp_path, extractor.extract(photographs), [*extractor.layers.values()])
    store, summary = Store(tmp_path), info(tmp_path)["layers"]
    assert isinstance(summary, dict)
    assert len(store) == 6
    for name, layer in store.layers.items():
        entry = summary[name]
        assert isinstance(entry, dict)
        stored = entry["bytes_stored"]
        assert isinstance(stored, int)
        csr = encode(store[name].to_numpy().reshape(-1, layer.n_features))
        assert stored < reference_bytes(csr), name


def test_the_maps_have_as_many_zeros_as_a_network_s() -> None:
    zeros = [np.mean(values == 0) for values in feature_maps().values()]
    assert zeros == pytest.approx([0.22, 0.61, 0.9], abs=0.01)


def test_a_row_is_read_without_the_rest_of_the_layer(tmp_path: Path) -> None:
    layer = Layer(name="x", shape=(50_000,))
    rng = np.random.default_rng(0)
    values = np.where(rng.random((300, 50_000)) < 0.8, 0, rng.random((300, 50_000)))
    batch = make_batch(range(300), [layer], make=lambda *_: values.astype(np.float32))
    write_store(tmp_path, [batch], [layer], rows_per_part=150)
    everything = sum(f.stat().st_size for f in tmp_path.glob("parts/*/obsm/**/*") if f.is_file())
    store = Store(tmp_path)
    store["x"][0]  # row starts are cached from here on
    costs = {}
    for rows in (7, [7, 280], slice(40, 60), [20, 22, 24, 26, 28]):
        before = bytes_read()
        matrix = store["x"][rows]
        costs[str(rows)] = (bytes_read() - before) / everything
        expected = np.atleast_2d(values[rows]).astype(np.float32)
        np.testing.assert_array_equal(matrix.toarray(), expected)
    # Each part has 6 chunks of each kind; a row is in one or two of these 12.
    assert costs["7"] < 0.2
    assert costs["[7, 280]"] < 0.4
    assert costs["slice(40, 60, None)"] < 0.3
    assert costs["[20, 22, 24, 26, 28]"] < 0.2


def test_indices_are_int64_where_int32_is_too_narrow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = Layer(name="x", shape=(7200,))
    values = feature_maps()["block5"]
    write_store(tmp_path, [make_batch(range(24), [layer], make=lambda *_: values)], [layer])
    narrow = Store(tmp_path)["x"].to_scipy()
    # 2**31 elements would be 16 GB, so the limit is lowered instead.
    monkeypatch.setattr("sparsefeat.store.dataset.rows.INT32", narrow.nnz - 1)
    wide = Store(tmp_path)["x"].to_scipy()
    assert wide.indices.dtype == wide.indptr.dtype == np.int64
    assert Store(tmp_path)["x"][:23].indices.dtype == np.int32
    np.testing.assert_array_equal(wide.indices, narrow.indices)
    np.testing.assert_array_equal(wide.data, narrow.data)


@pytest.fixture
def traced() -> Iterator[None]:
    gc.collect()
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
def test_a_matrix_is_allocated_once(tmp_path: Path) -> None:
    layer = Layer(name="x", shape=(1_000_000,))
    rng = np.random.default_rng(0)
    row = np.where(rng.random((1, 1_000_000)) < 0.5, 0, rng.random((1, 1_000_000)))
    csr = encode(row.astype(np.float32))
    batches = [Batch(rows=(make_row(number),), layers={"x": csr}) for number in range(32)]
    write_store(tmp_path, batches, [layer], rows_per_part=8)
    store = Store(tmp_path)
    beyond = {}
    for n_rows in (8, 32):
        gc.collect()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        matrix = store["x"][:n_rows]
        peak = tracemalloc.get_traced_memory()[1] - before
        beyond[n_rows] = peak - 2 * matrix.data.nbytes
        assert 2 * matrix.data.nbytes > n_rows * 3.9e6
    # Some shards are in memory while they are read; a second copy would add 96 MB.
    assert beyond[32] < beyond[8] + 20e6


@pytest.mark.usefixtures("traced")
def test_a_growing_part_is_not_held_in_memory(tmp_path: Path) -> None:
    layer = Layer(name="block1_conv1", shape=(224, 224, 64))
    rng = np.random.default_rng(0)
    row = np.maximum(rng.standard_normal((1, layer.n_features), np.float32) + 1, 0)
    csr = encode(row)
    with StoreWriter.open(tmp_path, layers=[layer], settings={}, provenance={}) as writer:
        peaks = []
        for number in range(12):
            tracemalloc.reset_peak()
            writer.append(Batch(rows=(make_row(number),), layers={layer.name: csr}))
            peaks.append(tracemalloc.get_traced_memory()[1])
    assert len(Store(tmp_path).parts) == 1
    assert 12 * 8 * csr.nnz > 250e6
    # The number of compressed chunks that wait to be written depends on the machine's load.
    assert max(peaks[6:]) <= 1.25 * max(peaks[2:6])
    assert max(peaks) < 150e6


@pytest.mark.usefixtures("traced")
def test_a_thousand_batches_need_no_more_memory_than_a_hundred(tmp_path: Path) -> None:
    layer = Layer(name="x", shape=(7, 7, 64))
    values = feature_maps()["block5"][:1, : layer.n_features]
    csr = encode(np.ascontiguousarray(values))
    used = {}
    with StoreWriter.open(
        tmp_path, layers=[layer], settings={}, provenance={}, rows_per_part=100
    ) as writer:
        for number in range(1000):
            writer.append(Batch(rows=(make_row(number),), layers={"x": csr}))
            if number + 1 in (200, 1000):
                gc.collect()
                used[number + 1] = tracemalloc.get_traced_memory()[0]
    assert len(Store(tmp_path)) == 1000
    assert used[1000] - used[200] < 500_000
