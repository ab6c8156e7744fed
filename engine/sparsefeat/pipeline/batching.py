"""Decoded pictures, collected into what goes through the network together."""

import warnings
from collections.abc import Generator, Iterable
from dataclasses import dataclass

from sparsefeat.images import Decoded, Preset, QuirkWarning, quirk_message
from sparsefeat.types import Reject

# Rejects go with the next batch, but a million files that are no pictures don't wait for one.
MAX_WAITING_REJECTS = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Pictures of one batch, and the rejects met since the one before."""

    decoded: tuple[Decoded, ...]
    rejects: tuple[Reject, ...]


def groups(
    results: Iterable[Decoded | Reject], preset: Preset, batch_size: int
) -> Generator[Group, None, None]:
    """Collect groups of `batch_size` pictures, up to where `results` raises.

    Warns
    -----
    QuirkWarning
        Once for each way in which `preset` treats a picture worse than another would.
    """
    met: set[str] = set()
    decoded: list[Decoded] = []
    rejects: list[Reject] = []
    failure = None
    try:
        for result in results:
            if isinstance(result, Reject):
                rejects.append(result)
                if len(rejects) == MAX_WAITING_REJECTS:
                    yield Group(decoded=(), rejects=tuple(rejects))
                    rejects = []
                continue
            decoded.append(result)
            for note in result.notes - met:
                if message := quirk_message(note, preset):
                    warnings.warn(message, QuirkWarning, stacklevel=3)
            met |= result.notes
            if len(decoded) == batch_size:
                yield Group(decoded=tuple(decoded), rejects=tuple(rejects))
                decoded, rejects = [], []
    except Exception as exc:
        failure = exc
    if decoded or rejects:
        yield Group(decoded=tuple(decoded), rejects=tuple(rejects))
    if failure is not None:
        raise failure
