"""Dividing images among processes that know nothing of each other."""

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Self

from sparsefeat.errors import InputError

_TEXT = re.compile(r"(\d{1,6})/(\d{1,6})", re.ASCII)


@dataclass(frozen=True)
class Shard:
    """One of several processes that share the work: number `index`, from 0, of `count`.

    A file goes to the shard that a hash of its path below the root names, an archive with all
    that is in it. So listings may be taken at different times and in any order, and each image
    is in exactly one shard.

    Raises
    ------
    InputError
        `index` is not one of 0 to `count` - 1.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        """Refuse a shard that is none of them."""
        if not 0 <= self.index < self.count:
            raise InputError(
                f"got shard {self.index} of {self.count}, expected one of 0 to {self.count - 1}"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a shard from text.

        Examples
        --------
        >>> Shard.parse("3/8")
        Shard(index=3, count=8)
        """
        if (found := _TEXT.fullmatch(text)) is None or int(found[2]) == 0:
            raise InputError(f"got shard {text!r:.60}, expected I/N, such as 0/4 to 3/4")
        return cls(int(found[1]), int(found[2]))

    def holds(self, path: str) -> bool:
        """Tell whether the file of this path, as `Source` has it, is one of this shard's."""
        digest = blake2b(path.encode(), digest_size=8).digest()
        return int.from_bytes(digest) % self.count == self.index
