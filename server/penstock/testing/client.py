"""A raw HTTP client: it sends the octets it is given, however a client should not, and reads answers strictly.

    with Client(server.url) as client:
        client.send(request("/upload", "POST", "content-length: 1000\\r\\n") + b"half of it")
        client.half_close()
        assert client.is_closed()

It knows nothing of the server: what it makes of an answer is a second opinion, and BadAnswer says what is wrong with
one. Every wait is bounded: TimeoutError after PATIENCE seconds.
"""

import socket
import ssl
import struct
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import urlsplit

# Windows takes its time.
PATIENCE = 60.0 if sys.platform == "win32" else 15.0

# struct linger, on with no time: two shorts on Windows, two ints elsewhere.
_NO_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


class BadAnswer(AssertionError):
    """What came is no HTTP answer."""


@dataclass
class Answer:
    """One response. `interim` are the statuses of the 1xx responses before it, `chunks` the pieces of a chunked body."""

    status: int = 0
    reason: str = ""
    fields: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    interim: list[int] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    trailers: list[tuple[str, str]] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        """The field of that name (in lower case); None when there is none, BadAnswer when there are several."""
        values = [value for each, value in self.fields if each == name]
        if len(values) > 1:
            raise BadAnswer(f"{name} comes {len(values)} times")
        return values[0] if values else None


def request(path: str = "/", method: str = "GET", fields: str = "", body: bytes = b"", version: str = "1.1") -> bytes:
    """The octets of a request; `fields` are lines with CRLF. A body gets its Content-Length."""
    if body:
        fields += f"content-length: {len(body)}\r\n"
    return f"{method} {path} HTTP/{version}\r\nhost: test\r\n{fields}\r\n".encode() + body


class Client:
    """One connection to an address or a URL.

    `receive_buffer` bounds what the kernel takes for a client that does not read. With `tls` it speaks https. What has
    come and was not read yet is in `waiting`.
    """

    def __init__(
        self, address: tuple[str, int] | str, *, receive_buffer: int | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        if isinstance(address, str):
            url = urlsplit(address)
            address = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
        self.socket = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname=address[0])
        self.waiting = b""

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.socket.close()

    # ── sending ──

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def drip(self, octets: bytes, pause: float, seconds: float) -> float:
        """Send octets one by one, again from the start, until the server closes or `seconds` are over; how long."""
        begin, place = time.monotonic(), 0
        self.socket.settimeout(pause)
        with suppress(ConnectionResetError, BrokenPipeError):
            while time.monotonic() - begin < seconds:
                self.socket.sendall(octets[place % len(octets) :][:1])
                place += 1
                with suppress(TimeoutError):
                    self.waiting += self.socket.recv(65536)
                    break
        self.socket.settimeout(PATIENCE)
        return time.monotonic() - begin

    def pipeline(self, *requests: bytes) -> "list[Answer]":
        """Send all requests at once; all answers, in their order."""
        self.send(b"".join(requests))
        return [self.answer(to_head=each.startswith(b"HEAD ")) for each in requests]

    def stall(self, seconds: float) -> float:
        """Say nothing more, until the server closes or `seconds` are over; how long. What it says is in `waiting`."""
        begin = time.monotonic()
        with suppress(TimeoutError, ConnectionResetError):
            while (left := begin + seconds - time.monotonic()) > 0:
                self.socket.settimeout(left)
                if not (piece := self.socket.recv(65536)):
                    break
                self.waiting += piece
        self.socket.settimeout(PATIENCE)
        return time.monotonic() - begin

    def half_close(self) -> None:
        """Send no more; listen on."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leave with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.socket.close()

    # ── receiving ──

    def answer(self, *, to_head: bool = False) -> Answer:
        """The next answer, whole. `to_head` says that it has no body whatever its fields announce."""
        answer = Answer()
        while True:
            self._read_head(answer)
            if answer.status >= 200:
                break
            answer.interim.append(answer.status)
            answer.fields = []
        coding, length = answer.get("transfer-encoding"), answer.get("content-length")
        if to_head or answer.status in (204, 304):
            pass
        elif coding is not None:
            if coding != "chunked" or length is not None:
                raise BadAnswer(f"framed by {coding!r} and {length!r}")
            self._read_chunks(answer)
        elif length is not None:
            answer.body = self.take(int(length))
        else:
            answer.body = self.rest()
        return answer

    def head(self) -> Answer:
        """The next answer's head alone."""
        answer = Answer()
        self._read_head(answer)
        return answer

    def take(self, count: int) -> bytes:
        """Exactly so many octets."""
        pieces, have = [self.waiting], len(self.waiting)
        while have < count:
            piece = self.socket.recv(min(1 << 20, count - have))
            if not piece:
                raise BadAnswer(f"the end came {count - have} octets early")
            pieces.append(piece)
            have += len(piece)
        octets = b"".join(pieces)
        self.waiting = octets[count:]
        return octets[:count]

    def line(self) -> bytes:
        """The next line, without its CRLF."""
        while b"\r\n" not in self.waiting:
            piece = self.socket.recv(65536)
            if not piece:
                raise BadAnswer(f"the end came in a line: {self.waiting!r}")
            self.waiting += piece
        line, _, self.waiting = self.waiting.partition(b"\r\n")
        return line

    def rest(self) -> bytes:
        """All that comes until the server closes in peace; ConnectionResetError when it does not."""
        pieces = [self.waiting]
        self.waiting = b""
        while piece := self.socket.recv(1 << 20):
            pieces.append(piece)
        return b"".join(pieces)

    def is_closed(self) -> bool:
        """Wait for the end: True when it comes, in peace or not, and nothing before it."""
        try:
            return not self.waiting and not self.socket.recv(1)
        except ConnectionResetError:
            return True

    def is_silent(self, seconds: float = 0.2) -> bool:
        """Nothing comes and the connection stays, for so long."""
        self.socket.settimeout(seconds)
        try:
            piece = self.socket.recv(65536)
        except TimeoutError:
            return not self.waiting
        finally:
            self.socket.settimeout(PATIENCE)
        self.waiting += piece
        return False

    def _read_head(self, answer: Answer) -> None:
        version, status, answer.reason = self.line().decode("latin-1").split(" ", 2)
        if version != "HTTP/1.1":
            raise BadAnswer(f"version {version!r}")
        answer.status = int(status)
        answer.fields += self._read_fields()

    def _read_fields(self) -> list[tuple[str, str]]:
        fields = []
        while line := self.line().decode("latin-1"):
            name, colon, value = line.partition(": ")
            if not colon:
                raise BadAnswer(f"no field: {line!r}")
            fields.append((name.lower(), value))
        return fields

    def _read_chunks(self, answer: Answer) -> None:
        while size := int(self.line(), 16):
            answer.chunks.append(self.take(size))
            if self.take(2) != b"\r\n":
                raise BadAnswer("a chunk does not end where it should")
        answer.trailers = self._read_fields()
        answer.body = b"".join(answer.chunks)


def ask(address: tuple[str, int] | str, octets: bytes) -> Answer:
    """One request on a connection of its own."""
    with Client(address) as client:
        client.send(octets)
        return client.answer(to_head=octets.startswith(b"HEAD "))
