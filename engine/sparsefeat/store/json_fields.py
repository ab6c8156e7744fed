"""Reading JSON that may be anybody's: each function checks what it gives."""

from typing import TypeAlias

from sparsefeat.store.bounds import JSON_DEPTH

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"


def mapping(value: object) -> dict[str, object]:
    """Give an object."""
    if not isinstance(value, dict):
        raise TypeError(f"got {value!r}, expected a mapping")
    return value


def json_mapping(value: object) -> dict[str, JSON]:
    """Give an object whose values are taken as they are, unless they are nested too deep."""
    if not isinstance(value, dict):
        raise TypeError(f"got {value!r}, expected a mapping")
    if not _is_shallow(value, JSON_DEPTH):
        raise ValueError(f"values nested more than {JSON_DEPTH} deep")
    return value


def sequence(value: object) -> list[object]:
    """Give an array."""
    if not isinstance(value, list):
        raise TypeError(f"got {value!r}, expected a list")
    return value


def text(value: object) -> str:
    """Give a string."""
    if not isinstance(value, str):
        raise TypeError(f"got {value!r}, expected text")
    return value


def count(value: object) -> int:
    """Give a number from 0 to 2**63 - 1."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise TypeError(f"got {value!r}, expected a count")
    return value


def _is_shallow(value: object, levels: int) -> bool:
    if isinstance(value, dict):
        value = [*value.values()]
    if not isinstance(value, list):
        return True
    return levels > 0 and all(_is_shallow(each, levels - 1) for each in value)
