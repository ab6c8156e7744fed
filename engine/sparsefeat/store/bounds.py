"""What a part may hold at most: readers refuse more, before they allocate memory for it.

A file may be anybody's, and a few bytes can claim to be terabytes. These bounds are far above what
is written (docs/format.md says so to other writers), and low enough for every machine.
"""

from typing import Final

JSON_BYTES: Final = 8 << 20  # a zarr.json, the consolidated one too
JSON_DEPTH: Final = 64  # of settings, provenance and attributes
AXES: Final = 8  # of a layer
CHUNK_ELEMENTS: Final = 1 << 23  # so that no column has more than 64 MiB
CHUNKS: Final = 1 << 18  # in an array
CHUNKS_PER_FILE: Final = 1 << 16
NNZ: Final = (1 << 31) - 1  # of a layer, so that the part's indptr fits int32 readers
TEXT_BYTES: Final = 1 << 14  # a text in a column, and
TEXTS_BYTES: Final = 1 << 24  # what a chunk of text may have besides, or a single text


def most_text_bytes(count: int) -> int:
    """Say how long a chunk of so many texts may be once decompressed."""
    return min(TEXTS_BYTES + count * TEXT_BYTES, (1 << 31) - 1)
