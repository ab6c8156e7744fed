"""Opening images with Pillow, reasons of rejects, and pixels by preset."""

import dataclasses
import io
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps, JpegImagePlugin, features

from sparsefeat.images import (
    MAX_PIXELS,
    PRESETS,
    Decoded,
    Reason,
    UnreadableError,
    decode,
    open_image,
    upright_size,
)
from sparsefeat.types import Reject

KERAS = PRESETS["keras"]


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def reason(content: bytes, max_pixels: int = MAX_PIXELS) -> str:
    result = decode(content, KERAS, (32, 32), max_pixels=max_pixels)
    assert isinstance(result, Reject)
    return result.reason


def test_the_limit_of_pixels_equals_pillow_s() -> None:
    limit = Image.MAX_IMAGE_PIXELS
    assert limit is not None
    assert 2 * limit == MAX_PIXELS


def test_a_bomb_is_rejected_by_its_header() -> None:
    assert reason(png_header(200_000, 200_000)) == Reason.TOO_MANY_PIXELS
    # One pixel above the limit, and at the limit, where the image is opened and found empty.
    assert reason(png_header(MAX_PIXELS + 1, 1)) == Reason.TOO_MANY_PIXELS
    assert open_image(io.BytesIO(png_header(MAX_PIXELS, 1)), MAX_PIXELS).width == MAX_PIXELS


@pytest.mark.parametrize("picture_format", ["PNG", "TIFF"])
def test_a_large_image_under_the_limit_gives_no_warning(picture_format: str) -> None:
    # Warnings are errors here.
    stream = io.BytesIO()
    Image.new("1", (10_000, 9_000), 1).save(stream, picture_format)
    result = decode(stream.getvalue(), KERAS, (32, 32))
    assert isinstance(result, Decoded)
    assert result.pixels.min() == 255
    assert reason(stream.getvalue(), max_pixels=80_000_000) == Reason.TOO_MANY_PIXELS


def test_a_limit_above_pillow_s_can_be_chosen() -> None:
    assert open_image(io.BytesIO(png_header(30_000, 30_000)), 10**9).size == (30_000, 30_000)


def test_postscript_is_not_executed() -> None:
    document = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    assert Image.open(io.BytesIO(document)).format == "EPS"
    assert reason(document) == Reason.NO_IMAGE


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\x89PNG\r\n\x1a\nand no more", Reason.HEADER),
        (b"Just some words.", Reason.NO_IMAGE),
        (b"no", Reason.NO_IMAGE),
        (b"a", Reason.NO_IMAGE),
        (b"\0" * 5000, Reason.NO_IMAGE),
        (b"", Reason.EMPTY),
        (b"GIF89a" + bytes(7) + b";", Reason.HEADER),
        (b"P6 0 9 255\n", Reason.HEADER),
    ],
)
def test_damaged_files_give_reasons(content: bytes, expected: Reason) -> None:
    assert reason(content) == expected


def test_a_cut_jpeg_is_truncated_and_a_png_with_a_flipped_bit_corrupt(
    photographs: dict[str, Image.Image],
) -> None:
    stream = io.BytesIO()
    photographs["coffee"].save(stream, "JPEG")
    assert reason(stream.getvalue()[:9000]) == Reason.TRUNCATED
    stream = io.BytesIO()
    photographs["coffee"].save(stream, "PNG")
    flipped = bytearray(stream.getvalue())
    flipped[9000] ^= 255
    assert reason(bytes(flipped)) == Reason.CORRUPT


def test_unexpected_errors_of_a_decoder_become_reasons() -> None:
    with pytest.raises(UnreadableError) as caught:
        open_image(io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"\xff" * 40), MAX_PIXELS)
    assert isinstance(caught.value.reason, Reason)


# Encoded sideways, with equal rotation and EXIF orientation, as phones write it.
HEIC = Path(__file__).with_name("turned.heic")


def test_heic_is_upright_with_every_preset(photographs: dict[str, Image.Image]) -> None:
    pytest.importorskip("pi_heif")
    lying = photographs["coffee"].resize((96, 64))
    upright = np.asarray(lying.transpose(Image.Transpose.ROTATE_270)).astype(int)
    for name, chosen in PRESETS.items():
        result = decode(HEIC, chosen, (96, 64))
        assert isinstance(result, Decoded), result
        assert (result.row.format, result.row.width, result.row.height) == ("HEIF", 64, 96)
        assert not result.notes
        if name != "crop":
            assert np.abs(result.pixels - upright).mean() < 8


def test_heic_of_a_general_brand_is_read_and_cut_heic_rejected() -> None:
    pytest.importorskip("pi_heif")
    content = HEIC.read_bytes()
    general = content[:8] + b"mif1" + content[12:]
    assert isinstance(decode(general, KERAS, (32, 32)), Decoded)
    assert reason(content[:200]) == Reason.HEADER
    assert reason(content[:-500]) in (Reason.HEADER, Reason.TRUNCATED, Reason.CORRUPT)


BROKEN = "raise ImportError('libheif.so.1: no such file')"


@pytest.mark.parametrize(
    ("plugins", "result"),
    [
        ({}, "ReadFailure"),
        ({"pi_heif": BROKEN}, "ReadFailure"),
        # Some packages turn Ctrl-C into an error of their own.
        ({"pi_heif": "raise ImportError from KeyboardInterrupt()"}, "KeyboardInterrupt"),
        ({"pi_heif": BROKEN, "pillow_heif": "from other_pi_heif import *"}, "Decoded"),
    ],
)
def test_heic_without_a_working_plug_in_is_reported(
    plugins: dict[str, str], result: str, tmp_path: Path
) -> None:
    if result == "Decoded":
        found = pytest.importorskip("pi_heif")
        shutil.copytree(Path(found.__file__).parent, tmp_path / "other_pi_heif")
    code = f"""
import sys
from sparsefeat.images import decode
for plugin in {{"pi_heif", "pillow_heif"}} - {set(plugins) or "set()"}:
    sys.modules[plugin] = None  # as if it weren't installed
for _ in range(2):
    try:
        found = decode({str(HEIC)!r}, "keras", (32, 32))
        print(type(found).__name__, getattr(found, "reason", ""))
    except KeyboardInterrupt:
        print("KeyboardInterrupt")
print(decode("small.png", "keras", (32, 32)).row.format)
"""
    Image.new("L", (7, 7)).save(tmp_path / "small.png")
    for plugin, text in plugins.items():
        (tmp_path / f"{plugin}.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    first, second, third = done.stdout.splitlines()
    assert first.startswith(result)
    assert second == first
    assert third == "PNG"
    if result == "ReadFailure":
        assert "pip install 'sparsefeat[heif]'" in first
        assert ("pi_heif.py but does not load (ImportError: libheif" in first) == bool(plugins)


def test_avif_is_read_upright(photographs: dict[str, Image.Image]) -> None:
    if not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    lying = photographs["coffee"].resize((96, 64))
    exif = lying.getexif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    lying.save(stream, "AVIF", exif=exif)
    upright = np.asarray(lying.transpose(Image.Transpose.ROTATE_270)).astype(int)
    turned = decode(stream.getvalue(), PRESETS["bilinear"], (96, 64))
    as_keras = decode(stream.getvalue(), KERAS, (64, 96))
    assert isinstance(turned, Decoded)
    assert isinstance(as_keras, Decoded)
    assert np.abs(turned.pixels - upright).mean() < 8
    assert np.abs(as_keras.pixels - np.asarray(lying).astype(int)).mean() < 8
    assert as_keras.notes == {"exif-orientation"}


def test_a_missing_decoder_of_pillow_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    open_image(io.BytesIO(png_header(9, 9)), MAX_PIXELS)  # loads every format
    factory, _ = Image.OPEN["AVIF"]
    monkeypatch.setitem(Image.OPEN, "AVIF", (factory, lambda prefix: "AVIF support not installed"))
    assert reason(b"\0\0\0\x1cftypavif" + bytes(100)) == Reason.NO_DECODER


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and limits the address space")
def test_too_little_memory_fails_only_one_image(tmp_path: Path) -> None:
    Image.new("1", (13_000, 13_000)).save(tmp_path / "large.png")
    code = """
import resource
from sparsefeat.images import decode
from sparsefeat.images import PRESETS
decode("small.png", PRESETS["keras"], (32, 32))  # loads every decoder
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20), -1))
print(decode("large.png", PRESETS["keras"], (32, 32)).reason)
print(decode("small.png", PRESETS["keras"], (32, 32)).row.width)
"""
    Image.new("L", (7, 7)).save(tmp_path / "small.png")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.splitlines() == ["not enough memory to decode the image", "7"]


HONEST = ["bilinear", "bicubic", "crop"]


def decoded(image: Image.Image | bytes, preset: str, size: tuple[int, int]) -> Decoded:
    result = decode(image, PRESETS[preset], size)
    assert isinstance(result, Decoded)
    assert result.pixels.dtype == np.uint8
    assert result.pixels.shape == (*size, 3)
    assert result.pixels.flags.c_contiguous
    return result


def saved(image: Image.Image, picture_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, picture_format, **options)
    return stream.getvalue()


def turned(image: Image.Image, orientation: int, picture_format: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if picture_format == "WEBP" else {}
    return saved(image, picture_format, exif=exif.tobytes(), **lossless)


@pytest.mark.parametrize("picture_format", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("preset", HONEST)
def test_other_presets_honour_the_orientation(
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
    # Pillow itself turns a TIFF, for Keras as well, so there is no quirk.
    noted = orientation > 1 and picture_format != "TIFF"
    assert ("exif-orientation" in got.notes) == noted
    assert (got.row.width, got.row.height) == (90, 60)


@pytest.mark.parametrize("picture_format", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_upright_size_is_known_before_decoding(orientation: int, picture_format: str) -> None:
    content = turned(Image.new("RGB", (90, 60)), orientation, picture_format)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    opened = open_image(io.BytesIO(content), 10_000)
    assert upright_size(opened) == upright.size


def test_keras_ignores_the_orientation_with_a_note(photographs: dict[str, Image.Image]) -> None:
    content = turned(photographs["chelsea"], 6, "PNG")
    got = decoded(content, "keras", (300, 451))
    assert np.array_equal(got.pixels, np.asarray(photographs["chelsea"]))
    assert got.notes == {"exif-orientation"}


def test_damaged_exif_is_ignored(photographs: dict[str, Image.Image]) -> None:
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
def test_sixteen_bit_levels_are_scaled(kind: str) -> None:
    got = decoded(SIXTEEN[kind], "bilinear", (256, 256))
    expected = np.rint(ramp() / 257).astype(np.uint8)
    assert all(np.array_equal(got.pixels[..., channel], expected) for channel in range(3))
    assert got.notes == {"sixteen-bit"}
    saturated = decoded(SIXTEEN[kind], "keras", (256, 256))
    assert np.array_equal(saturated.pixels[..., 0], np.minimum(ramp(), 255))
    assert saturated.notes == {"sixteen-bit"}


def test_thirty_two_bit_levels_up_to_255_are_not_scaled() -> None:
    levels = np.arange(256, dtype=np.int32).reshape(16, 16)
    got = decoded(saved(Image.fromarray(levels), "TIFF"), "bilinear", (16, 16))
    assert np.array_equal(got.pixels[..., 1], levels)
    assert got.notes == frozenset()


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_floats_are_read_as_0_to_1_or_0_to_255(top: float) -> None:
    shares = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    got = decoded(saved(Image.fromarray(shares * np.float32(top)), "TIFF"), "bilinear", (8, 8))
    assert np.array_equal(got.pixels[..., 2], np.rint(shares * 255))
    assert got.notes == {"float"}


def test_floats_out_of_range_are_clipped() -> None:
    levels = np.array([[np.nan, np.inf, -np.inf, -5.0, 300.0, 7.0]], np.float32)
    got = decoded(saved(Image.fromarray(levels), "TIFF"), "bilinear", (1, 6))
    assert got.pixels[0, :, 0].tolist() == [0, 255, 0, 0, 255, 7]


def test_transparency_is_composed_on_white(photographs: dict[str, Image.Image]) -> None:
    image = photographs["astronaut"].convert("RGBA")
    alpha = np.random.default_rng(0).integers(0, 256, (512, 512), np.uint8)
    image.putalpha(Image.fromarray(alpha))
    got = decoded(saved(image, "PNG"), "bilinear", (512, 512))
    share = alpha[..., None] / 255
    expected = np.asarray(photographs["astronaut"]) * share + 255 * (1 - share)
    assert np.abs(got.pixels - expected).max() <= 1
    assert got.notes == {"transparency"}
    assert np.array_equal(
        decoded(saved(image, "PNG"), "keras", (512, 512)).pixels,
        np.asarray(photographs["astronaut"]),
    )


def test_opaque_alpha_gives_no_note(photographs: dict[str, Image.Image]) -> None:
    content = saved(photographs["astronaut"].convert("RGBA"), "PNG")
    assert decoded(content, "keras", (64, 64)).notes == frozenset()


def one_level_transparent(mode: str) -> bytes:
    if mode == "I;16":
        image = Image.fromarray(np.array([[0, 30000], [65535, 30000]], np.uint16))
        return saved(image, "PNG", transparency=30000)
    image = Image.fromarray(np.array([[0, 117], [255, 117]], np.uint8))
    if mode == "P":
        image.putpalette([level for level in range(256) for _ in range(3)])
    return saved(
        image.convert("RGB") if mode == "RGB" else image,
        "PNG",
        transparency={
            "L": 117,
            "P": 117,
            "RGB": (117, 117, 117),
        }[mode],
    )


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "I;16"])
def test_a_transparent_colour_becomes_white(mode: str) -> None:
    got = decoded(one_level_transparent(mode), "bilinear", (2, 2))
    assert got.pixels[..., 0].tolist() == [[0, 255], [255, 255]]
    assert "transparency" in got.notes


def test_premultiplied_alpha_is_composed_on_white() -> None:
    for mode in ("La", "RGBa"):
        image = Image.new(mode, (4, 4))
        assert decoded(image, "bilinear", (4, 4)).pixels.min() == 255


def test_stretching_equals_pillow_s_antialiased_resize(photographs: dict[str, Image.Image]) -> None:
    for name, resample in (("bilinear", 2), ("bicubic", 3)):
        expected = photographs["rocket"].resize((200, 100), Image.Resampling(resample))
        got = decoded(photographs["rocket"], name, (100, 200))
        assert np.array_equal(got.pixels, np.asarray(expected))


@pytest.mark.parametrize("size", [(224, 224), (240, 240), (112, 224)])
def test_crop_is_the_centre_of_the_resized_image(
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
    # They differ by half a pixel of rounding at most.
    difference = np.abs(got.astype(float) - expected).mean()
    shifted = np.abs(np.roll(got, 4, axis=1).astype(float) - expected).mean()
    assert difference < shifted / 3


def test_a_pil_image_is_not_changed() -> None:
    image = Image.open(io.BytesIO(one_level_transparent("P")))
    image.info["transparency"] = bytes(256)
    decoded(image, "keras", (8, 8))
    assert image.info["transparency"] == bytes(256)
    assert image.mode == "P"


def seen_by_decoder(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Collect the sizes that JPEGs are decoded at."""
    sizes: list[tuple[int, int]] = []
    load = JpegImagePlugin.JpegImageFile.load

    def recorded(image: JpegImagePlugin.JpegImageFile) -> object:
        sizes.append(image.size)
        return load(image)

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


def test_the_fraction_of_a_turned_jpeg_follows_its_upright_size(
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
