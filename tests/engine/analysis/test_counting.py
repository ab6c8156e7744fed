from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import sparsefeat
from sparsefeat.analysis import (
    LayerZeros,
    compute_flatness,
    count_images,
    count_store,
    explain_last_stage,
    missing_stages,
)
from sparsefeat.errors import LayerError, StoreCorruptError
from sparsefeat.images import Decoded, decode, list_images
from sparsefeat.model import ModelFile, ModelLayer, choose_layers
from sparsefeat.types import Layer

from ..store.data import SMALL, dense_rows, make_batch, make_reject, part_folders, write_store

ROWS = 11


@pytest.fixture
def store(tmp_path: Path) -> sparsefeat.Store:
    """Eleven rows in three parts; `fc` is stored dense."""
    batches = [make_batch(range(start, min(start + 3, ROWS))) for start in range(0, ROWS, 3)]
    write_store(tmp_path / "store", batches, rows_per_part=5)
    return sparsefeat.open(tmp_path / "store")


def assert_counts(zeros: LayerZeros, layer: Layer, n_rows: int) -> None:
    """Compare with NumPy's counts of the dense rows."""
    x = dense_rows(layer, range(n_rows)).reshape(n_rows, -1, layer.n_channels)
    assert zeros.sparsity == np.mean(x == 0)
    assert zeros.per_row.tolist() == (x == 0).sum(axis=(1, 2)).tolist()
    assert zeros.per_channel.tolist() == (x == 0).sum(axis=(0, 1)).tolist()
    assert zeros.active_rows is not None
    assert zeros.active_rows.tolist() == (x != 0).any(axis=1).sum(axis=0).tolist()
    if len(layer.shape) == 1:
        assert zeros.per_position is None
        return
    assert zeros.per_position is not None
    assert zeros.per_position.shape == layer.shape[:2]
    assert zeros.per_position.ravel().tolist() == (x == 0).sum(axis=(0, 2)).tolist()


def test_counts_of_a_store_equal_numpy_s(store: sparsefeat.Store) -> None:
    assert store["fc"].is_dense
    found = count_store(store)
    assert list(found) == [layer.name for layer in SMALL]
    for layer in SMALL:
        assert_counts(found[layer.name], layer, ROWS)


def test_values_are_never_read_and_indices_only_for_positions(store: sparsefeat.Store) -> None:
    """Damaged values are not noticed, and damaged indices only when counting by position."""
    for folder in part_folders(Path(store.folder)):
        for chunk in (folder / "obsm/block5_pool/data").iterdir():
            chunk.write_bytes(b"damaged")
    progress: list[tuple[int, int, str]] = []
    found = count_store(store, progress=lambda *told: progress.append(told))
    for layer in SMALL:
        assert_counts(found[layer.name], layer, ROWS)
    assert [told[0] for told in progress] == [5, 10, 11, 16, 21, 22, 27, 32, 33]
    assert progress[-1] == (3 * ROWS, 3 * ROWS, "fc")

    for folder in part_folders(Path(store.folder)):
        for chunk in (folder / "obsm/block5_pool/indices").iterdir():
            chunk.write_bytes(b"damaged")
    with pytest.raises(StoreCorruptError):
        count_store(store, ["block5_pool"])
    found = count_store(store, ["block5_pool", "fc"], positions=False)
    zeros = found["block5_pool"]
    assert zeros.n_zeros == (dense_rows(SMALL[0], range(ROWS)) == 0).sum()
    assert zeros.per_position is None
    assert zeros.always_on is None
    assert found["fc"].always_on is not None, "a unit has one position: nothing else to count"


def test_a_store_without_rows_has_no_shares(tmp_path: Path) -> None:
    write_store(tmp_path / "store", [make_batch([], rejects=[make_reject(1)])])
    zeros = count_store(sparsefeat.open(tmp_path / "store"))["block5_pool"]
    assert zeros.sparsity is None
    assert zeros.spread.mean is None
    assert np.isnan(zeros.channel_sparsity).all()
    assert zeros.dead.size == zeros.never_zero.size == 0
    assert zeros.always_on is not None
    assert zeros.always_on.size == 0


def array(store: sparsefeat.Store, name: str) -> Any:
    """Open an array of the first part; what is written to it gets correct checksums."""
    return zarr.open_group(part_folders(Path(store.folder))[0], mode="r+")[name]


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")
def test_indices_out_of_order_are_damage(store: sparsefeat.Store) -> None:
    indices = array(store, "obsm/block5_pool/indices")
    indices[:2] = indices[:2][::-1]
    with pytest.raises(StoreCorruptError, match="block5_pool: row 0 of the Csr"):
        count_store(store, ["block5_pool"])


def test_an_unknown_layer_is_refused_with_the_nearest_name(store: sparsefeat.Store) -> None:
    with pytest.raises(LayerError, match="block5_pool"):
        count_store(store, ["block5_pol"])


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")
def test_contradictory_counts_are_damage(store: sparsefeat.Store) -> None:
    array(store, "uns/sparsefeat/zeros_per_channel/block5_pool")[:] = 1
    with pytest.raises(StoreCorruptError, match="zeros of block5_pool by channel"):
        count_store(store, ["block5_pool"])


def test_counts_of_images_equal_numpy_s(extractor: sparsefeat.Extractor, photos: Path) -> None:
    told: list[int] = []
    images = list_images([photos])
    found = count_images(extractor, images, progress=told.append)
    assert [row.path for row in found.rows] == [
        "animals/astronaut.png",
        "animals/chelsea.png",
        "things/coffee.png",
        "things/rocket.png",
    ]
    assert [reject.path for reject in found.rejects] == ["things/notes.jpg"]
    assert told[-1] == 5
    decoded = [decode(each, extractor.preset, extractor.image_size) for each in images]  # type: ignore[arg-type]
    pixels = [each.pixels for each in decoded if isinstance(each, Decoded)]
    assert found.flatness == tuple(map(compute_flatness, pixels))
    outputs = extractor.run(sparsefeat.normalize(np.stack(pixels)))
    assert list(found.counts) == list(outputs)
    for name, x in outputs.items():
        zeros = found.counts[name]
        assert zeros.sparsity == np.mean(x == 0)
        assert zeros.row_sparsity.tolist() == [np.mean(each == 0) for each in x]
        assert zeros.channel_sparsity.tolist() == np.mean(x == 0, axis=(0, 1, 2)).tolist()
        assert zeros.position_sparsity is not None
        assert zeros.position_sparsity.tolist() == np.mean(x == 0, axis=(0, 3)).tolist()
        assert zeros.active_rows is not None
        assert zeros.active_rows.tolist() == (x != 0).any(axis=(1, 2)).sum(axis=0).tolist()


def test_an_image_that_is_given_twice_counts_twice(
    extractor: sparsefeat.Extractor, photos: Path
) -> None:
    path = photos / "things" / "coffee.png"
    found = count_images(extractor, [path] * 5)
    assert len(found.flatness) == 5
    assert len(set(found.flatness)) == 1
    assert len(set(found.counts["block4_pool"].per_row.tolist())) == 1


def test_flatness_is_measured_only_on_request(
    extractor: sparsefeat.Extractor, photos: Path
) -> None:
    path = photos / "things" / "coffee.png"
    found = count_images(extractor, [path], flatness=False)
    assert (len(found.rows), found.flatness) == (1, ())
    assert not sparsefeat.analyse(path, extractor=extractor, flatness=False).has_flatness
    assert sparsefeat.analyse(path, extractor=extractor).has_flatness


def test_no_images_give_empty_counts(extractor: sparsefeat.Extractor) -> None:
    found = count_images(extractor, [])
    assert not found.rows
    assert not found.rejects
    assert found.counts["block4_pool"].sparsity is None


def test_stages_are_the_pools_and_dense_layers_of_the_model(
    small_vgg16: Path, small_vgg16_top: Path
) -> None:
    layers = ModelFile.open(small_vgg16_top).metadata.layers
    whole = choose_layers("stages", layers)
    assert whole[5:] == ("fc1", "fc2")
    assert missing_stages(whole) == []
    assert explain_last_stage(layers) is None
    base = ModelFile.open(small_vgg16).metadata.layers
    assert choose_layers("stages", base) == whole[:5]
    assert missing_stages(whole[:5]) == ["layers after block5_pool"]
    assert missing_stages(whole[1:]) == ["block1_pool"]
    assert explain_last_stage(base) == "the model was exported without its top"


def test_the_hidden_layers_of_another_top_are_stages(small_vgg16: Path) -> None:
    base = ModelFile.open(small_vgg16).metadata.layers

    def layer(name: str, kind: str, *, rectified: bool = False) -> ModelLayer:
        return ModelLayer(name=name, kind=kind, shape=(8,), rectified=rectified)

    gap, classes = layer("gap", "global_average_pooling2d"), layer("classes", "dense")
    hidden = layer("hidden", "dense"), layer("rectify", "re_lu", rectified=True)
    layers = (*base, gap, *hidden, layer("drop", "dropout"), classes)
    assert choose_layers("stages", layers)[5:] == ("hidden", "rectify")
    assert explain_last_stage(layers) is None
    said = explain_last_stage((*base, gap, classes))
    assert said == "none of the layers after it (gap, classes) is a hidden layer"
