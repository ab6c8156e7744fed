from pathlib import Path

import numpy as np
import pytest

import sparsefeat
from sparsefeat.analysis import Flatness, count_pictures, flatness_of
from sparsefeat.images import list_pictures
from sparsefeat.images.decode import Decoded, decode


def test_counts_are_numpys_on_the_dense_activations(
    extractor: sparsefeat.Extractor, photos: Path
) -> None:
    told: list[int] = []
    pictures = list_pictures([photos])
    found = count_pictures(extractor, pictures, report=told.append)
    assert [row.path for row in found.rows] == [
        "animals/astronaut.png",
        "animals/chelsea.png",
        "things/coffee.png",
        "things/rocket.png",
    ]
    assert [reject.path for reject in found.rejects] == ["things/notes.jpg"]
    assert told[-1] == 5
    decoded = [decode(each, extractor.preset, extractor.picture_size) for each in pictures]  # type: ignore[arg-type]
    pixels = [each.pixels for each in decoded if isinstance(each, Decoded)]
    assert found.flatness == tuple(map(flatness_of, pixels))
    outputs = extractor.run(sparsefeat.normalize(np.stack(pixels)))
    assert list(found.counts) == list(outputs)
    for name, x in outputs.items():
        zeros = found.counts[name]
        assert zeros.share == np.mean(x == 0)
        assert zeros.row_shares.tolist() == [np.mean(each == 0) for each in x]
        assert zeros.channel_shares.tolist() == np.mean(x == 0, axis=(0, 1, 2)).tolist()
        assert zeros.position_shares is not None
        assert zeros.position_shares.tolist() == np.mean(x == 0, axis=(0, 3)).tolist()
        assert zeros.active_rows is not None
        assert zeros.active_rows.tolist() == (x != 0).any(axis=(1, 2)).sum(axis=0).tolist()


def test_the_same_picture_twice(extractor: sparsefeat.Extractor, photos: Path) -> None:
    path = photos / "things" / "coffee.png"
    found = count_pictures(extractor, [path] * 5)
    assert len(found.flatness) == 5
    assert len(set(found.flatness)) == 1
    assert len(set(found.counts["block4_pool"].per_row.tolist())) == 1


def test_flatness_that_nobody_asked_for_is_not_measured(
    extractor: sparsefeat.Extractor, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = photos / "things" / "coffee.png"
    measured: list[object] = []

    def measure(pixels: np.ndarray) -> Flatness:
        measured.append(pixels)
        return flatness_of(pixels)

    monkeypatch.setattr("sparsefeat.analysis.from_pictures.flatness_of", measure)
    found = count_pictures(extractor, [path], flatness=False)
    assert (len(found.rows), found.flatness, measured) == (1, (), [])
    without = sparsefeat.analyse(path, extractor=extractor, flatness=False)
    assert not without.has_flatness
    assert not measured
    assert sparsefeat.analyse(path, extractor=extractor).has_flatness
    assert len(measured) == 1


def test_no_pictures_at_all(extractor: sparsefeat.Extractor) -> None:
    found = count_pictures(extractor, [])
    assert not found.rows
    assert not found.rejects
    assert found.counts["block4_pool"].share is None
