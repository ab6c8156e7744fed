"""Words of which only some are known."""

import difflib
from collections.abc import Iterable

from sparsefeat.errors import InputError


def close_matches(word: str, choices: Iterable[str], most: int = 3) -> list[str]:
    """Give the choices that a word may be a mistyping of, the likeliest first; case is ignored.

    Examples
    --------
    >>> close_matches("cdua", ["cpu", "cuda"]), close_matches("foo", ["cpu", "pool"])
    (['cuda'], [])
    """
    by_lower = {choice.lower(): choice for choice in choices}
    return [by_lower[each] for each in difflib.get_close_matches(word.lower(), by_lower, most)]


def unknown_choice(value: object, choices: Iterable[str], what: str) -> str:
    """Say that a value is none of the choices, and which is near.

    Examples
    --------
    >>> unknown_choice("cdua", ["cpu", "cuda"], "provider")
    "unknown provider 'cdua', expected one of: cpu, cuda; did you mean cuda?"
    """
    choices = tuple(choices)
    likely = close_matches(value, choices, 1) if isinstance(value, str) else []
    meant = f"; did you mean {likely[0]}?" if likely else ""
    return f"unknown {what} {value!r:.60}, expected one of: {', '.join(choices)}{meant}"


def check_choice(value: object, choices: Iterable[str], what: str) -> None:
    """Raise `InputError` unless a value is one of the choices."""
    choices = tuple(choices)
    if not isinstance(value, str) or value not in choices:
        raise InputError(unknown_choice(value, choices, what))
