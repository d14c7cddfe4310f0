"""What may stand in a log: text of a client or an application, made so that it cannot forge an entry or steer a terminal.

`escape` is for a part of a line that a client chose; `tame` for a whole message, whose further lines are indented.
And the time of an entry, which is the same text for a second.
"""

from collections.abc import Callable

_INDENT = "    "


def escape(text: str) -> str:
    """`text` from a client, fit for a log: printable ASCII without quotes; all else as \\x escapes."""
    # One look in C for nearly all of them; then, and only then, character by character.
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return "".join(map(_escape_character, text))


def tame(text: str) -> str:
    """`text` with its control characters escaped, and every line but the first indented."""
    if text.isprintable():
        return text
    first, *others = ("".join(map(_tame_character, line)) for line in text.split("\n"))
    return "\n".join([first, *(line and _INDENT + line for line in others)])


def each_second(make: Callable[[int], str]) -> Callable[[float], str]:
    """`make`, asked once a second and not once a line."""
    last, made = -1, ""

    def get(now: float) -> str:
        nonlocal last, made
        second = int(now)
        if second != last:
            last, made = second, make(second)
        return made

    return get


def _escape_character(char: str) -> str:
    if " " <= char <= "~" and char not in '"\\':
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _tame_character(char: str) -> str:
    return char if char.isprintable() or char == "\t" else _escape_character(char)
