"""One HTTP/1.1 connection as the server sees it: requests out of octets, octets out of responses.

Three verbs. `feed` takes what came; `next_event` returns what it means, or None for "more must come", or raises
ProtocolError once and for all; `encode_…` turns a response into octets. Each exchange has two sides, the request and
the response, and each side is in one of a few states:

    request    HEAD → BODY → COMPLETE          response    NONE → HELD → BODY → COMPLETE
               HEAD → COMPLETE (no body)                   NONE → HELD → COMPLETE (all in one piece)
               any  → FAILED

When both are COMPLETE the next exchange begins, unless the connection is to be closed. The response's head is held
back until the first piece of its body: they leave together, and what frames the body can be chosen in full knowledge.

Whatever way the octets are cut into pieces, the same comes of them.

Knows no socket, clock or log; the Date line is handed in ready-made.
"""

from collections.abc import Iterable
from typing import NamedTuple

from .body import ChunkedReader, LengthReader
from .buffer import Buffer
from .errors import ProtocolError, ResponseError
from .events import CHUNKED, BodyEnd, Event, RequestHead
from .head import HeadReader
from .response import STATUS_LINES, Defaults, encode_fields, encode_trailers
from .states import Framing, Request, Response

_WITHOUT_CONTENT = (204, 205, 304)

_LENGTH_LINES: dict[int, bytes] = {}
_MAX_LENGTH_LINES = 1024

MAX_SKIPPED_BODY = 65536
"""A body the app did not read is skipped up to this many octets; beyond, closing is cheaper."""

_JOIN_BELOW = 16384

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Limits(NamedTuple):
    """How much a peer may send; see the options of the same names, and `HeadReader` for the flags."""

    head: int
    fields: int
    is_lenient: bool = False
    is_secure: bool = False
    drops_underscores: bool = False


# Looking a member up in its class costs a microsecond's tenth each time; the hot path reads these.
_HEAD, _BODY, _COMPLETE, _FAILED = Request
_NONE, _HELD, _STARTED, _ENDED = Response
_NO_BODY, _LENGTH, _CHUNKS, _UNTIL_CLOSE = Framing


class Http1Codec:
    """Bytes and events of one connection, server side."""

    __slots__ = (
        "wants_close", "buffer", "_limits", "_request", "_head_reader", "_head", "_reader",
        "_response", "_status", "_start", "_length", "_framing", "_left", "_is_ordinary", "_trailers",
    )  # fmt: skip

    def __init__(self, limits: Limits) -> None:
        self.wants_close = False
        """The connection ends with the present response. Set it before the response's head to say so to the peer."""
        self._limits = limits
        self.buffer = Buffer()
        """What came and was not read yet; only the codec takes from it."""
        self._request = _HEAD
        self._head_reader = HeadReader(*limits)
        self._head: RequestHead | None = None
        self._reader: LengthReader | ChunkedReader | None = None
        self._response = _NONE
        self._status = 0
        self._start = b""
        # Of the present request: HTTP/1.1, not HEAD, without a body, keeps the connection.
        self._is_ordinary = False
        self._trailers = b""
        self._length: int | None = None
        self._framing = _NO_BODY
        self._left = 0

    # ── what came ──

    def feed(self, octets: bytes) -> None:
        """Take what the peer sent. After a failure nothing more is kept."""
        if self._request is not _FAILED:
            self.buffer.feed(octets)

    @property
    def is_quiet(self) -> bool:
        """The client has said that this request is its last, and all of it was read: nothing more will come.

        Never behind a body: some clients send an empty line there that belongs to nothing (RFC 9112 2.2).
        """
        head = self._head
        return self._request is _COMPLETE and not self.buffer.size and head is not None and not (head.keeps_alive or head.body_length)

    @property
    def is_bodiless(self) -> bool:
        """The response that has begun has no body, whatever is written: it is to HEAD, or has such a status."""
        return self._framing is _NO_BODY

    @property
    def is_response_begun(self) -> bool:
        """Some of the present response was handed out: another one can no longer take its place."""
        return self._response is _STARTED or self._response is _ENDED

    def next_event(self) -> Event | None:
        """What the octets mean; None when more must come, or when the response must end first.

        Raises ProtocolError when the peer broke a rule: then nothing more can be read on this connection.
        """
        try:
            if self._request is _HEAD:
                return self._read_head()
            if self._request is _BODY:
                return self._read_body()
        except ProtocolError:
            self._request = _FAILED
            # Nothing that came behind it may be read (CVE-2024-49768's lesson).
            self.buffer.clear()
            self.wants_close = True
            raise
        return None

    def _read_head(self) -> RequestHead | None:
        head = self._head = self._head_reader.read(self.buffer)
        if head is None:
            return None
        self._is_ordinary = False
        # By their places, body length, keeps alive, version and method: a name for each costs the tenth part of a known head.
        body_length = head[5]
        if not body_length:
            self._request = _COMPLETE
            self._is_ordinary = head[6] and head[3] == "1.1" and head[0] != "HEAD"
        elif body_length == CHUNKED:
            self._request = _BODY
            self._reader = ChunkedReader(self._limits.head, self._limits.fields)
        else:
            self._request = _BODY
            self._reader = LengthReader(body_length)
        return head

    def _read_body(self) -> Event | None:
        event = self._reader.read(self.buffer) if self._reader is not None else None
        if type(event) is BodyEnd:
            self._request = _COMPLETE
            self._reader = None
            if self._response is _ENDED:
                self._end_response()
        return event

    # ── what goes out ──

    def encode_head(self, status: int, fields: Iterable[tuple[bytes, bytes]], defaults: Defaults) -> None:
        """Check a final response's head and hold it back until `encode_body`.

        Raises ResponseError for what cannot go on the wire; then no response is held.
        """
        if self._response is not _NONE:
            raise ResponseError("the response has been started already")
        status_line = STATUS_LINES.get(status)
        if status_line is None or status < 200:
            raise ResponseError(f"a final status is an int from 200 to 999, not {status!r}")
        octets, self._length, wants_close = encode_fields(fields, defaults)
        if wants_close:
            self.wants_close = True
        self._start = status_line + octets
        self._status = status
        self._response = _HELD

    def encode_interim(self, status: int, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
        """A response before the response, such as 103 (RFC 9110 15.2); b"" to a client that knows none, or too late."""
        if not 102 <= status <= 199:
            raise ResponseError(f"an interim status of an app is an int from 102 to 199, not {status!r}")
        if self._head is None or self._head.version == "1.0" or self.is_response_begun:
            return b""
        return STATUS_LINES[status] + encode_trailers(fields) + b"\r\n"

    def drop_head(self) -> None:
        """Forget a held head: another response takes its place."""
        if self._response is _HELD:
            self._response = _NONE

    def encode_body(self, octets: bytes, is_last: bool) -> list[bytes]:
        """A piece of the body, framed, the held head before it: what to send, in order.

        Raises ResponseError when the body does not fit the Content-Length that the app gave, with nothing encoded.
        """
        if self._response is _HELD and is_last and self._is_ordinary and not self.wants_close and self._status not in _WITHOUT_CONTENT:
            return self._encode_whole(octets)
        if not is_last and octets and self._framing is _CHUNKS and self._response is _STARTED:
            # Another piece of a stream: nothing is left to decide.
            line = b"%x\r\n" % len(octets)
            return [line + octets + b"\r\n"] if len(octets) <= _JOIN_BELOW else [line, octets, b"\r\n"]
        start, end = self.encode_frame(len(octets), is_last)
        if self._framing is _NO_BODY:
            octets = b""
        if is_last:
            if self._framing is _CHUNKS:
                end += b"0\r\n" + self._trailers + b"\r\n"
            self._trailers = b""
            self._end_response()
        # Small parts leave joined; a large one is never copied.
        if len(octets) <= _JOIN_BELOW:
            start += octets + end
            return [start] if start else []
        return [part for part in (start, octets, end) if part]

    def encode_frame(self, size: int, is_last: bool) -> tuple[bytes, bytes]:
        """What goes before and behind a piece of the body of `size` octets that somebody else sends, unless `is_bodiless`.

        The response stays open also after the last piece, until `encode_body` ends it.
        """
        if self._response is _HELD:
            start = self._encode_held_head(size, is_last)
        elif self._response is _STARTED:
            start = b""
        else:
            raise ResponseError("a body without a response that has begun")
        end = b""
        if self._framing is _LENGTH:
            if size > self._left or (is_last and size != self._left):
                raise _misfit(size - self._left)
            self._left -= size
        elif self._framing is _CHUNKS and size:
            start += b"%x\r\n" % size
            end = b"\r\n"
        return start, end

    def _encode_whole(self, octets: bytes) -> list[bytes]:
        """An ordinary response in one piece, as nearly all are: deciding nothing saves a twelfth of a request's cost."""
        size = len(octets)
        if self._length is not None and self._length != size:
            raise _misfit(size - self._length)
        self._request = _HEAD
        self._response = _NONE
        self._head = None
        start = self._start + (_LENGTH_LINES.get(size) or _length_line(size)) + b"\r\n"
        return [start + octets] if size <= _JOIN_BELOW else [start, octets]

    def hold_trailers(self, fields: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep fields for the end of the body; behind anything but chunks they have no place and are left out (RFC 9112 7.1.2)."""
        self._trailers = encode_trailers(fields)
        self._is_ordinary = False

    def encode_refusal(self, status: int, reason: str, defaults: Defaults) -> bytes:
        """A whole response of the server's own, the last one on this connection."""
        self.drop_head()
        self.wants_close = True
        text = (reason + "\n").encode()
        fields = [(b"content-type", b"text/plain; charset=utf-8")]
        if status == 405 or status == 501:
            fields.append((b"allow", b"DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"))
        elif status == 426:
            # RFC 9110 15.5.22, RFC 6455 4.4: the version that is spoken here.
            fields += [(b"upgrade", b"websocket"), (b"connection", b"Upgrade"), (b"sec-websocket-version", b"13")]
        elif status == 503:
            fields.append((b"retry-after", b"1"))
        self.encode_head(status, fields, defaults)
        return b"".join(self.encode_body(text, True))

    def _encode_held_head(self, size: int, is_last: bool) -> bytes:
        """Choose the framing (RFC 9112 6), decide about the connection, and put the head together."""
        head, status, length = self._head, self._status, self._length
        framing_line = b""
        if status in _WITHOUT_CONTENT or (head is not None and head.method == "HEAD"):
            framing = _NO_BODY
            # RFC 9110 8.6: never in a 204, none of it in a 205; elsewhere only what a GET would have been told.
            if status == 205:
                length = 0
            elif length is None and is_last and size and status != 304:
                length = size
            if length is not None and status != 204:
                framing_line = b"content-length: %d\r\n" % length
        elif length is not None or (is_last and not self._trailers):
            framing = _LENGTH
            self._left = size if length is None else length
            if size > self._left or (is_last and size != self._left):
                raise _misfit(size - self._left)
            framing_line = b"content-length: %d\r\n" % self._left
        elif head is not None and head.version == "1.1":
            framing = _CHUNKS
            framing_line = b"transfer-encoding: chunked\r\n"
        else:
            framing = _UNTIL_CLOSE
        self._framing = framing
        if head is None or not head.keeps_alive or self._request is _BODY or framing is _UNTIL_CLOSE:
            self._decide_close(head)
        if self.wants_close:
            framing_line += b"connection: close\r\n"
        elif head is not None and head.version == "1.0":
            framing_line += b"connection: keep-alive\r\n"
        self._response = _STARTED
        return self._start + framing_line + b"\r\n"

    def _decide_close(self, head: RequestHead | None) -> None:
        """Whether the connection must end with this response (RFC 9112 9.3 and 9.6), beyond what was asked for."""
        if head is None or not head.keeps_alive or self._framing is _UNTIL_CLOSE:
            self.wants_close = True
        # A body is still coming. A client that waits for 100 Continue may send it or not: nobody can tell where the
        # next request starts. A long one that nobody reads is not worth receiving.
        elif head.expects_continue or (self._reader is not None and self._reader.left > MAX_SKIPPED_BODY):
            self.wants_close = True

    def confirm_continue(self) -> bytes:
        """The interim response that the client waits for; b"" when it does not, or no longer (RFC 9110 10.1.1)."""
        head = self._head
        if head is None or not head.expects_continue or self._request is not _BODY or self.is_response_begun:
            return b""
        self._head = head._replace(expects_continue=False)
        return b"" if self.buffer.size else CONTINUE

    def _end_response(self) -> None:
        """The response is complete; when the request is too, the next exchange begins, unless this was the last one."""
        self._response = _ENDED
        if self._request is _COMPLETE and not self.wants_close:
            self._request = _HEAD
            self._response = _NONE
            self._head = None


def _length_line(size: int) -> bytes:
    """A Content-Length line, kept while there is room: making one anew costs more than all else in a small answer's head."""
    line = b"content-length: %d\r\n" % size
    if len(_LENGTH_LINES) < _MAX_LENGTH_LINES:
        _LENGTH_LINES[size] = line
    return line


def _misfit(excess: int) -> ResponseError:
    if excess > 0:
        return ResponseError(f"the body is {excess} octets longer than its content-length")
    return ResponseError(f"the body is {-excess} octets shorter than its content-length")
