"""What an application may send beside start and body (ASGI, "Extensions"), and where it is told that it may.

    http.response.early_hint    103 with links, before the head is on its way
    http.response.trailers      fields behind a body in chunks, to a client that asks for them (TE: trailers)
    http.response.pathsend      a whole file as the body, by its path
    http.response.zerocopysend  a part of an open file as a piece of the body

Each function here checks its message and does it; which may come when is `http.py`'s. Nothing is kept for a request that
uses none of them.
"""

import os
import stat
from collections.abc import Iterable
from typing import Any, NamedTuple

from ..connection.exchange import Exchange
from ..connection.files import send_file
from .messages import Message, take

_FILES: dict[str, dict[str, Any]] = {"http.response.pathsend": {}, "http.response.zerocopysend": {}}

OFFERED: dict[str, dict[str, dict[str, Any]]] = {
    "1.1": {"http.response.trailers": {}, "http.response.early_hint": {}, **_FILES},
    # It has neither interim responses nor chunks.
    "1.0": _FILES,
}
"""`extensions` of the scope, by the version of HTTP."""


class FilePart(NamedTuple):
    """A part of an open file, and whether it is the body's last piece."""

    descriptor: int
    offset: int
    size: int
    is_last: bool


def has_trailers(exchange: Exchange, message: Message) -> bool:
    """Whether http.response.start announces trailers, and the client has said that it reads them (RFC 9110 6.5.1)."""
    values = [value for name, value in exchange.head.fields if name == b"te"]
    is_wanted = any(each.partition(b";")[0].strip().lower() == b"trailers" for value in values for each in value.split(b","))
    return take(message, "trailers", bool, "a bool") and is_wanted


def send_hint(exchange: Exchange, message: Message) -> None:
    """http.response.early_hint: tell the client at once what it will need (RFC 8297)."""
    links = take(message, "links", Iterable, "an iterable of bytes")
    fields = [(b"link", link) for link in links]
    if not all(type(link) is bytes for _, link in fields):
        raise TypeError("http.response.early_hint: 'links' must be an iterable of bytes")
    exchange.hint(fields)


def fields_of(message: Message) -> list[Any]:
    """The headers of http.response.trailers; the codec checks them one by one."""
    return list(take(message, "headers", Iterable, "an iterable of pairs of bytes", ()))


async def send_path(exchange: Exchange, message: Message) -> None:
    """http.response.pathsend: the file is the body. OSError when it cannot be opened: nothing was sent then."""
    path = take(message, "path", str, "a str")
    if not os.path.isabs(path):
        raise ValueError(f"http.response.pathsend: 'path' must be absolute, not {path!r}")
    # Opening a pipe would wait for its other end.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"http.response.pathsend: 'path' must be that of a regular file, not {path!r}")
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        await send_file(exchange, file.fileno(), 0, size, is_whole=True)


def part_of(message: Message) -> FilePart:
    """http.response.zerocopysend, checked: which part of which file."""
    file = take(message, "file", object, "an open file")
    try:
        descriptor = file.fileno()
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no regular file")
        offset = take(message, "offset", int, "an int", None)
        offset = file.tell() if offset is None else offset
    except (AttributeError, OSError, ValueError) as error:
        raise TypeError(f"http.response.zerocopysend: 'file' must be an open file: {error}") from None
    there = status.st_size - offset
    count = take(message, "count", int, "an int", None)
    count = there if count is None else count
    if offset < 0 or not 0 <= count <= there:
        raise ValueError(f"http.response.zerocopysend: 'offset' {offset} and 'count' {count} are not within the file's {status.st_size}")
    return FilePart(descriptor, offset, count, not take(message, "more_body", bool, "a bool", False))


async def send_part(exchange: Exchange, message: Message, part: FilePart) -> None:
    """Send it. Where no offset was given, the file's position moves on as reading would move it."""
    await send_file(exchange, part.descriptor, part.offset, part.size, is_whole=False)
    if message.get("offset") is None:
        message["file"].seek(part.offset + part.size)
