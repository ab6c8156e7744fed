"""Kinds of inputs, their results, and decoding in many threads."""

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from sparsefeat.errors import InputError
from sparsefeat.images import PRESETS, Decoded, decode, find_image
from sparsefeat.types import Reject, Row

KERAS = PRESETS["keras"]


@pytest.fixture(scope="module")
def content(photographs: dict[str, Image.Image]) -> bytes:
    stream = io.BytesIO()
    photographs["chelsea"].save(stream, "PNG")
    return stream.getvalue()


def decoded(image: Any, **options: Any) -> Decoded:
    result = decode(image, KERAS, (100, 80), **options)
    assert isinstance(result, Decoded)
    return result


def test_a_file_may_be_named_as_text_path_or_source(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "cats" / "100%.png"
    file.parent.mkdir()
    file.write_bytes(content)
    source = find_image(file, root=str(tmp_path))
    result = decoded(source)
    assert result.row == Row(
        path="cats/100%25.png",
        root=str(tmp_path),
        label="cats",
        bytes=len(content),
        mtime_ns=file.stat().st_mtime_ns,
        sha256=hashlib.sha256(content).hexdigest(),
        width=451,
        height=300,
        format="PNG",
    )
    for path in (file, str(file)):
        again = decoded(path)
        assert np.array_equal(again.pixels, result.pixels)
        assert again.row.path.endswith("cats/100%25.png")


def test_bytes_images_and_arrays_give_the_same_pixels(content: bytes) -> None:
    from_bytes = decoded(content, name="50% cat")
    assert (from_bytes.row.path, from_bytes.row.root, from_bytes.row.label) == ("50%25 cat", "", "")
    assert from_bytes.row.bytes == len(content)
    opened = Image.open(io.BytesIO(content))
    array = np.asarray(opened)
    from_image, from_array = decoded(opened), decoded(array)
    assert np.array_equal(from_image.pixels, from_bytes.pixels)
    assert np.array_equal(from_array.pixels, from_bytes.pixels)
    assert from_array.row.sha256 == hashlib.sha256(array.tobytes()).hexdigest()
    assert from_image.row.sha256 == from_array.row.sha256
    assert [each.row.format for each in (from_bytes, from_image, from_array)] == [
        "PNG",
        "PNG",
        "array",
    ]
    assert {(each.row.width, each.row.height) for each in (from_image, from_array)} == {(451, 300)}


def test_a_loaded_tiff_image_keeps_its_pixels(photographs: dict[str, Image.Image]) -> None:
    stream = io.BytesIO()
    photographs["coffee"].save(stream, "TIFF")
    image = Image.open(stream)
    image.load()
    expected = decoded(photographs["coffee"]).pixels
    assert np.array_equal(decoded(image).pixels, expected)
    assert np.array_equal(decoded(image).pixels, expected)


def test_arrays_of_any_height_and_width(photographs: dict[str, Image.Image]) -> None:
    grey = np.asarray(photographs["coffee"].convert("L"))
    expected = decoded(np.stack([grey] * 3, axis=2)).pixels
    assert np.array_equal(decoded(grey).pixels, expected)
    assert np.array_equal(decoded(grey[..., None]).pixels, expected)
    opaque = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
    assert np.array_equal(decoded(opaque).pixels, expected)
    assert decoded(opaque).notes == frozenset()
    backwards = np.ascontiguousarray(grey[::-1])[::-1]
    assert np.array_equal(decoded(backwards).pixels, expected)
    assert decoded(backwards).row.sha256 == decoded(grey).row.sha256


def test_pixels_are_copied_from_the_caller_s_arrays() -> None:
    array = np.zeros((100, 80, 3), np.uint8)
    result = decoded(array)
    array[:] = 255
    assert result.pixels.max() == 0


def test_an_array_without_pixels_is_a_reject() -> None:
    result = decode(np.zeros((0, 5, 3), np.uint8), KERAS, (32, 32))
    assert isinstance(result, Reject)
    assert result.reason == "the image has no pixels"


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint16),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
    ],
)
def test_wrong_arrays_are_an_input_error(array: npt.NDArray[Any]) -> None:
    with pytest.raises(InputError, match="expected uint8"):
        decode(array, KERAS, (32, 32))


@pytest.mark.parametrize("image", [None, 7, ["a.jpg"], io.BytesIO()])
def test_wrong_types_are_an_input_error(image: Any) -> None:
    with pytest.raises(InputError, match="expected a path, bytes"):
        decode(image, KERAS, (32, 32))


@pytest.mark.parametrize("size", [(0, 5), (5, -1), (5.0, 5.0), (5,), 5, (1, 2, 3)])
def test_wrong_sizes_are_an_input_error(size: Any) -> None:
    with pytest.raises(InputError, match="two positive integers"):
        decode(np.zeros((4, 4), np.uint8), KERAS, size)


def test_rejects_have_size_time_and_digest_as_far_as_known(tmp_path: Path) -> None:
    file = tmp_path / "words.jpg"
    file.write_text("words")
    result = decode(file, KERAS, (32, 32))
    assert isinstance(result, Reject)
    assert result.reason == "not an image"
    assert result.sha256 == hashlib.sha256(b"words").hexdigest()
    assert (result.bytes, result.mtime_ns) == (5, file.stat().st_mtime_ns)
    gone = decode(tmp_path / "gone", KERAS, (32, 32))
    assert isinstance(gone, Reject)
    assert (gone.reason, gone.sha256) == ("no such file", "")


def test_many_threads_give_the_results_of_one(
    photographs: dict[str, Image.Image], tmp_path: Path
) -> None:
    files = []
    for picture_format in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"):
        for name, photograph in photographs.items():
            file = tmp_path / f"{name}.{picture_format}"
            photograph.resize((200, 150)).save(file, picture_format)
            files.append(file)
    (tmp_path / "broken").write_bytes(files[0].read_bytes()[:2000])
    files.append(tmp_path / "broken")
    work = [(file, preset) for preset in PRESETS.values() for file in files] * 2

    def outcome(job: tuple[Path, Any]) -> tuple[Any, bytes]:
        result = decode(job[0], job[1], (224, 224))
        if isinstance(result, Reject):
            return result, b""
        return result.row, result.pixels.tobytes()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(outcome, work)) == list(map(outcome, work))
