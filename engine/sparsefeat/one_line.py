"""Text from elsewhere, as part of a message of one line."""

_MOST = 300


def one_line(text: str, *, most: int = _MOST) -> str:
    r"""Escape what doesn't print, such as a line's end, and leave out the middle of what is long.

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
