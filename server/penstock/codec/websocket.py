"""One WebSocket as the server sees it: messages out of octets, octets out of messages (RFC 6455, with RFC 7692).

Three verbs. `feed` takes what came; `next_event` returns what it means, or None for "more must come", or raises
ProtocolError once and for all, whose status is the code for the Close; `encode_…` turns what is to be said into octets.
`states.py` has the states: how far the closing has got.

A message is handed out whole but read as it comes: what there is of a frame is unmasked, inflated and checked at once, so
that a wrong octet ends the WebSocket before the rest has come, and a size over the limit before any of it has. However
the octets are cut into pieces, the same comes of them, and what is kept of a message never exceeds the limit by more than
a piece. Knows no socket, clock or log.
"""

from codecs import utf_8_decode
from typing import Any

from .deflate import THRESHOLD, Deflate
from .errors import ProtocolError
from .events import Close, Ping, Pong, WebSocketEvent
from .frames import (
    BINARY, CLOSE, CONTINUATION, FIN, MAX_CONTROL, NO_CODE, PING, PONG, RSV1, RSV2, RSV3, TEXT, close_payload, encode_head,
    is_close_code, read_close, unmask,
)  # fmt: skip
from .states import WebSocketState

_OPEN, _CLOSE_SENT, _CLOSE_RECEIVED, _FAILED, _CLOSED = WebSocketState

_JOIN_BELOW = 16384
"""A payload up to this size leaves in one piece with its head; a larger one is not copied."""

_MOST_PIECES = 1024
"""Pieces of a message that are kept apart. Each costs 50 octets and more, however small it is: so many are joined."""

_MOST_FRAGMENTS = 256
"""Frames that are read at once: an empty one costs its sender six octets."""

_TEXT_FRAME, _BINARY_FRAME = _WHOLE = (FIN | TEXT, FIN | BINARY)
_OPCODES = (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG)
_IS_CONTROL = 0x8


class WebSocketCodec:
    """Bytes and events of one WebSocket, server side. `max_size`: octets of a message, inflated."""

    __slots__ = (
        "state", "is_behind", "octets", "_max_size", "_deflate", "_at", "_opcode", "_is_compressed", "_size", "_is_final", "_left", "_key", "_cut",
        "_pieces", "_packs",
    )  # fmt: skip

    def __init__(self, max_size: int, deflate: Deflate | None = None) -> None:
        self.state = _OPEN
        self.is_behind = False
        """Frames that came have not been looked at yet."""
        self._max_size = max_size
        self._deflate = deflate
        self.octets = b""
        """What came and was not read yet, from `_at` on; only the codec takes from it."""
        self._at = 0
        # The message in progress: of which kind (0: none), and how many octets it has, or has announced.
        self._opcode = 0
        self._is_compressed = False
        self._size = 0
        # Its present frame: whether it is the last, what has not come of it, and the key, turned to the next octet.
        self._is_final = False
        self._left = 0
        self._key = b""
        # What was read of it, octets or text; many small pieces are joined to a pack. And a character that is cut.
        self._pieces: list[Any] = []
        self._packs: list[Any] | None = None
        self._cut = b""

    # ── what came ──

    def feed(self, octets: bytes) -> None:
        """Take what the peer sent."""
        left = self.octets
        self.octets = left[self._at :] + octets if left else octets
        self._at = 0

    def next_event(self) -> WebSocketEvent | None:
        """The next message or control frame; None when more must come, or when nothing can come any more.

        None too, with `is_behind`, after very many fragments that make no message yet: ask again, but do something else first.
        Raises ProtocolError when the peer broke a rule: then nothing more can be read.
        """
        self.is_behind = False
        if not self.octets:
            return None
        if self.state is not _OPEN and self.state is not _CLOSE_SENT:
            self._stop(self.state)
            return None
        try:
            for _ in range(_MOST_FRAGMENTS):
                at = self._at
                event = self._take_piece() if self._left else self._read_frame()
                if event is not None or self._at == at:
                    return event
        except ProtocolError:
            # RFC 6455 7.1.7: what follows is not to be read.
            self._stop(_FAILED if self.state is _OPEN else _CLOSED)
            raise
        self.is_behind = True
        return None

    def _read_frame(self) -> WebSocketEvent | None:
        """A frame, or the beginning of a message's frame; None when that is all, or has not come (RFC 6455 5.2)."""
        octets, at, have = self.octets, self._at, len(self.octets)
        if have < at + 2:
            return None
        first, second = octets[at], octets[at + 1]
        if first not in _WHOLE or self._opcode:
            self._check_first(first)
        # RFC 6455 5.1: everything from a client is masked.
        if second < 0x80:
            raise ProtocolError(1002, "a frame without a mask", "RFC 6455 5.1", excerpt=octets[at : at + 2])
        size, start = second - 0x80, at + 6
        if size > MAX_CONTROL:
            if first & _IS_CONTROL:
                raise ProtocolError(1002, "a control frame over 125 octets", "RFC 6455 5.5", excerpt=octets[at : at + 2])
            start += 2 if size == 126 else 8
            if have < start - 4:
                return None
            size = _read_size(octets[at + 2 : start - 4])
        if first & _IS_CONTROL:
            return self._read_control(first, start, size) if have >= start + size else None
        if size + self._size > self._max_size and not (self._is_compressed or first & RSV1):
            raise _too_large(self._max_size)
        end = start + size
        if end > have or self._opcode or not first & FIN:
            return self._begin_frame(first, octets[start - 4 : start], start, size) if start <= have else None
        if end == have:
            self.octets = b""
        self._at = end
        # Nearly every message is one frame that has come whole.
        content = unmask(octets, start, end, octets[start - 4 : start])
        if first & RSV1:
            content = self._inflate_whole(content)
        if first & TEXT:
            try:
                return content.decode()
            except UnicodeDecodeError as error:
                raise _bad_text(content[error.start : error.start + 4]) from None
        return bytes(content)

    def _check_first(self, first: int) -> None:
        """The first octet of a frame, where it does not begin an ordinary message (RFC 6455 5.2, 5.4 and 5.5)."""
        opcode, excerpt = first & 0xF, bytes((first,))
        if opcode not in _OPCODES:
            raise ProtocolError(1002, f"a frame with the unknown opcode {opcode}", "RFC 6455 5.2", excerpt=excerpt)
        if first & (RSV2 | RSV3):
            raise ProtocolError(1002, "a reserved bit without an extension that defines it", "RFC 6455 5.2", excerpt=excerpt)
        # RFC 7692 6: only on the first frame of a message.
        if first & RSV1 and (self._deflate is None or opcode not in (TEXT, BINARY)):
            raise ProtocolError(1002, "RSV1 on a frame that cannot be compressed", "RFC 7692 6", excerpt=excerpt)
        if opcode & _IS_CONTROL:
            if not first & FIN:
                raise ProtocolError(1002, "a control frame in fragments", "RFC 6455 5.5", excerpt=excerpt)
        elif opcode == CONTINUATION and not self._opcode:
            raise ProtocolError(1002, "a continuation of no message", "RFC 6455 5.4", excerpt=excerpt)
        elif opcode != CONTINUATION and self._opcode:
            raise ProtocolError(1002, "a new message within a message in fragments", "RFC 6455 5.4", excerpt=excerpt)

    def _read_control(self, first: int, start: int, size: int) -> WebSocketEvent:
        """A control frame that has come whole; it may stand between the fragments of a message (RFC 6455 5.4 and 5.5)."""
        octets = self.octets
        self._consume(start + size)
        payload = bytes(unmask(octets, start, start + size, octets[start - 4 : start]))
        if first == FIN | PING:
            return Ping(payload)
        if first == FIN | PONG:
            return Pong(payload)
        close = read_close(payload)
        # RFC 6455 5.5.1: nothing follows a Close.
        self._stop(_CLOSE_RECEIVED if self.state is _OPEN else _CLOSED)
        return close

    def _begin_frame(self, first: int, key: bytes, start: int, size: int) -> WebSocketEvent | None:
        """A fragment, or a frame that has not come whole: note what it says, and take what there is of it."""
        if not self._opcode:
            self._opcode = first & 0xF
            self._is_compressed = bool(first & RSV1)
        if not self._is_compressed:
            self._size += size
        self._is_final = bool(first & FIN)
        self._left = size
        self._key = key
        self._consume(start)
        if size:
            return self._take_piece()
        return self._end_message() if self._is_final else None

    def _take_piece(self) -> WebSocketEvent | None:
        """Read what has come of the present frame's payload; the message, when it is whole."""
        octets, at, key = self.octets, self._at, self._key
        size = min(self._left, len(octets) - at)
        self._consume(at + size)
        self._left -= size
        # RFC 6455 5.3: the next octet's key is that of its place in the frame.
        self._key = key[size & 3 :] + key[: size & 3]
        self._add(unmask(octets, at, at + size, key))
        return self._end_message() if self._is_final and not self._left else None

    def _add(self, content: Any) -> None:
        """Keep a piece of the message in progress, inflated and, as text, checked up to its last whole character."""
        if self._is_compressed and self._deflate is not None:
            content = self._deflate.inflate(content, self._max_size - self._size)
            self._size += len(content)
        if self._opcode == TEXT:
            content = self._decode(content)
        if content:
            self._pieces.append(content)
            if len(self._pieces) >= _MOST_PIECES:
                self._packs = self._packs or []
                self._packs.append(content[:0].join(self._pieces))
                self._pieces.clear()

    def _decode(self, octets: bytes | bytearray) -> str:
        """RFC 6455 8.1: fail at the first octet that is not UTF-8, not at the message's end."""
        if self._cut:
            octets = self._cut + octets
        try:
            text, used = utf_8_decode(octets, "strict", False)
        except UnicodeDecodeError as error:
            raise _bad_text(octets[error.start : error.start + 4]) from None
        self._cut = bytes(octets[used:])
        return text

    def _end_message(self) -> str | bytes:
        """The message in progress is whole."""
        if self._is_compressed and self._deflate is not None:
            rest = self._deflate.end(self._max_size - self._size)
            if rest:
                self._is_compressed = False
                self._add(rest)
        if self._cut:
            raise _bad_text(self._cut)
        pieces = self._pieces if self._packs is None else self._packs + self._pieces
        nothing: Any = "" if self._opcode == TEXT else b""
        self._forget()
        content: str | bytes = nothing.join(pieces)
        return content

    def _inflate_whole(self, payload: bytes | bytearray) -> bytes | bytearray:
        """A compressed message that is one frame."""
        if self._deflate is None:
            return payload
        octets = self._deflate.inflate(payload, self._max_size)
        return octets + self._deflate.end(self._max_size - len(octets))

    def _consume(self, end: int) -> None:
        """What stands before `end` was read. An idle WebSocket keeps nothing of what came."""
        if end == len(self.octets):
            self.octets = b""
            self._at = 0
        else:
            self._at = end

    def _forget(self) -> None:
        """No message is in progress."""
        self._opcode = self._size = 0
        self._is_compressed = False
        self._pieces, self._packs, self._cut = [], None, b""

    def _stop(self, state: WebSocketState) -> None:
        """Nothing more is to be read."""
        self.state = state
        self.octets = b""
        self._left = self._at = 0
        self._forget()

    # ── what goes out ──

    def encode_message(self, content: str | bytes) -> list[bytes]:
        """A message in one frame: what to send, in order. UnicodeEncodeError for text that is none, with nothing encoded."""
        if self.state is _CLOSE_SENT or self.state is _CLOSED:
            raise RuntimeError("a message after the Close")
        if type(content) is str:
            payload, first = content.encode(), _TEXT_FRAME
        else:
            payload, first = content, _BINARY_FRAME  # type: ignore[assignment]  # what is not str is bytes
        if self._deflate is not None and len(payload) >= THRESHOLD:
            payload = self._deflate.compress(payload)
            first |= RSV1
        size = len(payload)
        head = encode_head(first, size)
        return [head + payload] if size <= _JOIN_BELOW else [head, payload]

    def encode_ping(self, payload: bytes) -> bytes:
        """A Ping (RFC 6455 5.5.2)."""
        return encode_head(FIN | PING, len(payload)) + payload

    def encode_pong(self, payload: bytes) -> bytes:
        """The answer to a Ping, with its payload (RFC 6455 5.5.3)."""
        return encode_head(FIN | PONG, len(payload)) + payload

    def encode_close(self, code: int, reason: str) -> bytes:
        """Our Close, the last frame; NO_CODE for one that says nothing. ValueError for a code that may not be sent."""
        # RFC 6455 7.4.1: 1005, 1006 and 1015 are not to be sent, and nobody has defined the others.
        if code != NO_CODE and not is_close_code(code):
            raise ValueError(f"close code {code!r}: 1000 to 1003, 1007 to 1014 and 3000 to 4999 can be sent")
        if self.state is _CLOSE_SENT or self.state is _CLOSED:
            raise RuntimeError("a second Close")
        self.state = _CLOSE_SENT if self.state is _OPEN else _CLOSED
        payload = close_payload(code, reason)
        return encode_head(FIN | CLOSE, len(payload)) + payload


def _read_size(octets: bytes) -> int:
    """The length of a payload in 2 octets or 8; it has to be the shortest encoding (RFC 6455 5.2)."""
    size = int.from_bytes(octets)
    if size < (126 if len(octets) == 2 else 65536):
        raise ProtocolError(1002, "a payload length that is not in its shortest encoding", "RFC 6455 5.2", excerpt=octets)
    if size >> 63:
        raise ProtocolError(1002, "a payload length of 64 bits", "RFC 6455 5.2", excerpt=octets)
    return size


def _too_large(limit: int) -> ProtocolError:
    return ProtocolError(1009, f"a message over {limit} octets", "RFC 6455 7.4.1")


def _bad_text(octets: bytes | bytearray) -> ProtocolError:
    return ProtocolError(1007, "text that is not UTF-8", "RFC 6455 8.1", excerpt=bytes(octets))
