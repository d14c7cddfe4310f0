"""What a codec reports and what the rooms above read: plain values, cheap to make.

Tuples rather than dataclasses: a request makes one, and a frozen dataclass would cost a microsecond of it.
"""

from typing import NamedTuple

CHUNKED = -1
"""As `RequestHead.body_length`: a body follows in chunks, its length unknown."""

Field = tuple[bytes, bytes]
"""A field line: its name in lower case, its value without surrounding white space."""


class RequestHead(NamedTuple):
    """A request's line and fields, checked (RFC 9112 3 and 5), and what they say about the connection."""

    method: str
    path: bytes
    """The target's path as it came, percent-encoded; b"*" for asterisk-form."""
    query: bytes
    """What follows "?", as it came; b"" when there is none."""
    version: str
    """"1.1" or "1.0"; a higher minor version counts as 1.1 (RFC 9110 2.5)."""
    fields: list[Field]
    """In the order they came, duplicates kept. Not to be changed: the next head may share them."""
    body_length: int
    """Octets of body that follow; 0 for none, `CHUNKED` when only the body itself can tell."""
    keeps_alive: bool
    """The client is willing to send another request on this connection (RFC 9112 9.3)."""
    expects_continue: bool
    """The client waits for 100 Continue before it sends the body (RFC 9110 10.1.1)."""
    upgrade: tuple[bytes, ...]
    """Protocols named in Upgrade, lower-cased; () unless Connection names upgrade too (RFC 9110 7.8)."""
    is_forwarded: bool = False
    """Some field says what a proxy may say: Forwarded (RFC 7239), or one that begins with X-Forwarded."""


class BodyData(NamedTuple):
    """A piece of the body, never empty, as large as it came."""

    octets: bytes


class BodyEnd(NamedTuple):
    """The body is whole. `trailers` came behind a chunked one (RFC 9112 7.1.2)."""

    trailers: list[Field]


Event = RequestHead | BodyData | BodyEnd


class Ping(NamedTuple):
    """A frame that wants a Pong with the same payload (RFC 6455 5.5.2)."""

    payload: bytes


class Pong(NamedTuple):
    """The answer to a Ping, or one that nobody asked for (RFC 6455 5.5.3)."""

    payload: bytes


class Close(NamedTuple):
    """The other side ends the WebSocket (RFC 6455 5.5.1). `code` is 1005 where it gave none (RFC 6455 7.1.5)."""

    code: int
    reason: str


WebSocketEvent = str | bytes | Ping | Pong | Close
"""A message is its content, text or octets: nothing is made around it."""
