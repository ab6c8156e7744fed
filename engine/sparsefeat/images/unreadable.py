"""Why a file could not become a row: of its own, or because of the system."""

import errno
from enum import StrEnum


class Reason(StrEnum):
    """What a reject's `reason` can say."""

    MISSING = "no such file"
    ADDRESS = "an address, not a file: nothing is downloaded"
    FORBIDDEN = "permission denied"
    FOLDER = "a folder, not a file"
    SPECIAL = "not a regular file"
    READ_FAILED = "the file could not be read"
    CHANGED = "the file changed since it was listed"
    EMPTY = "the file is empty"
    OVERSIZED = "the file is larger than any picture within the limit of pixels"
    NO_PICTURE = "not a picture"
    NO_HEIF = "a HEIF picture (HEIC): to read it, pip install 'sparsefeat[heif]'"
    NO_DECODER = "this Pillow has no decoder for the picture: pip install --upgrade pillow"
    HEADER = "the picture's header is damaged or of an unknown kind"
    TRUNCATED = "the picture is truncated"
    CORRUPT = "the picture is corrupt"
    NO_PIXELS = "the picture has no pixels"
    TOO_MANY_PIXELS = "the picture has more pixels than the limit"
    NO_MEMORY = "not enough memory to decode the picture"
    UNSUPPORTED = "the picture's kind of pixels is not supported"
    WARNED = "the decoder warned, and warnings are errors"

    @property
    def of_system(self) -> bool:
        """Whether another try may go otherwise, with the same picture: it is never recorded."""
        return self in _OF_SYSTEM


# What isn't here was concluded from all bytes of a file, or from its size.
_OF_SYSTEM = frozenset(
    {
        Reason.MISSING,
        Reason.ADDRESS,
        Reason.FORBIDDEN,
        Reason.FOLDER,
        Reason.SPECIAL,
        Reason.READ_FAILED,
        Reason.CHANGED,
        Reason.NO_HEIF,
        Reason.NO_DECODER,
        Reason.NO_MEMORY,
        Reason.WARNED,
    }
)


class UnreadableError(Exception):
    """A picture that becomes a reject; never leaves this package.

    Its text is the reason, with what the system said of it where that is known.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason


def os_refusal(error: OSError) -> UnreadableError:
    """Reduce an operating system's refusal to a reason without paths or numbers."""
    if isinstance(error, PermissionError):
        return UnreadableError(Reason.FORBIDDEN)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return UnreadableError(Reason.MISSING)
    if isinstance(error, IsADirectoryError):
        return UnreadableError(Reason.FOLDER)
    if error.errno == errno.ENXIO:  # a socket
        return UnreadableError(Reason.SPECIAL)
    if error.errno == errno.ENOMEM:
        return UnreadableError(Reason.NO_MEMORY)
    return UnreadableError(Reason.READ_FAILED, error.strerror or "")
