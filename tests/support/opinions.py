"""h11's opinion on the same octets, and where it may differ from ours.

Two readers that accept a request must agree where it ends: a difference there is how requests are smuggled, so it is
always a bug. Where only one of them accepts, ours must be the stricter, or the reason is in EXPLAINED.
"""

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from .cases import Outcome

# Only in the environment of the benchmarks.
h11: Any = import_module("h11") if find_spec("h11") else None

Request = tuple[str, bytes, bytes]

EXPLAINED = {
    # What h11 says, and why we read on all the same.
    "illegal chunk header": "white space before an extension's semicolon is in the grammar of chunk-ext (RFC 9112 7.1.1)",
    "no request line received": "one empty line before a request is ignored by us (RFC 9112 2.2)",
    "Only Transfer-Encoding: chunked is supported": "a trailer that would frame is dropped by us, unread (RFC 9110 6.5.1)",
    "multiple Transfer-Encoding headers": "the same",
    "bad Content-Length": "the same",
    "conflicting Content-Length headers": "the same",
    "closed behind HTTP/1.0": "h11 never keeps a connection of HTTP/1.0; we do when it says keep-alive (RFC 9112 C.2.2)",
}


def is_there() -> bool:
    return h11 is not None


def requests_of_h11(octets: bytes) -> tuple[list[Request], str]:
    """The whole requests that h11 reads, and its complaint about what follows, if any."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    found: list[Request] = []
    whole = True
    try:
        connection.receive_data(octets)
        for event in _events(connection):
            if type(event) is h11.Request:
                found.append((event.method.decode(), event.target, b""))
                whole = False
            elif type(event) is h11.Data:
                method, target, body = found[-1]
                found[-1] = method, target, body + bytes(event.data)
            elif type(event) is h11.EndOfMessage:
                whole = True
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                    return found, f"closed behind HTTP/{connection.their_http_version.decode()}"
                connection.start_next_cycle()
    except h11.ProtocolError as error:
        return (found if not found or whole else found[:-1]), str(error) or "refused"
    return (found if not found or whole else found[:-1]), ""


def _events(connection: Any) -> Iterator[Any]:
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA or event is h11.PAUSED or type(event) is h11.ConnectionClosed:
            return
        yield event


def disagreement(octets: bytes, ours: Outcome) -> str:
    """What h11 and we see differently and nobody has explained; "" when all is well."""
    theirs, complaint = requests_of_h11(octets)
    mine = [(each.method, each.target, each.body) for each in ours.requests if each.is_finished]
    for number, (one, other) in enumerate(zip(mine, theirs, strict=False)):
        # An absolute target is taken apart by us; only the framing is compared here.
        if one[0] != other[0] or one[2] != other[2]:
            return f"request {number} is {one!r} for us and {other!r} for h11"
    if len(mine) > len(theirs) and not any(known in complaint for known in EXPLAINED):
        return f"we accept {mine[len(theirs)]!r}, of which h11 says {complaint!r}"
    if len(theirs) > len(mine) and not ours.status and not any(each.closes for each in ours.requests[-1:]):
        return f"we wait for the rest of {theirs[len(mine)]!r}, which h11 has whole"
    return ""
