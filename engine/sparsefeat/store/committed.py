"""Which of a store's committed parts count, and in what order their rows come.

A part may take over the rows of others (`Header.replaces`): compaction writes it, and removes the
others afterwards. Between the two, and after a crash, both are there. There is no list of parts
to keep in step with the folder: what counts follows from names and headers alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsefeat.errors import (
    StoreChangedError,
    StoreCorruptError,
    StoreError,
    StoreMismatchError,
    StoreReadError,
)
from sparsefeat.store.header import differences
from sparsefeat.store.layout import list_parts, part_name, part_number
from sparsefeat.store.part import Part
from sparsefeat.store.ranges import NO_NUMBERS, Ranges

TRIES = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """What lies in a store's folder.

    Parameters
    ----------
    paths
        The parts that count, in the order of their rows.
    parts
        Those of them whose header can be read.
    damaged
        Those that can't, or that contradict others, and why.
    replaced
        Parts that count no more, as another one has taken over their rows.
    missing
        Numbers of parts that have gone though no other part has replaced them.
    """

    paths: tuple[Path, ...]
    parts: Mapping[Path, Part]
    damaged: Mapping[Path, StoreError]
    replaced: tuple[Path, ...]
    missing: Ranges

    def sound(self) -> list[Part]:
        """Give the parts that count, in the order of their rows.

        Raises
        ------
        StoreCorruptError, StoreError
            One of them is damaged, or of a newer format.
        """
        for error in self.damaged.values():
            raise error
        return [self.parts[path] for path in self.paths]


def survey(folder: Path) -> Survey:
    """Look at all parts of a store, while others may append to it or compact it.

    Each header is read once, newest part first, so that those of replaced parts are never read.
    Committing and removing go on meanwhile: what is listed counts once the same names are found
    before and after reading, for then no part was missed that had replaced a missing one.

    Raises
    ------
    StoreError
        The folder changed each time that it was looked at.
    StoreReadError
        The system refused to read a part.
    FileNotFoundError, NotADirectoryError
        There is no folder.
    """
    listed = list_parts(folder)
    read: dict[Path, Part] = {}
    for _ in range(TRIES):
        try:
            found = _read(listed, read)
        except StoreChangedError:
            found = None  # a part has gone since it was listed
        before, listed = listed, list_parts(folder)
        if found is not None and listed == before:
            return found
    raise StoreError(
        f"{folder} changed whenever it was read, expected it to rest for a moment: "
        "wait for who writes to it"
    )


def check_alike(parts: Sequence[Part], *, advice: str) -> None:
    """See that parts agree in settings, layers, and how exactly values are kept.

    Raises
    ------
    StoreMismatchError
        Two of them differ; it ends with the advice.
    """
    for part in parts[1:]:
        if different := differences(part.header.identity(), parts[0].header.identity()):
            raise StoreMismatchError(
                f"{part.path} and {parts[0].path} have other settings: {'; '.join(different)}: "
                f"{advice}"
            )


def _read(listed: list[Path], read: dict[Path, Part]) -> Survey:
    taken = NO_NUMBERS
    numbers: list[int] = []
    places: dict[Path, int] = {}
    damaged: dict[Path, StoreError] = {}
    replaced: list[Path] = []
    for path in reversed(listed):
        number = part_number(path.name)
        assert number is not None
        numbers.append(number)
        if number in taken:
            replaced.append(path)
            continue
        places[path] = number
        try:
            if path not in read:
                part = Part(path)
                if part.header.replaces:
                    part.confirm()  # a flipped bit in it would hide other parts
                read[path] = part
            part = read[path]
        except (StoreChangedError, StoreReadError):
            raise
        except StoreError as exc:
            damaged[path] = exc
            continue
        replaces = part.header.replaces
        if not replaces:
            continue
        if replaces.pairs[-1][1] >= number:
            damaged[path] = _contradiction(path, replaces.pairs[-1][1], "parts of smaller numbers")
            continue
        for pair in replaces.pairs:
            if (double := taken.overlap(pair)) is not None:  # its rows would be there twice
                damaged[path] = _contradiction(path, double, "no part that another one replaces")
        taken |= replaces
        places[path] = replaces.pairs[0][0]
    paths = sorted(places, key=places.__getitem__)
    there = Ranges.of((number, number) for number in numbers)
    return Survey(
        paths=tuple(paths),
        parts={path: read[path] for path in paths if path in read},
        damaged={path: damaged[path] for path in paths if path in damaged},
        replaced=tuple(reversed(replaced)),
        missing=(taken | there).gaps(max(numbers, default=-1) + 1),
    )


def _contradiction(path: Path, number: int, expected: str) -> StoreCorruptError:
    return StoreCorruptError(
        f"{path} says that it replaces {part_name(number)}, expected {expected}: "
        "see sparsefeat verify, and move one of them elsewhere"
    )
