"""Makes the system refuse what root may do, for the duration of a block."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def as_nobody(inside: Path | None = None) -> Iterator[None]:
    """Become a user whom permissions restrict, unlike root; let that user into a folder."""
    for folder in (inside, *inside.parents) if inside else ():
        if not folder.stat().st_mode & 0o001:  # pytest's folders are private
            folder.chmod(0o755)
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def no_more_than(limit: int, size: int) -> Iterator[None]:
    """Lower a limit of `resource`.

    With ``RLIMIT_FSIZE``, longer files are refused, as on a full disk.
    """
    soft, hard = resource.getrlimit(limit)
    resource.setrlimit(limit, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(limit, (soft, hard))
