from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import sparsefeat
from sparsefeat import InputError, LayerError, RejectWarning
from sparsefeat.images import list_images
from sparsefeat.store import is_store


def test_a_store_and_its_photographs_give_the_same_figures(
    extractor: sparsefeat.Extractor, store: sparsefeat.Store, photos: Path
) -> None:
    ours = sparsefeat.analyse(store, flatness=True)
    with pytest.warns(RejectWarning, match="1 image could not be read"):
        theirs = sparsefeat.analyse(photos, extractor=extractor)
    assert len(store.parts) > 1
    assert ours.settings == theirs.settings
    pd.testing.assert_frame_equal(ours.layers, theirs.layers, check_exact=True)
    text = {"path": str, "label": str}  # a store's may be Arrow's
    pd.testing.assert_frame_equal(
        ours.images.reset_index(drop=True).astype(text),
        theirs.images.astype(text),
        check_exact=True,
    )
    for name in ours.counts:
        pd.testing.assert_frame_equal(ours.channels(name), theirs.channels(name), check_exact=True)
        pd.testing.assert_frame_equal(
            ours.positions(name), theirs.positions(name), check_exact=True
        )
    ours_json, theirs_json = ours.to_json(), theirs.to_json()
    assert ours_json.pop("source") != theirs_json.pop("source")
    assert ours_json == theirs_json
    assert ours.rejects[0].path == "things/notes.jpg"


def test_images_may_come_from_a_generator(extractor: sparsefeat.Extractor, photos: Path) -> None:
    told: list[tuple[int, int, str]] = []
    images = (photos / "things" / name for name in ("coffee.png", "rocket.png"))
    found = sparsefeat.analyse(images, extractor=extractor, progress=lambda *now: told.append(now))
    assert found.n_images == 2
    assert told[-1] == (2, 2, "")
    with pytest.raises(InputError, match=r"expected several images"):
        sparsefeat.analyse(np.zeros((64, 64, 3), np.uint8), extractor=extractor)


def test_a_pooled_store_has_no_positions(small_vgg16: Path, photos: Path, tmp_path: Path) -> None:
    extractor = sparsefeat.Extractor(small_vgg16, "block5_conv3", pool="max", size=(64, 64))
    sparsefeat.extract(list_images([photos]), tmp_path / "features", model=extractor)
    found = sparsefeat.analyse(tmp_path / "features")
    x = sparsefeat.open(tmp_path / "features")["block5_conv3"].to_numpy()
    assert found.layers.loc["block5_conv3", "zeros"] == np.mean(x == 0)
    assert found.layers.loc["block5_conv3", "always_on"] == (x != 0).all(axis=0).sum()
    with pytest.raises(LayerError, match="has no positions"):
        found.positions("block5_conv3")


def test_layers_with_and_without_positions_are_counted(small_vgg16_top: Path, photos: Path) -> None:
    extractor = sparsefeat.Extractor(small_vgg16_top, "stages")
    with pytest.warns(RejectWarning):
        found = sparsefeat.analyse(photos / "things", extractor=extractor)
    names = [*(f"block{block}_pool" for block in range(1, 6)), "fc1", "fc2"]
    assert list(found.layers.index) == names
    batches = list(extractor.extract(photos / "things", errors="ignore"))
    for name in names:
        zeros = sum(batch.layers[name].n_columns * len(batch.rows) for batch in batches)
        zeros -= sum(batch.layers[name].nnz for batch in batches)
        assert found.counts[name].n_zeros == zeros
    assert found.counts["fc2"].per_position is None
    assert found.counts["fc2"].always_on is not None


def test_without_positions_only_recorded_counts_are_given(store: sparsefeat.Store) -> None:
    found = sparsefeat.analyse(store, "block4_pool", positions=False)
    assert list(found.counts) == ["block4_pool"]
    assert not found.has_flatness
    assert found.correlations() == {}
    assert found.layers["always_on"].isna().all()
    with pytest.raises(LayerError, match="wasn't counted by position"):
        found.positions("block4_pool")
    with pytest.raises(LayerError, match="'fc1' wasn't counted"):
        found.channels("fc1")


def test_flatness_of_missing_or_changed_images_is_unknown(
    extractor: sparsefeat.Extractor, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in "abc":
        array = rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)
        Image.fromarray(array).save(photos / f"{name}.png")
    sparsefeat.extract(list_images([photos]), tmp_path / "features", model=extractor)
    (photos / "a.png").unlink()
    (photos / "b.png").write_bytes((photos / "c.png").read_bytes())
    found = sparsefeat.analyse(tmp_path / "features", flatness=True)
    assert found.images["flat_share"].isna().tolist() == [True, True, False]
    facts = found.to_json(channels=False, positions=False)
    assert [each["flat_share"] is None for each in facts["images"]] == [True, True, False]
    reasons = {"no such file": 1, "the file changed since it was stored": 1}
    assert found.unmeasured == facts["flatness_unmeasured"] == reasons
    (tmp_path / "moved").mkdir()
    (photos / "c.png").rename(tmp_path / "moved" / "c.png")
    moved = sparsefeat.analyse(
        tmp_path / "features", flatness=True, images=tmp_path / "moved"
    ).images
    assert moved["flat_share"].isna().tolist() == [True, True, False]
    assert moved["flat_share"].iloc[2] == found.images["flat_share"].iloc[2]


def test_a_store_with_unknown_preprocessing_is_refused(store: sparsefeat.Store) -> None:
    other = sparsefeat.open(store.folder)
    other.settings = {**other.settings, "preprocess": {"name": "keras", "version": 99}}
    with pytest.raises(InputError, match="preprocessing 'keras'"):
        sparsefeat.analyse(other, flatness=True)


def test_wrong_arguments_are_refused(
    extractor: sparsefeat.Extractor, store: sparsefeat.Store, photos: Path
) -> None:
    with pytest.raises(InputError, match="no extractor"):
        sparsefeat.analyse(photos)
    with pytest.raises(InputError, match="is a store"):
        sparsefeat.analyse(store.folder, extractor=extractor)
    with pytest.raises(InputError, match="pass layers to the Extractor"):
        sparsefeat.analyse(photos, "block4_pool", extractor=extractor)
    with pytest.raises(InputError, match="pass flatness=True"):
        sparsefeat.analyse(store, images=photos)
    with pytest.raises(InputError, match="leave it out if source is not a store"):
        sparsefeat.analyse(photos, extractor=extractor, images=photos)
    with pytest.raises(LayerError, match="no layer 'fc1'"):
        sparsefeat.analyse(store, "fc1")


def test_stores_are_told_from_other_folders(store: sparsefeat.Store, photos: Path) -> None:
    assert is_store(store.folder)
    assert is_store(str(store.folder))
    assert not any(map(is_store, (photos, "nowhere", photos / "things" / "coffee.png", [photos])))
