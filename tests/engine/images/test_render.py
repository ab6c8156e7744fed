"""What the honouring presets do with orientation, depth and transparency."""

import dataclasses
import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps, JpegImagePlugin

from sparsefeat.images.decode import Decoded, decode
from sparsefeat.images.opening import open_picture
from sparsefeat.images.presets import PRESETS
from sparsefeat.images.render import upright_size

HONEST = ["bilinear", "bicubic", "crop"]


def decoded(picture: Image.Image | bytes, preset: str, size: tuple[int, int]) -> Decoded:
    result = decode(picture, PRESETS[preset], size)
    assert isinstance(result, Decoded)
    assert result.pixels.dtype == np.uint8
    assert result.pixels.shape == (*size, 3)
    assert result.pixels.flags.c_contiguous
    return result


def saved(picture: Image.Image, picture_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, picture_format, **options)
    return stream.getvalue()


def turned(picture: Image.Image, orientation: int, picture_format: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if picture_format == "WEBP" else {}
    return saved(picture, picture_format, exif=exif.tobytes(), **lossless)


@pytest.mark.parametrize("picture_format", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("preset", HONEST)
def test_orientation_is_honoured(
    preset: str,
    orientation: int,
    picture_format: str,
    photographs: dict[str, Image.Image],
) -> None:
    small = photographs["chelsea"].resize((90, 60))
    content = turned(small, orientation, picture_format)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    expected = decoded(upright, preset, (48, 64)).pixels
    got = decoded(content, preset, (48, 64))
    assert np.array_equal(got.pixels, expected)
    # Pillow turns a TIFF itself, for Keras as well: nothing to note.
    noted = orientation > 1 and picture_format != "TIFF"
    assert ("exif-orientation" in got.notes) == noted
    assert (got.row.width, got.row.height) == (90, 60)


@pytest.mark.parametrize("picture_format", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_once_upright_is_known_before_decoding(
    orientation: int, picture_format: str
) -> None:
    content = turned(Image.new("RGB", (90, 60)), orientation, picture_format)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    opened = open_picture(io.BytesIO(content), 10_000)
    assert upright_size(opened) == upright.size


def test_keras_ignores_orientation_and_says_so(photographs: dict[str, Image.Image]) -> None:
    content = turned(photographs["chelsea"], 6, "PNG")
    got = decoded(content, "keras", (300, 451))
    assert np.array_equal(got.pixels, np.asarray(photographs["chelsea"]))
    assert got.notes == {"exif-orientation"}


def test_damaged_exif_is_no_orientation(photographs: dict[str, Image.Image]) -> None:
    content = saved(photographs["coffee"], "JPEG", exif=b"Exif\0\0no such thing")
    assert decoded(content, "bilinear", (64, 64)).notes == frozenset()


def ramp() -> npt.NDArray[np.uint16]:
    return np.arange(0, 65536, dtype=np.uint16).reshape(256, 256)


SIXTEEN = {
    "png": saved(Image.fromarray(ramp()), "PNG"),
    "tiff": saved(Image.fromarray(ramp()), "TIFF"),
    "tiff-big-endian": saved(
        Image.frombytes("I;16B", (256, 256), ramp().astype(">u2").tobytes()), "TIFF"
    ),
    "tiff-integers": saved(Image.fromarray(ramp().astype(np.int32)), "TIFF"),
    "pgm": saved(Image.fromarray(ramp().astype(np.int32)), "PPM"),
}


@pytest.mark.parametrize("kind", SIXTEEN)
def test_sixteen_bits_are_scaled(kind: str) -> None:
    got = decoded(SIXTEEN[kind], "bilinear", (256, 256))
    expected = np.rint(ramp() / 257).astype(np.uint8)
    assert all(np.array_equal(got.pixels[..., channel], expected) for channel in range(3))
    assert got.notes == {"sixteen-bit"}
    saturated = decoded(SIXTEEN[kind], "keras", (256, 256))
    assert np.array_equal(saturated.pixels[..., 0], np.minimum(ramp(), 255))
    assert saturated.notes == {"sixteen-bit"}


def test_thirty_two_bits_that_fit_in_eight_are_taken_as_eight() -> None:
    levels = np.arange(256, dtype=np.int32).reshape(16, 16)
    got = decoded(saved(Image.fromarray(levels), "TIFF"), "bilinear", (16, 16))
    assert np.array_equal(got.pixels[..., 1], levels)
    assert got.notes == frozenset()


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_floats_are_taken_as_shares_or_levels(top: float) -> None:
    shares = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    got = decoded(saved(Image.fromarray(shares * np.float32(top)), "TIFF"), "bilinear", (8, 8))
    assert np.array_equal(got.pixels[..., 2], np.rint(shares * 255))
    assert got.notes == {"float"}


def test_floats_out_of_range_and_not_numbers() -> None:
    levels = np.array([[np.nan, np.inf, -np.inf, -5.0, 300.0, 7.0]], np.float32)
    got = decoded(saved(Image.fromarray(levels), "TIFF"), "bilinear", (1, 6))
    assert got.pixels[0, :, 0].tolist() == [0, 255, 0, 0, 255, 7]


def test_alpha_is_put_on_white(photographs: dict[str, Image.Image]) -> None:
    picture = photographs["astronaut"].convert("RGBA")
    alpha = np.random.default_rng(0).integers(0, 256, (512, 512), np.uint8)
    picture.putalpha(Image.fromarray(alpha))
    got = decoded(saved(picture, "PNG"), "bilinear", (512, 512))
    share = alpha[..., None] / 255
    expected = np.asarray(photographs["astronaut"]) * share + 255 * (1 - share)
    assert np.abs(got.pixels - expected).max() <= 1
    assert got.notes == {"transparency"}
    assert np.array_equal(
        decoded(saved(picture, "PNG"), "keras", (512, 512)).pixels,
        np.asarray(photographs["astronaut"]),
    )


def test_opaque_alpha_is_no_quirk(photographs: dict[str, Image.Image]) -> None:
    content = saved(photographs["astronaut"].convert("RGBA"), "PNG")
    assert decoded(content, "keras", (64, 64)).notes == frozenset()


def one_level_transparent(mode: str) -> bytes:
    if mode == "I;16":
        picture = Image.fromarray(np.array([[0, 30000], [65535, 30000]], np.uint16))
        return saved(picture, "PNG", transparency=30000)
    picture = Image.fromarray(np.array([[0, 117], [255, 117]], np.uint8))
    if mode == "P":
        picture.putpalette([level for level in range(256) for _ in range(3)])
    return saved(
        picture.convert("RGB") if mode == "RGB" else picture,
        "PNG",
        transparency={
            "L": 117,
            "P": 117,
            "RGB": (117, 117, 117),
        }[mode],
    )


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "I;16"])
def test_a_transparent_colour_turns_white(mode: str) -> None:
    got = decoded(one_level_transparent(mode), "bilinear", (2, 2))
    assert got.pixels[..., 0].tolist() == [[0, 255], [255, 255]]
    assert "transparency" in got.notes


def test_premultiplied_alpha_of_a_pil_image() -> None:
    for mode in ("La", "RGBa"):
        picture = Image.new(mode, (4, 4))
        assert decoded(picture, "bilinear", (4, 4)).pixels.min() == 255


def test_stretch_is_pillows_antialiased_resize(photographs: dict[str, Image.Image]) -> None:
    for name, resample in (("bilinear", 2), ("bicubic", 3)):
        expected = photographs["rocket"].resize((200, 100), Image.Resampling(resample))
        got = decoded(photographs["rocket"], name, (100, 200))
        assert np.array_equal(got.pixels, np.asarray(expected))


@pytest.mark.parametrize("size", [(224, 224), (240, 240), (112, 224)])
def test_crop_is_the_centre_of_the_resized_picture(
    size: tuple[int, int], photographs: dict[str, Image.Image]
) -> None:
    photograph = photographs["rocket"]  # 640 x 427
    height, width = size
    share = max(256 / 224 * width / photograph.width, 256 / 224 * height / photograph.height)
    whole = (round(photograph.width * share), round(photograph.height * share))
    left, upper = (whole[0] - width) // 2, (whole[1] - height) // 2
    resized = photograph.resize(whole, Image.Resampling.BILINEAR)
    expected = np.asarray(resized.crop((left, upper, left + width, upper + height)))
    got = decoded(photograph, "crop", size).pixels
    # Half a pixel of rounding apart, and no more.
    difference = np.abs(got.astype(float) - expected).mean()
    shifted = np.abs(np.roll(got, 4, axis=1).astype(float) - expected).mean()
    assert difference < shifted / 3


def test_a_pil_image_is_left_as_it_was() -> None:
    picture = Image.open(io.BytesIO(one_level_transparent("P")))
    picture.info["transparency"] = bytes(256)
    decoded(picture, "keras", (8, 8))
    assert picture.info["transparency"] == bytes(256)
    assert picture.mode == "P"


def seen_by_decoder(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Collect the sizes that JPEGs are decoded at."""
    sizes: list[tuple[int, int]] = []
    load = JpegImagePlugin.JpegImageFile.load

    def recorded(picture: JpegImagePlugin.JpegImageFile) -> object:
        sizes.append(picture.size)
        return load(picture)

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", recorded)
    return sizes


@pytest.mark.parametrize(
    ("preset", "orientation", "stored", "decoded_at"),
    [
        ("bilinear", 1, (2000, 1500), (1000, 750)),  # a quarter would leave 375 rows, 448 wanted
        ("bicubic", 1, (4000, 3600), (500, 450)),
        ("bilinear", 1, (890, 890), (890, 890)),
        ("bilinear", 6, (1200, 400), (1200, 400)),
        ("crop", 1, (1030, 1030), (515, 515)),  # the cut needs 512
        ("crop", 1, (1000, 1000), (1000, 1000)),
        ("keras", 1, (4000, 3600), (4000, 3600)),
    ],
)
def test_a_large_jpeg_is_decoded_at_a_fraction(
    preset: str,
    orientation: int,
    stored: tuple[int, int],
    decoded_at: tuple[int, int],
    photographs: dict[str, Image.Image],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = turned(photographs["chelsea"].resize(stored), orientation, "JPEG")
    sizes = seen_by_decoder(monkeypatch)
    got = decoded(content, preset, (224, 224))
    assert sizes[0] == decoded_at
    assert (got.row.width, got.row.height) == stored


def test_the_long_side_of_a_turned_jpeg_counts_as_it_will_lie(
    photographs: dict[str, Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = turned(photographs["chelsea"].resize((1600, 800)), 6, "JPEG")
    sizes = seen_by_decoder(monkeypatch)
    decoded(content, "bilinear", (400, 100))
    assert sizes[0] == (800, 400)


@pytest.mark.parametrize("preset", HONEST)
def test_a_fraction_of_a_jpeg_looks_the_same(
    preset: str, photographs: dict[str, Image.Image]
) -> None:
    content = saved(photographs["coffee"].resize((2400, 1600)), "JPEG", quality=90)
    whole = dataclasses.replace(PRESETS[preset], jpeg_margin=None)
    reduced = decoded(content, preset, (224, 224)).pixels.astype(int)
    expected = decode(content, whole, (224, 224))
    assert isinstance(expected, Decoded)
    difference = np.abs(reduced - expected.pixels)
    assert 0 < difference.mean() < 1
