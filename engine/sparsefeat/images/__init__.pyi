from .decoding import Decoded, Picture, checked_size, decode
from .listing import (
    AnyPath,
    Listing,
    Search,
    describe_companions,
    each_picture,
    find_picture,
    list_pictures,
)
from .path_list import read_path_list
from .pillow import MAX_PIXELS, open_picture, pillow_errors, render, upright_size
from .preprocess import CAFFE, MEAN_BGR, SCALINGS, Scaling, normalize, pixels_of
from .presets import PRESETS, QUIRKS, Preset, QuirkWarning, preset, quirk_message
from .reading import find_original, load, read_file, read_original
from .shard import Shard
from .source import (
    Reason,
    Source,
    UnreadableError,
    decode_path,
    encode_path,
    largest_file,
    os_refusal,
)
from .stream import PictureStream

__all__ = [
    "CAFFE",
    "MAX_PIXELS",
    "MEAN_BGR",
    "PRESETS",
    "QUIRKS",
    "SCALINGS",
    "AnyPath",
    "Decoded",
    "Listing",
    "Picture",
    "PictureStream",
    "Preset",
    "QuirkWarning",
    "Reason",
    "Scaling",
    "Search",
    "Shard",
    "Source",
    "UnreadableError",
    "checked_size",
    "decode",
    "decode_path",
    "describe_companions",
    "each_picture",
    "encode_path",
    "find_original",
    "find_picture",
    "largest_file",
    "list_pictures",
    "load",
    "normalize",
    "open_picture",
    "os_refusal",
    "pillow_errors",
    "pixels_of",
    "preset",
    "quirk_message",
    "read_file",
    "read_original",
    "read_path_list",
    "render",
    "upright_size",
]
