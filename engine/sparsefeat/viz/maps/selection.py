"""Which channels: the words that a user writes, and the numbers they mean."""

import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import SupportsIndex

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError

_ITEM = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")
_TOP = re.compile(r"top:(\d{1,9})")
FORMS = "all, 5, 3,8,12, 0-15 or top:16"


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Channels by number, in the order written, or the best `top` of all.

    `numbers` is None for all channels.
    """

    numbers: tuple[int, ...] | None = None
    top: int | None = None

    def pick(
        self, n_channels: int, scores: npt.NDArray[np.float64] | None
    ) -> npt.NDArray[np.int64]:
        """Give the channels' numbers, int64 (k,).

        Parameters
        ----------
        n_channels
            Channels that the layer has.
        scores
            float64 (n_channels,): the best come first, of equal ones the lower number. Without
            them channels stay as they were written, and there must be no `top`.

        Raises
        ------
        InputError
            The layer has fewer channels.
        """
        if self.top is not None and not 1 <= self.top <= n_channels:
            raise InputError(
                f"got channels top:{self.top}, expected top:1 to top:{n_channels}, "
                "as many as the layer has"
            )
        numbers = np.array(range(n_channels) if self.numbers is None else self.numbers, np.int64)
        if numbers.max() >= n_channels:
            raise InputError(
                f"got channel {numbers.max()}, expected 0 to {n_channels - 1}: "
                f"the layer has {n_channels} channels"
            )
        if scores is not None:
            numbers = numbers[np.lexsort((numbers, -scores[numbers]))]
        return numbers[: self.top]


def parse_channels(channels: str | int | Sequence[int]) -> Selection:
    """Read ``all``, ``5``, ``3,8,12``, ``0-15``, mixtures of these, or ``top:16``.

    A channel that is named twice counts once. From Python a number or a sequence of numbers
    will do as well.

    Raises
    ------
    InputError
        It is none of these.

    Examples
    --------
    >>> parse_channels("0-2,7").numbers
    (0, 1, 2, 7)
    >>> parse_channels("top:16").top
    16
    """
    if not isinstance(channels, str):
        if isinstance(channels, bytes | Mapping) or not isinstance(
            channels, Iterable | SupportsIndex
        ):
            raise InputError(f"got channels as a {type(channels).__name__}, expected {FORMS}")
        numbers: list[object]
        try:
            numbers = [channels] if isinstance(channels, bool) else [operator.index(channels)]  # type: ignore[arg-type]
        except TypeError:
            numbers = list(channels)  # type: ignore[arg-type]
        channels = ",".join(map(str, numbers))
    if channels.strip() == "all":
        return Selection()
    if top := _TOP.fullmatch(channels.strip()):
        return Selection(top=int(top[1]))
    found: dict[int, None] = {}
    for word in channels.split(","):
        item = _ITEM.fullmatch(word.strip())
        if item is None:
            raise InputError(f"got channels {channels!r}, expected {FORMS}")
        first, last = int(item[1]), int(item[2] or item[1])
        if not first <= last < 1 << 20:
            raise InputError(f"got channels {word.strip()!r}, expected them to rise, such as 0-15")
        found.update(dict.fromkeys(range(first, last + 1)))
    return Selection(numbers=tuple(found))
