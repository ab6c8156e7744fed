"""The small frozen records that the stages of an extraction hand on."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from sparsefeat.system import counted, one_line
from sparsefeat_kernels import Csr

NOTHING_KEPT: Final = "{}"
"""The `Row.extra` of an image of which nothing else was to be kept."""

LONGEST_COLUMN_NAME: Final = 100  # bytes of one that is kept
MAX_COLUMNS: Final = 32  # that are kept of an image

Values = TypeVar("Values", bound="Csr | npt.NDArray[np.float32]", covariant=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One image that became one row.

    `path` is relative to `root`, with forward slashes. In both, as in `label`, bytes that
    aren't UTF-8 and the percent sign itself are percent-encoded: they are always valid text,
    and `sparsefeat.images.decode_path` gives back the names.
    """

    path: str
    root: str
    label: str
    bytes: int  # size of the file
    mtime_ns: int  # since 1970; a time that is no int64 is its smallest or largest
    sha256: str  # of the file's bytes, in hexadecimal
    width: int  # of the image as stored in the file, in pixels
    height: int
    format: str  # "JPEG", "PNG", ...
    extra: str = NOTHING_KEPT  # other columns of where it was listed, as a JSON object


RESERVED_COLUMNS: Final = {*(each.name for each in fields(Row)), "_index", "index", "row_id"}
"""Names that no kept column can have."""


def is_column_name(name: str) -> bool:
    """Tell whether a column of that name can be kept beside those that every store has.

    Examples
    --------
    >>> is_column_name("caption"), is_column_name("width"), is_column_name("a/b")
    (True, False, False)
    """
    if name in RESERVED_COLUMNS or "/" in name or not name or name != name.strip():
        return False
    try:
        return len(name.encode()) <= LONGEST_COLUMN_NAME and name.isprintable()
    except UnicodeEncodeError:
        return False


@dataclass(frozen=True, kw_only=True, slots=True)
class Reject:
    """One input that could not be read as an image, and why. Fields as in `Row`."""

    path: str
    root: str
    bytes: int
    mtime_ns: int
    sha256: str  # empty where the file was too large to be read
    reason: str


class RejectWarning(UserWarning):
    """Some inputs gave no row, so that there are fewer rows than inputs."""


def reject_message(rejects: Sequence[Reject], count: int | None = None) -> str:
    """Say how many inputs gave no row, and why the first of them.

    >>> lost = Reject(path="a.jpg", root="", bytes=0, mtime_ns=0, sha256="", reason="no such file")
    >>> reject_message([lost], 3)
    '3 images could not be read and gave no row, the first: a.jpg: no such file'
    """
    n = len(rejects) if count is None else count
    first = f"{one_line(rejects[0].path) or 'one without a name'}: {rejects[0].reason}"
    said = f"{counted(n, 'image')} could not be read and gave no row"
    return f"{said}: {first}" if n == 1 else f"{said}, the first: {first}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadFailure(Reject):
    """An input that could not be read this time, for a cause that lies in the system.

    The file is missing or forbidden, the drive fails, memory or descriptors run out: that says
    nothing of the image. No store records it, and the next run tries it again.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """Inputs that were not worked on, because a store knows them: how many of each kind.

    `changed` are the paths of those that have a row but changed on disk since.
    """

    stored: int = 0
    rejected: int = 0
    changed: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.stored + self.rejected + len(self.changed)

    def __add__(self, other: "Skipped") -> "Skipped":
        return Skipped(
            stored=self.stored + other.stored,
            rejected=self.rejected + other.rejected,
            changed=self.changed + other.changed,
        )


def split_failures(
    rejects: Iterable[Reject],
) -> tuple[list[Reject], list[ReadFailure]]:
    """Split into what was rejected for good, and what could not be read this time."""
    rejected: list[Reject] = []
    failed: list[ReadFailure] = []
    for each in rejects:
        if isinstance(each, ReadFailure):
            failed.append(each)
        else:
            rejected.append(each)
    return rejected, failed


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A layer's output for one image: its name and shape, (H, W, C) or (F,)."""

    name: str
    shape: tuple[int, ...]

    @property
    def n_features(self) -> int:
        """Elements per row."""
        return math.prod(self.shape)

    @property
    def feature_names(self) -> list[str]:
        """A name for each element of a row: the layer's, and the element's number.

        Examples
        --------
        >>> Layer(name="fc2", shape=(3,)).feature_names
        ['fc2_0', 'fc2_1', 'fc2_2']
        """
        return [f"{self.name}_{number}" for number in range(self.n_features)]

    @property
    def n_channels(self) -> int:
        """Extent of the last axis."""
        return self.shape[-1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch(Generic[Values]):
    """What came out of the network for some consecutive images.

    Each layer has ``len(rows)`` rows, in the same order: a `Csr`, or float32 (rows, features).
    `rejects` are the inputs met since the batch before that gave no row, each a `ReadFailure`
    where the system is the cause. A batch may have no rows at all.
    In an extraction to a store, `skipped` counts those met since that the store knows.
    """

    rows: tuple[Row, ...]
    layers: Mapping[str, Values]
    rejects: tuple[Reject, ...] = field(default=())
    skipped: Skipped = field(default_factory=Skipped)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelScales:
    """What a layer's values are whole numbers of.

    Attributes
    ----------
    scales
        float32 (C,), finite and positive.
    largest
        The largest number that may occur; at most 65,535.
    """

    scales: npt.NDArray[np.float32]
    largest: int = 255
