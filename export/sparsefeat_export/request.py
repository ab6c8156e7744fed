"""What a user asks for, as the child processes get it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Which network to export.

    `weights` is a name or an absolute path; `top` is None where the weights decide, `scaling`
    where the model does.
    """

    weights: str
    top: bool | None
    scaling: str | None = None
    channels_divisor: int = 1
