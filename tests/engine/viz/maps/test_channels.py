from pathlib import Path
from statistics import fmean, pvariance
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from skimage import data

import sparsefeat
from sparsefeat.errors import InputError, LayerError, SourceError, StoreMismatchError
from sparsefeat.images import list_images
from sparsefeat.pipeline.extractor import Extractor
from sparsefeat.types import RejectWarning
from sparsefeat.viz.maps.channels import (
    channel_means,
    contrast,
    energy,
    parse_channels,
    selectivity,
    variance,
)

SCORES = np.array([1.0, 5.0, 3.0, 5.0, 0.0])


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("all", [0, 1, 2, 3, 4]),
        ("3", [3]),
        ("3,1,4", [3, 1, 4]),
        ("1-3", [1, 2, 3]),
        (" 4 , 0-1 ", [4, 0, 1]),
        ("2,2,1-2", [2, 1]),
        (2, [2]),
        (np.int64(2), [2]),
        ([4, 0], [4, 0]),
        (np.array([4, 0]), [4, 0]),
        (range(2), [0, 1]),
    ],
)
def test_numbers_and_ranges_choose_channels(written: str, meant: list[int]) -> None:
    picked = parse_channels(written).choose(5, None)
    assert picked.dtype == np.int64
    assert picked.tolist() == meant


def test_the_best_channels_come_first_and_ties_by_number() -> None:
    assert parse_channels("top:3").choose(5, SCORES).tolist() == [1, 3, 2]
    assert parse_channels("all").choose(5, SCORES).tolist() == [1, 3, 2, 0, 4]
    assert parse_channels("4,2").choose(5, SCORES).tolist() == [2, 4]


@pytest.mark.parametrize("written", ["", "x", "1,", "-1", "5-3", "top:", "top:x", "1.5", "1-2-3"])
def test_invalid_text_is_refused(written: str) -> None:
    with pytest.raises(InputError, match="channels"):
        parse_channels(written)


@pytest.mark.parametrize("given", [None, b"12", {1: 2}, 1.5, [1.5], [[1]], np.zeros((2, 2))])
def test_wrong_types_are_refused(given: Any) -> None:
    with pytest.raises(InputError, match="channels"):
        parse_channels(given)


def test_numbers_may_come_in_any_container() -> None:
    for given in ([3, 1], (3, 1), np.array([3, 1]), (n for n in (3, 1)), np.int64(3), 3):
        assert parse_channels(given).choose(5, None).tolist() in ([3, 1], [3])  # type: ignore[arg-type]


@pytest.mark.parametrize(("written", "says"), [("5", "0 to 4"), ("top:6", "top:5"), ("top:0", "1")])
def test_missing_channels_are_refused(written: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_channels(written).choose(5, SCORES)


@pytest.fixture
def some() -> npt.NDArray[np.float32]:
    """Draw maps of four channels, with most of the energy in a few peaks."""
    return np.random.default_rng(3).gamma(0.3, 50.0, (5, 7, 4)).astype(np.float32)


def test_energy_and_variance_equal_numpy_s(some: npt.NDArray[np.float32]) -> None:
    for channel in range(4):
        one = some[..., channel].ravel().tolist()
        assert energy(some)[channel] == pytest.approx(fmean(n * n for n in one), rel=1e-12)
        assert variance(some)[channel] == pytest.approx(pvariance(one), rel=1e-12)


def test_contrast_is_the_mean_difference_of_neighbours(some: npt.NDArray[np.float32]) -> None:
    for channel in range(4):
        one = some[..., channel].tolist()
        steps = [abs(one[r][c] - one[r + 1][c]) for r in range(4) for c in range(7)]
        steps += [abs(one[r][c] - one[r][c + 1]) for r in range(5) for c in range(6)]
        assert contrast(some)[channel] == pytest.approx(fmean(steps), rel=1e-12)
    assert contrast(some[:1, :1]).tolist() == [0.0] * 4


def test_an_edge_has_more_contrast_than_a_slope() -> None:
    ramp = np.linspace(0, 1, 8, dtype=np.float32) * np.ones((8, 1), np.float32)
    stripes = np.tile(np.array([0, 1], np.float32), (8, 4))
    there = contrast(np.stack([ramp, stripes], axis=-1))
    assert there[1] > 5 * there[0]


def test_selectivity_is_the_damped_contrast_index(some: npt.NDArray[np.float32]) -> None:
    reference: npt.NDArray[np.float64] = np.array([10.0, 0.0, 20.0, 5.0])
    got = selectivity(some, reference)
    for channel in range(4):
        here = fmean(some[..., channel].ravel().tolist())
        there = reference[channel]
        assert got[channel] == pytest.approx((here - there) / (here + there + 35 / 4), rel=1e-12)
    silent = np.zeros((2, 2, 4), np.float32)
    assert selectivity(silent, np.zeros(4)).tolist() == [0.0] * 4
    # Damping: a faint channel that is zero elsewhere isn't more selective than a strong, rare one.
    both = np.array([[[1e-3, 100.0]]], np.float32)
    whisper, shout = selectivity(both, np.array([0.0, 20.0]))
    assert whisper < 0.001 < shout


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
    sparsefeat.extract(list_images([photos]), folder, model=extractor, rows_per_part=2)
    return folder


def test_a_store_and_its_images_have_the_same_means(extractor: Extractor, photos: Path) -> None:
    folder = store(extractor, photos, photos.parent / "features")
    expected = sparsefeat.open(folder)[LAYER].to_numpy().mean(axis=(0, 1, 2), dtype=np.float64)
    for reference in (folder, photos, f"{photos}/*.png"):
        got = channel_means(extractor, reference)
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_maps_are_ranked_by_selectivity(extractor: Extractor, photos: Path) -> None:
    cat = photos.parent / "cat.png"
    Image.fromarray(data.chelsea()).save(cat)
    maps = sparsefeat.maps(extractor, cat, channels="top:3", best="selectivity", reference=photos)
    whole = sparsefeat.maps(extractor, cat)
    scores = selectivity(whole.post, channel_means(extractor, photos))
    assert maps.channels.tolist() == sorted(range(8), key=lambda n: -scores[n])[:3]
    assert maps.scores is not None
    assert maps.scores.tolist() == scores[maps.channels].tolist()


def test_a_reference_with_another_layer_or_settings_is_refused(
    extractor: Extractor, photos: Path, small_vgg16: Path
) -> None:
    folder = store(extractor, photos, photos.parent / "features")
    other = Extractor(small_vgg16, "block1_pool", size=(64, 96))
    with pytest.raises(LayerError, match="no layer block1_pool, it has block2_pool"):
        channel_means(other, folder)
    larger = Extractor(small_vgg16, LAYER, size=(96, 96))
    with pytest.raises(StoreMismatchError, match="size"):
        channel_means(larger, folder)


def test_a_missing_or_empty_reference_is_refused(extractor: Extractor, tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        channel_means(extractor, tmp_path / "none")
    (tmp_path / "notes.jpg").write_text("no image")
    with (
        pytest.warns(RejectWarning, match=r"notes\.jpg: not an image"),
        pytest.raises(SourceError, match="no image of the reference could be read"),
    ):
        channel_means(extractor, tmp_path)
