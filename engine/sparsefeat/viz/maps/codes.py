"""Packs activations into two bytes each: three significant decimal digits.

The page shows values rounded to three significant digits, and receives them as whole numbers. Code
0 is exactly zero. Other codes have the sign of the value. Their magnitude is the rank of the value
among all numbers of three digits in 36 decades, 900 per decade: 1 for 1.00 in the lowest decade, 2
for 1.01, and so on. The highest decade is that of the largest value. The page therefore shows
correctly rounded values, and codes sort as values do.
"""

import base64
import itertools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError

DECADES = 36
PER_DECADE = 900  # 100 to 999
POWERS = np.array([float(f"1e{exponent}") for exponent in range(64)])  # float32 needs 47


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """The codes of float32 (H, W, C), and the exponent of ten of their lowest decade.

    `text` is base64 of a zlib stream of all low bytes and then all high bytes of the codes, int16
    in the order C, H, W.
    """

    lowest: int
    text: str


def pack(values: npt.NDArray[np.float32], *, most: int) -> Packed | None:
    """Pack maps as text for the page, one channel after the other.

    Parameters
    ----------
    values
        float32 (H, W, C).
    most
        The most characters that the text may have.

    Returns
    -------
    Packed or None
        None if the text would be longer than `most`.

    Raises
    ------
    InputError
        As `encode` does.
    """
    _, lowest = encode(np.array([values.min(), values.max()]))
    # Low bytes and high bytes compress better apart.
    high: list[bytes] = []

    def low() -> Iterator[bytes]:
        for channel in range(values.shape[-1]):
            codes, _ = encode(values[..., channel], lowest)
            planes = codes.astype("<i2").reshape(-1, 1).view(np.uint8).T
            high.append(planes[1].tobytes())
            yield planes[0].tobytes()

    compressor, done = zlib.compressobj(6), bytearray()
    for plane in itertools.chain(low(), high):
        done += compressor.compress(plane)
        if len(done) * 4 // 3 > most:
            return None
    text = base64.b64encode(done + compressor.flush()).decode("ascii")
    return Packed(lowest=lowest, text=text) if len(text) <= most else None


def encode(
    values: npt.NDArray[np.float32], lowest: int | None = None
) -> tuple[npt.NDArray[np.int16], int]:
    """Return the code of each value, and the exponent of the lowest decade.

    `lowest` sets that exponent, if `values` are only a part of all values; by default it follows
    from the largest of `values`. A value that is more than 36 decades below the largest gets code
    1 or -1, but activations don't span so many decades.

    Raises
    ------
    InputError
        A value is infinite or NaN.

    Examples
    --------
    >>> codes, lowest = encode(np.array([0, 1, -1.25, 9.994], np.float32))
    >>> codes.tolist(), lowest
    ([0, 31501, -31526, 32400], -35)
    """
    if not np.isfinite(values).all():
        raise InputError(
            "got activations that are infinite or not a number, which have no colour: check the "
            "model's weights with sparsefeat verify"
        )
    flat = values.ravel()
    magnitudes = np.abs(flat, dtype=np.float64)
    nonzero = np.flatnonzero(magnitudes)
    codes = np.zeros(flat.shape, np.int16)
    if nonzero.size:
        magnitudes = magnitudes[nonzero]
        exponents = np.floor(np.log10(magnitudes)).astype(np.int64)
        digits = np.rint(_scaled(magnitudes, 2 - exponents)).astype(np.int64)
        # Corrects a rounded logarithm, and 999.5 and above, which round up to 1000.
        low, high = digits < 100, digits > 999
        exponents += high.astype(np.int64) - low
        digits = np.rint(_scaled(magnitudes, 2 - exponents)).astype(np.int64)
        if lowest is None:
            lowest = int(exponents.max()) - DECADES + 1
        ranks = (exponents - lowest) * PER_DECADE + np.clip(digits, 100, 999) - 99
        codes[nonzero] = np.where(flat[nonzero] < 0, -1, 1) * np.maximum(ranks, 1)
    elif lowest is None:
        lowest = 1 - DECADES
    return codes.reshape(values.shape), lowest


def _scaled(
    magnitudes: npt.NDArray[np.float64], exponents: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Multiply by powers of ten; correctly rounded if the power is exact (up to 1e22)."""
    powers = POWERS[np.abs(exponents)]
    scaled: npt.NDArray[np.float64] = np.where(
        exponents < 0, magnitudes / powers, magnitudes * powers
    )
    return scaled
