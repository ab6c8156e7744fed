"""Why a file could not become a row: the stable reasons of rejects."""

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


class UnreadableError(Exception):
    """A picture that becomes a reject; never leaves this package."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


def os_reason(error: OSError) -> Reason:
    """Reduce an operating system's refusal to a reason without paths or numbers."""
    if isinstance(error, PermissionError):
        return Reason.FORBIDDEN
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return Reason.MISSING
    if isinstance(error, IsADirectoryError):
        return Reason.FOLDER
    return Reason.READ_FAILED
