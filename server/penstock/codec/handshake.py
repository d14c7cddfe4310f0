"""The opening handshake of a WebSocket, server side (RFC 6455 4.2): a request's head in, the 101 out.

`read_handshake` says None for a request that does not ask for a WebSocket, so that it is served as HTTP, and raises for
one that asks in a way the RFC does not know. What the HTTP reader has checked already is not checked here again: one
Host, Upgrade named by Connection, nothing of both in HTTP/1.0.
"""

from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha1
from typing import NamedTuple

from .deflate import Offer
from .errors import ProtocolError, ResponseError
from .events import Field, RequestHead
from .grammar import EXTENSION, EXTENSION_PARAMETER, WEBSOCKET_KEY, is_token
from .response import STATUS_LINES, Defaults, encode_fields

VERSION = b"13"

# RFC 6455 1.3: appended to the key, so that no server that knows nothing of WebSockets can answer right by chance.
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

# Fields of the 101 that are the server's to say.
_OURS = (b"sec-websocket-protocol", b"sec-websocket-extensions", b"sec-websocket-accept", b"sec-websocket-version",
         b"sec-websocket-key", b"upgrade")  # fmt: skip


class Handshake(NamedTuple):
    """What a client asks for."""

    key: bytes
    subprotocols: list[str]
    """In the order of its preference."""
    offers: list[Offer]
    """Extensions, in the order of its preference."""


def read_handshake(head: RequestHead) -> Handshake | None:
    """The handshake in a request's head; None when no WebSocket is asked for.

    Raises ProtocolError: 426 for another version than 13, else 400.
    """
    # RFC 6455 4.2.1 (3), RFC 9110 7.8: other protocols may be ignored, and are.
    if b"websocket" not in head.upgrade:
        return None
    # RFC 6455 4.2.1 (1)
    if head.method != "GET":
        raise ProtocolError(400, "a WebSocket asked for with another method than GET", "RFC 6455 4.2.1")
    # Whether what follows is a body or frames would be a matter of opinion.
    if head.body_length:
        raise ProtocolError(400, "a WebSocket asked for with a body", "RFC 9110 7.8")
    keys = _values(head.fields, b"sec-websocket-key")
    versions = _values(head.fields, b"sec-websocket-version")
    # RFC 6455 4.2.1 (6), 4.4
    if versions != [VERSION]:
        raise ProtocolError(426, "a WebSocket version other than 13", "RFC 6455 4.4", excerpt=b", ".join(versions))
    # RFC 6455 4.2.1 (5), 11.3.1: exactly one.
    if len(keys) != 1 or not WEBSOCKET_KEY.fullmatch(keys[0]):
        excerpt = b", ".join(keys)
        raise ProtocolError(400, "no single Sec-WebSocket-Key of 16 octets in base64", "RFC 6455 4.2.1", excerpt=excerpt)
    return Handshake(keys[0], _read_subprotocols(head.fields), _read_offers(head.fields))


def encode_accept(
    handshake: Handshake, subprotocol: str | None, extension: bytes, fields: Iterable[Field], defaults: Defaults
) -> bytes:
    """The response that opens the WebSocket (RFC 6455 4.2.2). Raises ResponseError for what the app may not say."""
    # RFC 6455 4.2.2 (5): one that the client has named, or none.
    if subprotocol is not None and subprotocol not in handshake.subprotocols:
        offered = ", ".join(handshake.subprotocols) or "none"
        raise ResponseError(f"subprotocol {subprotocol!r} was not offered by the client; it offered {offered}")
    fields = list(fields)
    for field in fields:
        if isinstance(field, (tuple, list)) and field and isinstance(field[0], bytes) and field[0].lower() in _OURS:
            raise ResponseError(f"header {field[0]!r} is for the server to send; a subprotocol goes into 'subprotocol'")
    lines, length, _ = encode_fields(fields, defaults)
    # RFC 9110 8.6, RFC 9112 6.1
    if length is not None:
        raise ResponseError("a WebSocket's handshake has no content-length")
    digest = b64encode(sha1(handshake.key + _GUID, usedforsecurity=False).digest())
    lines += b"upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: " + digest + b"\r\n"
    if subprotocol is not None:
        lines += b"sec-websocket-protocol: " + subprotocol.encode("ascii") + b"\r\n"
    if extension:
        lines += b"sec-websocket-extensions: " + extension + b"\r\n"
    return STATUS_LINES[101] + lines + b"\r\n"


def _values(fields: list[Field], name: bytes) -> list[bytes]:
    return [value for each, value in fields if each == name]


def _read_subprotocols(fields: list[Field]) -> list[str]:
    """Sec-WebSocket-Protocol (RFC 6455 11.3.4): tokens, over one line or several, none of them twice."""
    value = b",".join(_values(fields, b"sec-websocket-protocol"))
    names = [name for name in (each.strip(b" \t") for each in value.split(b",")) if name]
    if not all(map(is_token, names)) or len(set(names)) != len(names):
        raise ProtocolError(400, "Sec-WebSocket-Protocol is no list of different tokens", "RFC 6455 4.1", excerpt=value)
    return [name.decode("ascii") for name in names]


def _read_offers(fields: list[Field]) -> list[Offer]:
    """Sec-WebSocket-Extensions (RFC 6455 9.1), over one line or several."""
    offers: list[Offer] = []
    value = b",".join(_values(fields, b"sec-websocket-extensions"))
    at, end = 0, len(value.rstrip(b" \t,"))
    while at < end:
        match = EXTENSION.match(value, at)
        if match is None:
            raise ProtocolError(400, "malformed Sec-WebSocket-Extensions", "RFC 6455 9.1", excerpt=value[at:])
        pairs = EXTENSION_PARAMETER.findall(match[2])
        offers.append((match[1], [(name, text.replace(b"\\", b"").strip(b'"') or None) for name, text in pairs]))
        at = match.end()
    return offers
