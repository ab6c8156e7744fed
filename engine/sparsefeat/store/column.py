"""Reading a table's column: one chunk, without zarr's event loop and threads.

A store of a million rows has some ten thousand columns. The bytes are few, so that what zarr
does around them would be nearly all of the time.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numcodecs import Blosc, VLenUTF8, Zstd
from numcodecs.checksum32 import CRC32C

_CHECKSUM = CRC32C(location="end")


def read_column(folder: Path) -> npt.NDArray[Any]:
    """Read an array of one axis and at most one chunk, text as Python strings.

    Raises
    ------
    Exception
        Of nearly any kind, where the files are missing or damaged.
    """
    node = json.loads((folder / "zarr.json").read_bytes())
    (length,) = node["shape"]
    chain = [codec["name"] for codec in node["codecs"]]
    dtype = np.dtype(object if node["data_type"] == "string" else node["data_type"])
    if length == 0:
        return np.empty(0, dtype)
    stored = _CHECKSUM.decode((folder / "c" / "0").read_bytes())
    column: npt.NDArray[Any]
    match chain:
        case ["vlen-utf8", "zstd", "crc32c"]:
            column = VLenUTF8().decode(Zstd().decode(stored))
        case ["bytes", "blosc", "crc32c"]:
            column = np.frombuffer(Blosc().decode(stored), dtype.newbyteorder("<"))
        case _:
            raise ValueError(f"codecs {', '.join(chain)}")
    if column.shape != (length,):
        raise ValueError(f"{len(column)} elements, expected {length}")
    return column.astype(dtype, copy=False)
