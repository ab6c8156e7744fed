from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

import sparsefeat
from sparsefeat.bench.work import find_files, load_images, pass_length
from sparsefeat.errors import InputError, SourceError
from sparsefeat.types import RejectWarning


def test_shipped_images_are_always_the_same() -> None:
    images = load_images([], 12, size=(64, 48))
    assert images.array.shape == (12, 64, 48, 3)
    assert images.array.dtype == np.float32
    assert len(set(images.paths)) == 10
    assert np.array_equal(images.array[:2], images.array[10:])
    assert np.array_equal(images.array, load_images([], 12, size=(64, 48)).array)
    assert len({image.tobytes() for image in images.array}) == 10


def test_a_user_s_images_are_listed_as_for_extract(tmp_path: Path) -> None:
    Image.fromarray(data.coffee()).save(tmp_path / "b.png")
    Image.fromarray(data.rocket()).save(tmp_path / "c.png")
    (tmp_path / "a.jpg").write_text("no image")
    with pytest.warns(RejectWarning, match=r"1 image could not be read .*: a\.jpg: not an image"):
        images = load_images(str(tmp_path), 1, size=(32, 32), preprocess="bilinear")
    assert (images.paths, images.own) == (("b.png",), True)
    pixels = np.asarray(Image.fromarray(data.coffee()).resize((32, 32), Image.Resampling.BILINEAR))
    assert np.array_equal(images.array, sparsefeat.normalize(pixels[None]))


def test_no_usable_image_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no image")
    with pytest.raises(SourceError, match="found no image that can be read"):
        load_images([str(tmp_path)], 1, size=(32, 32))


def test_only_jpeg_files_in_colour_or_grey_are_used(tmp_path: Path) -> None:
    image = Image.fromarray(data.coffee())
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "b.jpg")
    image.convert("CMYK").save(tmp_path / "c.jpg")
    image.convert("L").save(tmp_path / "d.jpeg")
    (tmp_path / "e.jpg").write_bytes((tmp_path / "b.jpg").read_bytes()[:99])
    with pytest.warns(RejectWarning, match=r"e\.jpg"):
        found = find_files([str(tmp_path)], 9, size=(32, 32))
    with pytest.raises(InputError, match="got an image of type bytes"):
        find_files([b"JPEG"], 9, size=(32, 32))
    assert found.paths == ("b.jpg", "d.jpeg")
    b, d = str(tmp_path / "b.jpg"), str(tmp_path / "d.jpeg")
    assert found.repeated(5) == [b, d, b, d, b]
    assert find_files([str(tmp_path)], 1, size=(32, 32)).paths == ("b.jpg",)
    assert len(find_files([], 100, size=(32, 32)).files) == 10
    with pytest.raises(SourceError, match="no JPEG file in colour or grey"):
        find_files([str(tmp_path / "a.png")], 9, size=(32, 32))


def test_a_pass_consists_of_whole_batches() -> None:
    assert [pass_length(size) for size in (1, 3, 4, 8, 32)] == [16, 18, 16, 32, 128]
