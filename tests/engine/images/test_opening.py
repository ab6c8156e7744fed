"""Bombs, warnings and formats that are not opened."""

import io
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from sparsefeat.images.decode import Decoded, decode
from sparsefeat.images.opening import MAX_PIXELS, open_picture
from sparsefeat.images.presets import PRESETS
from sparsefeat.images.unreadable import Reason, UnreadableError
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


def test_our_limit_is_pillows() -> None:
    limit = Image.MAX_IMAGE_PIXELS
    assert limit is not None
    assert 2 * limit == MAX_PIXELS


def test_a_bomb_is_rejected_by_its_header() -> None:
    assert reason(png_header(200_000, 200_000)) == Reason.TOO_MANY_PIXELS
    # One pixel above, and at, the limit; what is at the limit is opened, and found to be empty.
    assert reason(png_header(MAX_PIXELS + 1, 1)) == Reason.TOO_MANY_PIXELS
    assert open_picture(io.BytesIO(png_header(MAX_PIXELS, 1)), MAX_PIXELS).width == MAX_PIXELS


@pytest.mark.parametrize("picture_format", ["PNG", "TIFF"])
def test_a_large_picture_under_the_limit_gives_no_warning(picture_format: str) -> None:
    # Warnings are errors here.
    stream = io.BytesIO()
    Image.new("1", (10_000, 9_000), 1).save(stream, picture_format)
    result = decode(stream.getvalue(), KERAS, (32, 32))
    assert isinstance(result, Decoded)
    assert result.pixels.min() == 255
    assert reason(stream.getvalue(), max_pixels=80_000_000) == Reason.TOO_MANY_PIXELS


def test_a_limit_above_pillows_is_ours_to_give() -> None:
    assert open_picture(io.BytesIO(png_header(30_000, 30_000)), 10**9).size == (30_000, 30_000)


def test_postscript_is_not_run() -> None:
    document = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    assert Image.open(io.BytesIO(document)).format == "EPS"
    assert reason(document) == Reason.NO_PICTURE


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\x89PNG\r\n\x1a\nand no more", Reason.HEADER),
        (b"Just some words.", Reason.NO_PICTURE),
        (b"no", Reason.NO_PICTURE),
        (b"a", Reason.NO_PICTURE),
        (b"\0" * 5000, Reason.NO_PICTURE),
        (b"", Reason.EMPTY),
        (b"GIF89a" + bytes(7) + b";", Reason.HEADER),
        (b"P6 0 9 255\n", Reason.HEADER),
    ],
)
def test_reasons(content: bytes, expected: Reason) -> None:
    assert reason(content) == expected


def test_a_cut_jpeg_is_truncated_and_a_flipped_png_corrupt(
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


def test_stray_errors_of_a_decoder_are_reasons() -> None:
    with pytest.raises(UnreadableError) as caught:
        open_picture(io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"\xff" * 40), MAX_PIXELS)
    assert isinstance(caught.value.reason, Reason)


# Encoded lying, with a rotation and an EXIF orientation that say the same, as telephones write it.
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


def test_heic_by_its_general_brand_and_cut() -> None:
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
        # Some packages meet Ctrl-C with an error of their own.
        ({"pi_heif": "raise ImportError from KeyboardInterrupt()"}, "KeyboardInterrupt"),
        ({"pi_heif": BROKEN, "pillow_heif": "from other_pi_heif import *"}, "Decoded"),
    ],
)
def test_heic_where_a_plug_in_is_missing_or_broken(
    plugins: dict[str, str], result: str, tmp_path: Path
) -> None:
    if result == "Decoded":
        found = pytest.importorskip("pi_heif")
        shutil.copytree(Path(found.__file__).parent, tmp_path / "other_pi_heif")
    code = f"""
import sys
from sparsefeat.images.decode import decode
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


def test_avif_is_read_and_turned(photographs: dict[str, Image.Image]) -> None:
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


def test_a_decoder_that_pillow_was_built_without(monkeypatch: pytest.MonkeyPatch) -> None:
    open_picture(io.BytesIO(png_header(9, 9)), MAX_PIXELS)  # loads every format
    factory, _ = Image.OPEN["AVIF"]
    monkeypatch.setitem(Image.OPEN, "AVIF", (factory, lambda prefix: "AVIF support not installed"))
    assert reason(b"\0\0\0\x1cftypavif" + bytes(100)) == Reason.NO_DECODER


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and limits the address space")
def test_too_little_memory_costs_one_picture(tmp_path: Path) -> None:
    Image.new("1", (13_000, 13_000)).save(tmp_path / "large.png")
    code = """
import resource
from sparsefeat.images.decode import decode
from sparsefeat.images.presets import PRESETS
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
    assert done.stdout.splitlines() == ["not enough memory to decode the picture", "7"]
