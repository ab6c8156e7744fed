"""Divide images among processes that do not communicate."""

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Self

from sparsefeat.errors import InputError

_TEXT = re.compile(r"(\d{1,6})/(\d{1,6})", re.ASCII)


@dataclass(frozen=True)
class Shard:
    """The share of one of several processes: number `index`, from 0, of `count`.

    The shard of a file follows from a hash of its path below the root; an archive belongs to one
    shard with all its members. Each image is in exactly one shard, even if the processes list the
    images at different times and in different order.

    Raises
    ------
    InputError
        `index` is not between 0 and `count` - 1.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        """Check that `index` is below `count`."""
        if not 0 <= self.index < self.count:
            raise InputError(
                f"got shard {self.index} of {self.count}, expected one of 0 to {self.count - 1}"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Make a shard from text.

        Examples
        --------
        >>> Shard.parse("3/8")
        Shard(index=3, count=8)
        """
        if (found := _TEXT.fullmatch(text)) is None or int(found[2]) == 0:
            raise InputError(f"got shard {text!r:.60}, expected I/N, such as 0/4 to 3/4")
        return cls(int(found[1]), int(found[2]))

    def holds(self, path: str) -> bool:
        """Return whether a file with this `Source.path` belongs to this shard."""
        digest = blake2b(path.encode(), digest_size=8).digest()
        return int.from_bytes(digest) % self.count == self.index
