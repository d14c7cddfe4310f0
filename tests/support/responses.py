"""Responses as a strict client reads them: octets of one connection in, whole responses out."""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Response:
    """One final response. Interim ones are in `interim`, by their status."""

    status: int
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    interim: list[int] = field(default_factory=list)

    def all(self, name: bytes) -> list[bytes]:
        """The values of every field of that name."""
        return [value for each, value in self.fields if each == name]

    def get(self, name: bytes) -> bytes:
        """The value of the only field of that name; b"" when there is none."""
        values = self.all(name)
        assert len(values) <= 1, f"{name!r} more than once: {values!r}"
        return values[0] if values else b""


def read_responses(octets: bytes, methods: Iterable[str] = ()) -> list[Response]:
    """All responses in the octets of a connection that has ended; AssertionError for what no client could read.

    `methods` are those of the requests, in order, for a response to HEAD has no body; beyond them all are GET.
    """
    asked = iter(methods)
    responses: list[Response] = []
    interim: list[int] = []
    while octets:
        head, found, octets = octets.partition(b"\r\n\r\n")
        assert found, f"half a response: {head!r}"
        response = _read_head(head)
        if response.status < 200:
            interim.append(response.status)
            continue
        response.interim, interim = interim, []
        if next(asked, "GET") != "HEAD" and response.status not in (204, 304):
            response.body, octets = _read_body(response, octets)
        responses.append(response)
    return responses


def _read_head(head: bytes) -> Response:
    line, *rest = head.split(b"\r\n")
    version, status, _ = line.split(b" ", 2)
    assert version == b"HTTP/1.1" and len(status) == 3, line
    fields = []
    for each in rest:
        name, colon, value = each.partition(b":")
        assert colon and name and b"\n" not in each and b"\r" not in each and b"\0" not in each, each
        fields.append((name.lower(), value.strip(b" \t")))
    return Response(int(status), fields)


def _read_body(response: Response, octets: bytes) -> tuple[bytes, bytes]:
    length = response.get(b"content-length")
    if not response.get(b"transfer-encoding"):
        size = int(length) if length else len(octets)
        assert len(octets) >= size, f"{len(octets)} octets of a body of {size}"
        return octets[:size], octets[size:]
    assert not length and response.get(b"transfer-encoding") == b"chunked"
    body = b""
    while True:
        size_line, _, octets = octets.partition(b"\r\n")
        size = int(size_line, 16)
        if not size:
            break
        body, octets = body + octets[:size], octets[size:]
        assert octets[:2] == b"\r\n"
        octets = octets[2:]
    while not octets.startswith(b"\r\n"):
        line, _, octets = octets.partition(b"\r\n")
        name, _, value = line.partition(b":")
        response.fields.append((b"trailer " + name.lower(), value.strip()))
    return body, octets[2:]
