"""Check values against a list of choices, and suggest the nearest one."""

import difflib
from collections.abc import Iterable

from sparsefeat.errors import InputError


def close_matches(word: str, choices: Iterable[str], most: int = 3) -> list[str]:
    """Return the choices that a mistyped word may mean, the most likely first; case is ignored.

    Examples
    --------
    >>> close_matches("cdua", ["cpu", "cuda"]), close_matches("foo", ["cpu", "pool"])
    (['cuda'], [])
    """
    by_lower = {choice.lower(): choice for choice in choices}
    return [by_lower[each] for each in difflib.get_close_matches(word.lower(), by_lower, most)]


def unknown_choice(value: object, choices: Iterable[str], what: str) -> str:
    """Return the message for a value that is not one of the choices, with a suggestion.

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
