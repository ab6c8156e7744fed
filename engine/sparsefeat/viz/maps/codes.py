"""Activations in two bytes each: three significant decimal digits, in the order of the values.

The page shows values rounded to three significant digits. It is sent just those, as whole numbers:
0 is exactly zero and nothing else; otherwise the sign is the value's, and the magnitude counts
the numbers of three digits upwards, 900 to a decade, from 1.00 in the lowest of 36 decades, the
highest being that of the largest value. So what is shown is the activation's own rounding, and
comparing codes compares values.
"""

import base64
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError

DECADES = 36
PER_DECADE = 900  # 100 to 999
POWERS = np.array([float(f"1e{exponent}") for exponent in range(64)])  # float32 needs 47


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """Codes of float32 (H, W, C), and the exponent of ten of their lowest decade.

    `text` is base64 of a zlib stream of all low bytes and then all high bytes of the codes, int16
    in the order C, H, W.
    """

    lowest: int
    text: str


def pack(values: npt.NDArray[np.float32], *, most: int) -> Packed | None:
    """Pack maps for the page, one channel after the other.

    Parameters
    ----------
    values
        float32 (H, W, C).
    most
        Characters that the text may have.

    Returns
    -------
    What the page is sent, or None as soon as that is known to be longer than `most`.

    Raises
    ------
    InputError
        As `encode` does.
    """
    _, lowest = encode(np.array([values.min(), values.max()]))
    # What the bytes have in common is found better with each kind by itself.
    compressor, done, high = zlib.compressobj(6), bytearray(), []
    for channel in range(values.shape[-1]):
        codes, _ = encode(values[..., channel], lowest)
        planes = codes.astype("<i2").reshape(-1, 1).view(np.uint8).T
        done += compressor.compress(planes[0].tobytes())
        high.append(planes[1].tobytes())
        if _encoded_length(done) > most:
            return None
    for plane in high:
        done += compressor.compress(plane)
        if _encoded_length(done) > most:
            return None
    done += compressor.flush()
    if _encoded_length(done) > most:
        return None
    return Packed(lowest=lowest, text=base64.b64encode(done).decode("ascii"))


def _encoded_length(content: bytearray) -> int:
    return -(-len(content) // 3) * 4


def encode(
    values: npt.NDArray[np.float32], lowest: int | None = None
) -> tuple[npt.NDArray[np.int16], int]:
    """Give each value's code, and the exponent of the lowest decade.

    `lowest` is that of more values than these, if they are only some of all; by default it follows
    from the largest of these.

    Values of more than 36 decades below the largest take code 1 or -1, whose number they don't
    reach; activations don't come near that.

    Raises
    ------
    InputError
        One of them is infinite or not a number, which no colour can show.

    Examples
    --------
    >>> codes, lowest = encode(np.array([0, 1, -1.25, 9.994], np.float32))
    >>> decode(codes, lowest).tolist()
    [0.0, 1.0, -1.25, 9.99]
    """
    if not np.isfinite(values).all():
        raise InputError(
            "got activations that are infinite or not a number, which no colour can show: "
            "the model's weights are damaged or their scale is wrong"
        )
    flat = values.ravel()
    magnitudes = np.abs(flat, dtype=np.float64)
    nonzero = np.flatnonzero(magnitudes)
    codes = np.zeros(flat.shape, np.int16)
    if nonzero.size:
        magnitudes = magnitudes[nonzero]
        exponents = np.floor(np.log10(magnitudes)).astype(np.int64)
        digits = np.rint(_scaled(magnitudes, 2 - exponents)).astype(np.int64)
        # The logarithm is rounded, and so are 999.5 and above.
        low, high = digits < 100, digits > 999
        exponents += high.astype(np.int64) - low
        digits = np.rint(_scaled(magnitudes, 2 - exponents)).astype(np.int64)
        if lowest is None:
            lowest = int(exponents.max()) - DECADES + 1
        steps = (exponents - lowest) * PER_DECADE + np.clip(digits, 100, 999) - 99
        codes[nonzero] = np.where(flat[nonzero] < 0, -1, 1) * np.maximum(steps, 1)
    elif lowest is None:
        lowest = 1 - DECADES
    return codes.reshape(values.shape), lowest


def decode(codes: npt.NDArray[np.int16], lowest: int) -> npt.NDArray[np.float64]:
    """Give the numbers that codes stand for, as the page does."""
    steps = np.abs(codes.astype(np.int64)) - 1
    decades, digits = np.divmod(steps, PER_DECADE)
    numbers = [
        float(f"{digit}e{decade}")
        for digit, decade in zip(
            (digits + 100).ravel().tolist(), (decades + lowest - 2).ravel().tolist(), strict=True
        )
    ]
    decoded: npt.NDArray[np.float64] = np.where(
        codes == 0, 0, np.sign(codes) * np.reshape(numbers, codes.shape)
    )
    return decoded


def _scaled(
    magnitudes: npt.NDArray[np.float64], exponents: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Multiply by powers of ten, exactly rounded where the power is exact (up to 1e22)."""
    powers = POWERS[np.abs(exponents)]
    scaled: npt.NDArray[np.float64] = np.where(
        exponents < 0, magnitudes / powers, magnitudes * powers
    )
    return scaled
