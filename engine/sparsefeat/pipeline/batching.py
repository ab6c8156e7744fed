"""Collect decoded images into the groups that go through the network together."""

import warnings
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field

from sparsefeat.images import Decoded, Preset, QuirkWarning, quirk_message
from sparsefeat.types import Reject, Skipped

# Rejects are passed on with the next group, but at most this many wait for it.
MAX_WAITING = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """The images of one batch, and the inputs without a row since the group before."""

    decoded: tuple[Decoded, ...]
    rejects: tuple[Reject, ...]
    skipped: Skipped = field(default_factory=Skipped)


def groups(
    results: Iterable[Decoded | Reject | Skipped], preset: Preset, batch_size: int
) -> Generator[Group, None, None]:
    """Collect groups of `batch_size` images; if `results` raises, yield the rest first.

    Warns
    -----
    QuirkWarning
        Once for each kind of image that another preset would treat better than `preset`.
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
