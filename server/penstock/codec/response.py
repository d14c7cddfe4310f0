"""A response's head: status and fields of the app in, octets out, or a `ResponseError` (RFC 9112 4 to 6).

No octet of an app can end a field: every name is a token, checked once and kept in a bounded table, and one `translate`
over the finished lines finds any CR, LF, NUL or other control octet in a value. Fields that an app sends again and
again are checked once, whole. A full table is emptied, so that what comes once does not fill it for good. What frames
the body is decided here alone: the app's Content-Length is held to, its Transfer-Encoding is not sent on, nor whether it
would keep the connection.
"""

from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple

from .errors import ResponseError
from .grammar import FIELD_OCTETS, MAX_LENGTH_DIGITS, is_token, tokens_of

_PLAIN, _CHANGING, _DATE, _SERVER, _LENGTH, _CODING, _CONNECTION = range(7)
_KINDS = {
    # Secret, or another one in each response: not worth a place in `_LINES`.
    **dict.fromkeys((b"set-cookie", b"etag", b"last-modified", b"location", b"expires", b"content-range"), _CHANGING),
    b"content-length": _LENGTH,
    b"transfer-encoding": _CODING,
    b"connection": _CONNECTION,
    b"keep-alive": _CODING,
    b"date": _DATE,
    b"server": _SERVER,
}

_NAMES: dict[bytes, tuple[bytes, int]] = {}
_LINES: dict[object, bytes] = {}
_MAX_NAMES = _MAX_LINES = 1024
_MAX_KEPT = 128

STATUS_LINES = {
    status: b"HTTP/1.1 %d %s\r\n" % (status, HTTPStatus(status).phrase.encode() if status in HTTPStatus._value2member_map_ else b"")
    for status in range(100, 1000)
}


class Defaults(NamedTuple):
    """Ready-made field lines, each with its CRLF, that a response gets unless the app sends that field itself."""

    date: bytes
    server: bytes
    both: bytes


FieldBlock = tuple[bytes, int | None, bool]
"""The app's fields as octets (lines, each with its CRLF, Date and Server among them, Content-Length not); the
Content-Length the app gave, or None; whether it asked to close the connection."""


def encode_fields(fields: Iterable[tuple[bytes, bytes]], defaults: Defaults) -> FieldBlock:
    """Check the app's fields and join them. Raises ResponseError for what cannot go on the wire."""
    lines: list[bytes] = []
    unchecked: list[bytes] = []
    length: int | None = None
    wants_close = False
    common = defaults.both
    try:
        for field in fields:
            line = _LINES.get(field) if type(field) is tuple else None
            if line is None:
                name, value = field
                start, kind = _NAMES.get(name) or _learn_name(name)
                if kind == _LENGTH:
                    if length is not None:
                        raise ResponseError("more than one content-length in the response")
                    length = _read_length(value)
                    continue
                if kind == _CONNECTION:
                    options = set(tokens_of(value))
                    wants_close = wants_close or b"close" in options
                    # Beside an Upgrade the app must name it here (RFC 9110 7.8); to close or not is the codec's to say.
                    value = b", ".join(sorted(options - {b"close", b"keep-alive"}))
                if kind == _CODING or (kind == _CONNECTION and not value):
                    continue
                line = start + value + b"\r\n"
                if kind != _PLAIN or not _remember(field, line):
                    unchecked.append(line)
                    # What the app says itself is not said for it.
                    common = common.replace({_DATE: defaults.date, _SERVER: defaults.server}.get(kind, b""), b"")
            lines.append(line)
    except ResponseError:
        raise
    except (TypeError, ValueError, AttributeError) as error:
        raise ResponseError(f"headers must be an iterable of pairs of bytes: {error}") from None
    if unchecked:
        _check(unchecked)
    return common + b"".join(lines), length, wants_close


def encode_trailers(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The trailer section behind the last chunk (RFC 9112 7.1.2), by the same checks; framing fields are left out."""
    return encode_fields(fields, Defaults(b"", b"", b""))[0]


def _learn_name(name: bytes) -> tuple[bytes, int]:
    """Check a field name not seen before, and remember it."""
    if not isinstance(name, bytes):
        raise ResponseError(f"a header name must be bytes, not {type(name).__name__}: {name!r}")
    if not is_token(name):
        raise ResponseError(f"not a valid header name: {name!r}")
    known = name + b": ", _KINDS.get(name.lower(), _PLAIN)
    if len(name) <= 64:
        if len(_NAMES) >= _MAX_NAMES:
            _NAMES.clear()
        _NAMES[name] = known
    return known


@lru_cache(_MAX_LINES)
def _read_length(value: bytes) -> int:
    if not isinstance(value, bytes) or not value.isdigit() or len(value) > MAX_LENGTH_DIGITS:
        raise ResponseError(f"not a valid content-length: {value!r}")
    return int(value)


def _remember(field: object, line: bytes) -> bool:
    """Check the line of a field and keep it for the next response; False, unchecked, where it has no place."""
    if len(line) > _MAX_KEPT or type(field) is not tuple:
        return False
    _check([line])
    if len(_LINES) >= _MAX_LINES:
        _LINES.clear()
    _LINES[field] = line
    return True


def _check(lines: list[bytes]) -> None:
    """Refuse a control octet in a value: nothing but the line ends may be left when all allowed octets are deleted."""
    if len(b"".join(lines).translate(None, FIELD_OCTETS)) != 2 * len(lines):
        for line in lines:
            if line.translate(None, FIELD_OCTETS) != b"\r\n":
                name, _, value = line[:-2].partition(b": ")
                raise ResponseError(f"a control octet (CR, LF, NUL …) in the value of header {name!r}: {value!r}")
