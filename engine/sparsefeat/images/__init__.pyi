from .decoding import Decoded, ImageInput, decode, validate_size
from .listing import (
    Listing,
    Search,
    describe_companions,
    each_image,
    find_image,
    list_images,
)
from .path_list import read_path_list
from .pillow import MAX_PIXELS, open_image, pillow_errors, render, upright_size
from .preprocess import CAFFE, MEAN_BGR, SCALINGS, Scaling, normalize, restore_pixels
from .presets import PRESETS, QUIRKS, Preset, QuirkWarning, preset, quirk_message
from .reading import load, read_file, read_original
from .shard import Shard
from .source import (
    Reason,
    Source,
    UnreadableError,
    classify_os_error,
    decode_path,
    encode_path,
    max_file_bytes,
)
from .stream import ImageStream

__all__ = [
    "CAFFE",
    "MAX_PIXELS",
    "MEAN_BGR",
    "PRESETS",
    "QUIRKS",
    "SCALINGS",
    "Decoded",
    "ImageInput",
    "ImageStream",
    "Listing",
    "Preset",
    "QuirkWarning",
    "Reason",
    "Scaling",
    "Search",
    "Shard",
    "Source",
    "UnreadableError",
    "classify_os_error",
    "decode",
    "decode_path",
    "describe_companions",
    "each_image",
    "encode_path",
    "find_image",
    "list_images",
    "load",
    "max_file_bytes",
    "normalize",
    "open_image",
    "pillow_errors",
    "preset",
    "quirk_message",
    "read_file",
    "read_original",
    "read_path_list",
    "render",
    "restore_pixels",
    "upright_size",
    "validate_size",
]
