"""The preset `keras` equals Keras bit for bit, and rejects images for which Keras raises."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sparsefeat.images import Decoded
from sparsefeat.types import Reject

Size = tuple[int, int]
Check = Callable[[Path, Size], Decoded | Reject]

SIZES = [(224, 224), (240, 240), (32, 301), (300, 451)]
"""(height, width); the last is that of chelsea, so that nothing is resized."""


def saved(image: Image.Image, picture_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, picture_format, **options)
    return stream.getvalue()


def sixteen_bits(image: Image.Image) -> npt.NDArray[np.uint16]:
    grey = np.asarray(image.convert("L")).astype(np.uint16)
    return grey * 257


def with_alpha(image: Image.Image) -> Image.Image:
    translucent = image.copy()
    translucent.putalpha(image.convert("L"))
    return translucent


def with_orientation(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def palette_with_alphas(image: Image.Image) -> bytes:
    return saved(image.quantize(64), "PNG", transparency=bytes(range(0, 256, 4)))


def many_frames(image: Image.Image, picture_format: str) -> bytes:
    frames = [image.transpose(Image.Transpose.ROTATE_180), image.convert("L").convert("RGB")]
    return saved(image, picture_format, save_all=True, append_images=frames)


KINDS: dict[str, Callable[[Image.Image], bytes]] = {
    "jpeg": lambda p: saved(p, "JPEG", quality=87),
    "jpeg-progressive": lambda p: saved(p, "JPEG", progressive=True),
    "jpeg-subsampled": lambda p: saved(p, "JPEG", subsampling=2),
    "jpeg-grey": lambda p: saved(p.convert("L"), "JPEG"),
    "jpeg-cmyk": lambda p: saved(p.convert("CMYK"), "JPEG"),
    "jpeg-mpo": lambda p: many_frames(p, "MPO"),
    "png": lambda p: saved(p, "PNG"),
    "png-grey": lambda p: saved(p.convert("L"), "PNG"),
    "png-bits": lambda p: saved(p.convert("1"), "PNG"),
    "png-palette": lambda p: saved(p.quantize(200), "PNG"),
    "png-palette-two-bits": lambda p: saved(p.quantize(4), "PNG", bits=2),
    "png-palette-colour-key": lambda p: saved(p.quantize(64), "PNG", transparency=7),
    "png-palette-alphas": palette_with_alphas,
    "png-rgb-colour-key": lambda p: saved(p, "PNG", transparency=p.getpixel((9, 9))),
    "png-grey-colour-key": lambda p: saved(p.convert("L"), "PNG", transparency=99),
    "png-la": lambda p: saved(with_alpha(p).convert("LA"), "PNG"),
    "png-rgba": lambda p: saved(with_alpha(p), "PNG"),
    "png-sixteen-bit": lambda p: saved(Image.fromarray(sixteen_bits(p)), "PNG"),
    "png-animated": lambda p: many_frames(p, "PNG"),
    "webp-lossy": lambda p: saved(p, "WEBP", quality=70),
    "webp-lossless": lambda p: saved(p, "WEBP", lossless=True, method=0),
    "webp-rgba": lambda p: saved(with_alpha(p), "WEBP", quality=70),
    "webp-animated": lambda p: many_frames(p, "WEBP"),
    "bmp": lambda p: saved(p, "BMP"),
    "bmp-grey": lambda p: saved(p.convert("L"), "BMP"),
    "bmp-bits": lambda p: saved(p.convert("1"), "BMP"),
    "bmp-palette": lambda p: saved(p.quantize(16), "BMP"),
    "bmp-rgba": lambda p: saved(with_alpha(p), "BMP"),
    "gif": lambda p: saved(p.quantize(128), "GIF"),
    "gif-transparent": lambda p: saved(p.quantize(128), "GIF", transparency=3),
    "gif-animated": lambda p: many_frames(p, "GIF"),
    "tiff": lambda p: saved(p, "TIFF"),
    "tiff-lzw": lambda p: saved(p, "TIFF", compression="tiff_lzw"),
    "tiff-deflate": lambda p: saved(p, "TIFF", compression="tiff_deflate"),
    "tiff-jpeg": lambda p: saved(p, "TIFF", compression="jpeg"),
    "tiff-fax": lambda p: saved(p.convert("1"), "TIFF", compression="group4"),
    "tiff-grey": lambda p: saved(p.convert("L"), "TIFF"),
    "tiff-bits": lambda p: saved(p.convert("1"), "TIFF"),
    "tiff-palette": lambda p: saved(p.quantize(99), "TIFF"),
    "tiff-la": lambda p: saved(with_alpha(p).convert("LA"), "TIFF"),
    "tiff-rgba": lambda p: saved(with_alpha(p), "TIFF"),
    "tiff-cmyk": lambda p: saved(p.convert("CMYK"), "TIFF"),
    "tiff-lab": lambda p: saved(p.convert("LAB"), "TIFF"),
    "tiff-ycbcr": lambda p: saved(p.convert("YCbCr"), "TIFF"),
    "tiff-sixteen-bit": lambda p: saved(Image.fromarray(sixteen_bits(p)), "TIFF"),
    "tiff-sixteen-bit-big-endian": lambda p: saved(
        Image.frombytes("I;16B", p.size, sixteen_bits(p).astype(">u2").tobytes()), "TIFF"
    ),
    "tiff-integers": lambda p: saved(Image.fromarray(sixteen_bits(p).astype(np.int32)), "TIFF"),
    "tiff-floats": lambda p: saved(
        Image.fromarray(sixteen_bits(p).astype(np.float32) / 300 - 9), "TIFF"
    ),
    "tiff-turned": lambda p: saved(p, "TIFF", exif=with_orientation(6)),
    "ppm": lambda p: saved(p, "PPM"),
    "pgm-sixteen-bit": lambda p: saved(Image.fromarray(sixteen_bits(p).astype(np.int32)), "PPM"),
    "jpeg2000": lambda p: saved(p, "JPEG2000"),
    "avif": lambda p: saved(p.resize((200, 150)), "AVIF", speed=10),
    "tga": lambda p: saved(p, "TGA"),
    "ico": lambda p: saved(p, "ICO"),
    "pcx": lambda p: saved(p, "PCX"),
    "sgi": lambda p: saved(p, "SGI"),
    **{
        f"{name}-exif-{turn}": lambda p, name=name, turn=turn: saved(  # type: ignore[misc]
            p.resize((150, 100)), name, exif=with_orientation(turn)
        )
        for name in ("JPEG", "PNG", "WEBP")
        for turn in range(1, 9)
    },
}


# Before version 13, Pillow can't read the YCbCr that it writes to a TIFF file.
TIFF_MODES = ["CMYK", "YCbCr", "LAB", "I;16", "I;16B", "I", "F"]
if int(PIL.__version__.partition(".")[0]) < 13:
    del KINDS["tiff-ycbcr"]
    TIFF_MODES.remove("YCbCr")


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_and_mode_equals_keras(
    kind: str, photographs: dict[str, Image.Image], like_keras: Check, tmp_path: Path
) -> None:
    for (name, photograph), size in zip(photographs.items(), SIZES, strict=True):
        file = tmp_path / f"{name}.image"
        file.write_bytes(KINDS[kind](photograph))
        assert isinstance(like_keras(file, size), Decoded)
    file.write_bytes(KINDS[kind](photographs["chelsea"]))
    assert isinstance(like_keras(file, (300, 451)), Decoded)


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch") / "image"


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "webp-lossy"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (2, 3)])
def test_tiny_and_thin_images_equal_keras(
    kind: str,
    shape: Size,
    photographs: dict[str, Image.Image],
    like_keras: Check,
    tmp_path: Path,
) -> None:
    file = tmp_path / "thin"
    file.write_bytes(KINDS[kind](photographs["rocket"].resize(shape)))
    assert isinstance(like_keras(file, (224, 224)), Decoded)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_random_pixels_modes_and_sizes_equal_keras(
    data: st.DataObject, like_keras: Check, scratch: Path
) -> None:
    mode, picture_format = data.draw(
        st.sampled_from(
            [
                *((mode, "PNG") for mode in ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")),
                *((mode, "TIFF") for mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX")),
                *((mode, "TIFF") for mode in TIFF_MODES),
                *((mode, "WEBP") for mode in ("RGB", "RGBA")),
                *((mode, "GIF") for mode in ("1", "L", "P")),
                *((mode, "BMP") for mode in ("1", "L", "P", "RGB", "RGBA")),
                *((mode, "JPEG") for mode in ("L", "RGB", "CMYK", "YCbCr")),
            ]
        )
    )
    width, height = data.draw(st.tuples(st.integers(1, 60), st.integers(1, 60)))
    size = data.draw(st.tuples(st.integers(1, 90), st.integers(1, 90)))
    seed = data.draw(st.integers(0, 2**32 - 1))
    blank = Image.new(mode, (width, height))
    noise = np.random.default_rng(seed).bytes(len(blank.tobytes()))
    image = Image.frombytes(mode, (width, height), noise)
    if mode == "P":
        image.putpalette(np.random.default_rng(seed + 1).bytes(768))
    scratch.write_bytes(saved(image, picture_format))
    assert isinstance(like_keras(scratch, size), Decoded)


# One of each family of decoders; small, so that every byte matters.
FRAGILE = [
    "jpeg",
    "jpeg-progressive",
    "jpeg-mpo",
    "JPEG-exif-6",
    "png",
    "png-palette-alphas",
    "png-animated",
    "PNG-exif-6",
    "webp-lossy",
    "webp-rgba",
    "WEBP-exif-6",
    "bmp",
    "bmp-palette",
    "gif",
    "gif-animated",
    "tiff",
    "tiff-lzw",
    "tiff-jpeg",
    "tiff-sixteen-bit",
    "ppm",
    "jpeg2000",
    "avif",
    "tga",
    "ico",
]


@pytest.fixture(scope="session")
def fragile(photographs: dict[str, Image.Image]) -> dict[str, bytes]:
    small = photographs["coffee"].resize((90, 60))
    return {kind: KINDS[kind](small) for kind in FRAGILE}


# Keras warns, too, and continues: a warning about metadata doesn't reject an image.
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("kind", FRAGILE)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_files_cut_anywhere_behave_as_in_keras(
    kind: str, data: st.DataObject, fragile: dict[str, bytes], like_keras: Check, scratch: Path
) -> None:
    whole = fragile[kind]
    kept = data.draw(st.one_of(st.integers(0, len(whole) - 1), st.integers(0, 300)))
    scratch.write_bytes(whole[:kept])
    like_keras(scratch, data.draw(st.sampled_from([(224, 224), (60, 90)])))


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("kind", FRAGILE)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_files_with_changed_bytes_behave_as_in_keras(
    kind: str, data: st.DataObject, fragile: dict[str, bytes], like_keras: Check, scratch: Path
) -> None:
    broken = bytearray(fragile[kind])
    anywhere = st.one_of(st.integers(0, len(broken) - 1), st.integers(0, 200))
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(anywhere)] = data.draw(st.integers(0, 255))
    scratch.write_bytes(broken)
    like_keras(scratch, (64, 48))
