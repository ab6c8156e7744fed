"""The small frozen records that the stages of an extraction pass on."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from sparsefeat.system import counted, one_line
from sparsefeat_kernels import Csr

NO_EXTRA: Final = "{}"
"""The `Row.extra` of an image without extra columns."""

LONGEST_COLUMN_NAME: Final = 100  # bytes of the name of an extra column
MAX_COLUMNS: Final = 32  # extra columns of an image

Values = TypeVar("Values", bound="Csr | npt.NDArray[np.float32]", covariant=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """The record of one image that became one row.

    `path` is relative to `root`, with forward slashes. In `path`, `root` and `label`, the percent
    sign and bytes that are not UTF-8 are percent-encoded, so that they are always valid text;
    `sparsefeat.images.decode_path` restores the names.
    """

    path: str
    root: str
    label: str
    bytes: int  # size of the file
    mtime_ns: int  # nanoseconds since 1970, clipped to int64
    sha256: str  # of the file's bytes, in hexadecimal
    width: int  # in pixels, as stored in the file
    height: int
    format: str  # "JPEG", "PNG", ...
    extra: str = NO_EXTRA  # extra columns, from the table or archive that lists it: a JSON object


RESERVED_COLUMNS: Final = {*(each.name for each in fields(Row)), "_index", "index", "row_id"}
"""Names that an extra column can't have."""


def is_column_name(name: str) -> bool:
    """Return whether `name` is allowed as the name of an extra column.

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
    """An input that could not be read as an image, and the reason. Other fields as in `Row`."""

    path: str
    root: str
    bytes: int
    mtime_ns: int
    sha256: str  # empty if the file was too large to be read
    reason: str


class RejectWarning(UserWarning):
    """Some inputs could not be read and have no row, so there are fewer rows than inputs."""


def reject_message(rejects: Sequence[Reject], count: int | None = None) -> str:
    """Describe in one line how many inputs have no row, and why the first has none.

    >>> lost = Reject(path="a.jpg", root="", bytes=0, mtime_ns=0, sha256="", reason="no such file")
    >>> reject_message([lost], 3)
    '3 images could not be read and have no row, the first: a.jpg: no such file'
    """
    n = len(rejects) if count is None else count
    first = f"{one_line(rejects[0].path) or 'an image without a name'}: {rejects[0].reason}"
    said = f"{counted(n, 'image')} could not be read and {'has' if n == 1 else 'have'} no row"
    return f"{said}: {first}" if n == 1 else f"{said}, the first: {first}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadFailure(Reject):
    """An input that could not be read this time, although the image may be intact.

    The file is missing or not permitted, the drive fails, or memory or file descriptors run out.
    It is not recorded in a store, and the next run tries it again.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """Inputs that were skipped because the store has a record of them.

    Attributes
    ----------
    stored, rejected
        How many have a row, and how many were rejected by an earlier run.
    changed
        Paths of the inputs that have a row but changed on disk since.
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
    """Split into inputs that are rejected for good, and inputs to try again (`ReadFailure`)."""
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
        """Number of elements in a row."""
        return math.prod(self.shape)

    @property
    def feature_names(self) -> list[str]:
        """A name for each element of a row: the layer's name and the element's number.

        Examples
        --------
        >>> Layer(name="fc2", shape=(3,)).feature_names
        ['fc2_0', 'fc2_1', 'fc2_2']
        """
        return [f"{self.name}_{number}" for number in range(self.n_features)]

    @property
    def n_channels(self) -> int:
        """Number of channels: the extent of the last axis."""
        return self.shape[-1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch(Generic[Values]):
    """The activations of some consecutive images.

    Attributes
    ----------
    rows
        The records of the images; may be empty.
    layers
        By layer name: a `Csr`, or float32 (rows, features), with a row for each of `rows`.
    rejects
        The inputs since the previous batch that have no row. Those to try again are of the type
        `ReadFailure`.
    skipped
        In an extraction to a store: the inputs since the previous batch that it has a record of.
    """

    rows: tuple[Row, ...]
    layers: Mapping[str, Values]
    rejects: tuple[Reject, ...] = field(default=())
    skipped: Skipped = field(default_factory=Skipped)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelScales:
    """The scales of a layer whose values are ``scale * code`` with integer codes.

    Attributes
    ----------
    scales
        float32 (C,), finite and positive: a scale for each channel.
    largest
        The largest code that may occur; at most 65,535.
    """

    scales: npt.NDArray[np.float32]
    largest: int = 255
