from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

import sparsefeat
from sparsefeat.errors import LayerError, SourceError, StoreMismatchError
from sparsefeat.images import list_pictures
from sparsefeat.pipeline.extractor import Extractor
from sparsefeat.store.part.read import Part
from sparsefeat.types import RejectWarning
from sparsefeat.viz.maps.criteria import selectivity
from sparsefeat.viz.maps.reference import channel_means
from sparsefeat_kernels import Csr

LAYER = "block2_pool"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("coffee", "rocket", "astronaut"):
        Image.fromarray(getattr(data, name)()).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def extractor(small_vgg16: Path) -> Extractor:
    return Extractor(small_vgg16, LAYER, size=(64, 96))


def store(extractor: Extractor, photos: Path, folder: Path) -> Path:
    sparsefeat.extract_to_store(extractor, list_pictures([photos]), folder, rows_per_part=2)
    return folder


def test_a_store_and_its_photographs_mean_the_same(extractor: Extractor, photos: Path) -> None:
    folder = store(extractor, photos, photos.parent / "features")
    expected = sparsefeat.open(folder).dense(LAYER).mean(axis=(0, 1, 2), dtype=np.float64)
    for reference in (folder, photos, f"{photos}/*.png"):
        got = channel_means(extractor, reference)
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_a_store_is_read_by_elements_and_not_by_rows(
    extractor: Extractor, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = photos.parent / "features"
    sparsefeat.extract_to_store(extractor, list_pictures([photos]), folder)
    expected = channel_means(extractor, folder)
    read = Part.rows
    stretches: list[tuple[int, int]] = []

    def rows(part: Part, layer: str, start: int, stop: int) -> Csr:
        stretches.append((start, stop))
        return read(part, layer, start, stop)

    monkeypatch.setattr(Part, "rows", rows)
    assert channel_means(extractor, folder).tolist() == expected.tolist()
    assert stretches == [(0, 3)]
    stretches.clear()
    monkeypatch.setattr("sparsefeat.viz.maps.reference.SHARD", 100)  # less than a row has
    np.testing.assert_allclose(channel_means(extractor, folder), expected, rtol=1e-12)
    assert stretches == [(0, 1), (1, 2), (2, 3)]


def test_selectivity_of_maps(extractor: Extractor, photos: Path) -> None:
    cat = photos.parent / "cat.png"
    Image.fromarray(data.chelsea()).save(cat)
    maps = sparsefeat.maps(extractor, cat, channels="top:3", best="selectivity", reference=photos)
    whole = sparsefeat.maps(extractor, cat)
    scores = selectivity(whole.post, channel_means(extractor, photos))
    assert maps.channels.tolist() == sorted(range(8), key=lambda n: -scores[n])[:3]
    assert maps.scores is not None
    assert maps.scores.tolist() == scores[maps.channels].tolist()


def test_another_layer_or_other_settings(
    extractor: Extractor, photos: Path, small_vgg16: Path
) -> None:
    folder = store(extractor, photos, photos.parent / "features")
    other = Extractor(small_vgg16, "block1_pool", size=(64, 96))
    with pytest.raises(LayerError, match="no layer block1_pool, it holds block2_pool"):
        channel_means(other, folder)
    larger = Extractor(small_vgg16, LAYER, size=(96, 96))
    with pytest.raises(StoreMismatchError, match="size"):
        channel_means(larger, folder)


def test_nothing_to_refer_to(extractor: Extractor, tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        channel_means(extractor, tmp_path / "none")
    (tmp_path / "notes.jpg").write_text("no picture")
    with (
        pytest.warns(RejectWarning, match=r"notes\.jpg: not a picture"),
        pytest.raises(SourceError, match="the reference has no photograph"),
    ):
        channel_means(extractor, tmp_path)
