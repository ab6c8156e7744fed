"""Format numbers and untrusted text for messages of one line."""

_MAX_CHARACTERS = 300


def one_line(text: str, *, most: int = _MAX_CHARACTERS) -> str:
    r"""Escape unprintable characters such as newlines, and shorten long text in the middle.

    Examples
    --------
    >>> one_line("two\nlines, été")
    'two\\nlines, été'
    >>> one_line("0123456789", most=6)
    '012 ... 789'
    """
    if len(text) > most:
        text = f"{text[: most // 2]} ... {text[-(most // 2) :]}"
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def format_bytes(count: int) -> str:
    """Format a number of bytes with a unit and about three digits.

    Examples
    --------
    >>> format_bytes(602112), format_bytes(12)
    ('602 kB', '12 B')
    """
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def percent(share: float | None) -> str:
    """Format a share, 0 to 1, as a percentage; only 0 becomes "0 %", only 1 becomes "100 %".

    Examples
    --------
    >>> percent(0.9132), percent(0.99996), percent(1), percent(0.0001), percent(0), percent(None)
    ('91.3 %', '> 99.9 %', '100 %', '< 0.1 %', '0 %', '-')
    """
    if share is None or share != share:
        return "-"
    if share in (0, 1):
        return f"{100 * share:.0f} %"
    if share < 0.0005:
        return "< 0.1 %"
    if 0.9995 <= share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %"


def counted(count: int, what: str, plural: str = "") -> str:
    """Format a number of things, with the noun in singular or plural.

    Examples
    --------
    >>> counted(1, "row"), counted(1234, "row"), counted(2, "entry", "entries")
    ('1 row', '1,234 rows', '2 entries')
    """
    return f"{count:,} {what}" if count == 1 else f"{count:,} {plural or what + 's'}"


def ranges(numbers: list[int], most: int) -> str:
    """Format ascending whole numbers, with consecutive numbers as a range.

    After `most` ranges, it gives only the number of those left out.

    Examples
    --------
    >>> ranges([0, 1, 2, 5, 7, 8], most=2)
    '0-2, 5 and 2 more'
    """
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    said = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in found[:most])
    left = sum(b - a + 1 for a, b in found[most:])
    return f"{said} and {left:,} more" if left else said
