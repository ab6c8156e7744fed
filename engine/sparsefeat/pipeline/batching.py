"""Decoded pictures, collected into what goes through the network together."""

import warnings
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field

from sparsefeat.images import Decoded, Preset, QuirkWarning, quirk_message
from sparsefeat.types import PassedOver, Reject

# What else was met goes with the next batch; a million files that are no images don't wait for it.
MAX_WAITING = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Pictures of one batch, and the others met since the one before."""

    decoded: tuple[Decoded, ...]
    rejects: tuple[Reject, ...]
    passed_over: PassedOver = field(default_factory=PassedOver)


def groups(
    results: Iterable[Decoded | Reject | PassedOver], preset: Preset, batch_size: int
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
    passed_over = PassedOver()
    failure = None
    try:
        for result in results:
            if not isinstance(result, Decoded):
                if isinstance(result, Reject):
                    rejects.append(result)
                else:
                    passed_over += result
                if len(rejects) + len(passed_over) >= MAX_WAITING:
                    yield Group(decoded=(), rejects=tuple(rejects), passed_over=passed_over)
                    rejects, passed_over = [], PassedOver()
                continue
            decoded.append(result)
            for note in result.notes - met:
                if message := quirk_message(note, preset):
                    warnings.warn(message, QuirkWarning, stacklevel=3)
            met |= result.notes
            if len(decoded) == batch_size:
                yield Group(decoded=tuple(decoded), rejects=tuple(rejects), passed_over=passed_over)
                decoded, rejects, passed_over = [], [], PassedOver()
    except Exception as exc:
        failure = exc
    if decoded or rejects or passed_over:
        yield Group(decoded=tuple(decoded), rejects=tuple(rejects), passed_over=passed_over)
    if failure is not None:
        raise failure
