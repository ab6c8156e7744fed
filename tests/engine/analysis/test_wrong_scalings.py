from pathlib import Path

import numpy as np
import pytest

import sparsefeat
from sparsefeat.analysis import compare_scalings, scalings
from sparsefeat.errors import SourceError
from sparsefeat.images import Decoded, decode, list_images
from sparsefeat.types import RejectWarning


def test_shares_of_each_scaling_equal_numpy_s(
    extractor: sparsefeat.Extractor, photos: Path
) -> None:
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


def test_each_wrong_scaling_has_an_error_and_most_are_noticed(
    extractor: sparsefeat.Extractor, photos: Path
) -> None:
    right, *wrong = compare_scalings(extractor, [photos / "things" / "coffee.png"])
    assert set(right.relative_errors.values()) == {0.0}
    assert right.noticed == ""
    for each in wrong:
        assert min(each.relative_errors.values()) > 0.01
        # RGB minus the means of BGR can't be distinguished from correct pixels.
        assert bool(each.noticed) == (each.scaling != "RGB minus means of BGR")


def test_rejects_give_a_warning(extractor: sparsefeat.Extractor, photos: Path) -> None:
    with pytest.warns(RejectWarning, match=r"1 image could not be read .*things/notes\.jpg"):
        (first, *_) = compare_scalings(extractor, photos)
    assert first.n_images == 4


def test_no_readable_image_is_an_error(extractor: sparsefeat.Extractor, photos: Path) -> None:
    with pytest.raises(SourceError, match=r"no image could be read .*notes\.jpg: not an image"):
        compare_scalings(extractor, [photos / "things" / "notes.jpg"])
