from pathlib import Path

import numpy as np
import pytest

import sparsefeat
from sparsefeat.analysis import compare_scalings, scalings
from sparsefeat.errors import SourceError
from sparsefeat.images import Decoded, decode, list_images
from sparsefeat.types import RejectWarning


def test_shares_are_numpys(extractor: sparsefeat.Extractor, photos: Path) -> None:
    with pytest.warns(RejectWarning):
        found = compare_scalings(extractor, list_images([photos]))
    assert {(each.n_images, each.n_rejected, each.n_failed) for each in found} == {(4, 1, 0)}
    ways = scalings(extractor.scaling)
    assert [each.scaling for each in found] == list(ways)
    pixels = []
    for image in list_images([photos]):
        decoded = decode(image, extractor.preset, extractor.image_size)  # type: ignore[arg-type]
        if isinstance(decoded, Decoded):
            pixels.append(decoded.pixels)
    assert len(pixels) == 4
    for each in found:
        images = ways[each.scaling](np.stack(pixels))
        assert images.dtype == np.float32
        outputs = extractor.run(images, check=False)
        assert each.shares == {name: np.mean(x == 0) for name, x in outputs.items()}


def test_errors_and_what_is_noticed(extractor: sparsefeat.Extractor, photos: Path) -> None:
    right, *wrong = compare_scalings(extractor, [photos / "things" / "coffee.png"])
    assert set(right.relative_errors.values()) == {0.0}
    assert right.noticed == ""
    for each in wrong:
        assert min(each.relative_errors.values()) > 0.01
        # RGB less the means of BGR can't be told from right pixels.
        assert bool(each.noticed) == (each.scaling != "RGB minus means of BGR")


def test_rejects_are_warned_of(extractor: sparsefeat.Extractor, photos: Path) -> None:
    with pytest.warns(RejectWarning, match=r"1 image could not be read .*things/notes\.jpg"):
        (first, *_) = compare_scalings(extractor, photos)
    assert first.n_images == 4


def test_nothing_to_read(extractor: sparsefeat.Extractor, photos: Path) -> None:
    with pytest.raises(SourceError, match=r"no image could be read .*notes\.jpg: not an image"):
        compare_scalings(extractor, [photos / "things" / "notes.jpg"])
