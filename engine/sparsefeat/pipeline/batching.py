"""Decoded images, collected into what goes through the network together."""

import warnings
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field

from sparsefeat.images import Decoded, Preset, QuirkWarning, quirk_message
from sparsefeat.types import Reject, Skipped

# What else was met goes with the next batch; a million files that are no images don't wait for it.
MAX_WAITING = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Images of one batch, and the others met since the one before."""

    decoded: tuple[Decoded, ...]
    rejects: tuple[Reject, ...]
    skipped: Skipped = field(default_factory=Skipped)


def groups(
    results: Iterable[Decoded | Reject | Skipped], preset: Preset, batch_size: int
) -> Generator[Group, None, None]:
    """Collect groups of `batch_size` images, up to where `results` raises.

    Warns
    -----
    QuirkWarning
        Once for each way in which `preset` treats an image worse than another would.
    """
    met: set[str] = set()
    decoded: list[Decoded] = []
    rejects: list[Reject] = []
    skipped = Skipped()
    failure = None
    try:
        for result in results:
            if not isinstance(result, Decoded):
                if isinstance(result, Reject):
                    rejects.append(result)
                else:
                    skipped += result
                if len(rejects) + len(skipped) >= MAX_WAITING:
                    yield Group(decoded=(), rejects=tuple(rejects), skipped=skipped)
                    rejects, skipped = [], Skipped()
                continue
            decoded.append(result)
            for note in result.notes - met:
                if message := quirk_message(note, preset):
                    warnings.warn(message, QuirkWarning, stacklevel=3)
            met |= result.notes
            if len(decoded) == batch_size:
                yield Group(decoded=tuple(decoded), rejects=tuple(rejects), skipped=skipped)
                decoded, rejects, skipped = [], [], Skipped()
    except Exception as exc:
        failure = exc
    if decoded or rejects or skipped:
        yield Group(decoded=tuple(decoded), rejects=tuple(rejects), skipped=skipped)
    if failure is not None:
        raise failure
