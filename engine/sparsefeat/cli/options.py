"""Types of options that several commands take."""

import click


class Size(click.ParamType[tuple[int, int]]):
    """Height and width of pictures."""

    name = "HEIGHTxWIDTH"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Read ``224x224``."""
        height, cross, width = value.partition("x")
        if not (cross and height.isdecimal() and width.isdecimal()):
            self.fail(f"got {value!r}, expected height and width such as 224x224", param, ctx)
        return int(height), int(width)


class Counts(click.ParamType[tuple[int, ...]]):
    """Whole numbers of at least 1, separated by commas."""

    name = "N,N,..."

    def convert(
        self,
        value: str | tuple[int, ...],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[int, ...]:
        """Read ``1,8,32``."""
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in value.split(",")]
        if not all(word.isdecimal() and int(word) for word in words):
            self.fail(f"got {value!r}, expected numbers from 1 such as 1,8,32", param, ctx)
        return tuple(map(int, words))
