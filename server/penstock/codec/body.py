"""A request's body: a reader for each framing (RFC 9112 6 and 7).

A reader is asked again and again: it takes what it can from the buffer and returns an event, or None for "more must
come", or raises. What it has to remember is a number and, for chunks, which part of one comes next.
"""

from enum import Enum

from .buffer import Buffer
from .errors import ProtocolError
from .events import BodyData, BodyEnd, Field
from .grammar import CHUNK_EXTENSIONS, HEX_DIGITS, MAX_SIZE_DIGITS
from .fields import parse_fields

_MAX_PIECE = 65536
_MAX_CHUNK_LINE = 4096
# One chunk may carry extensions; many may not carry more of them than a head could (CVE-2023-39326's lesson).
_MAX_EXTENSIONS = 16384

# Fields that must not come behind the body: framing, routing, credentials, and what says how to read the content
# (RFC 9110 6.5.1). They are dropped, never merged into the head.
_NOT_IN_TRAILERS = frozenset(
    b"age authorization cache-control connection content-encoding content-length content-range content-type cookie date"
    b" expect expires host if-match if-modified-since if-none-match if-range if-unmodified-since keep-alive location"
    b" max-forwards origin pragma proxy-authenticate proxy-authorization proxy-connection range retry-after set-cookie te"
    b" trailer transfer-encoding upgrade vary warning www-authenticate forwarded x-forwarded-for x-forwarded-proto"
    b" x-forwarded-host".split()
)


class LengthReader:
    """A body of a known number of octets (RFC 9112 6.2)."""

    __slots__ = ("left",)

    def __init__(self, length: int) -> None:
        self.left = length

    def read(self, buffer: Buffer) -> BodyData | BodyEnd | None:
        """The next piece, the end, or None for "more must come"."""
        if not self.left:
            return BodyEnd([])
        octets = buffer.take(self.left)
        if not octets:
            return None
        self.left -= len(octets)
        return BodyData(octets)


class _Part(Enum):
    SIZE = "size"
    DATA = "data"
    DATA_END = "data end"
    TRAILERS = "trailers"


_SIZE, _DATA, _DATA_END, _TRAILERS = _Part


class ChunkedReader:
    """A body in chunks (RFC 9112 7.1). Every line ends with exactly CRLF, every number is hexadecimal digits alone."""

    __slots__ = ("left", "_part", "_extensions", "_max_trailers", "_max_fields", "_trailers", "_trailer_octets")

    def __init__(self, max_trailers: int, max_fields: int) -> None:
        self.left = 0
        """Octets of the present chunk that have not come."""
        self._part = _SIZE
        self._extensions = 0
        self._max_trailers = max_trailers
        self._max_fields = max_fields
        self._trailers: list[Field] = []
        self._trailer_octets = 0

    def read(self, buffer: Buffer) -> BodyData | BodyEnd | None:
        """The next piece, the end, or None for "more must come"."""
        while True:
            part = self._part
            if part is _SIZE:
                if not self._take_size(buffer):
                    return None
            elif part is _DATA:
                octets = buffer.take(min(self.left, _MAX_PIECE))
                if not octets:
                    return None
                self.left -= len(octets)
                if not self.left:
                    self._part = _DATA_END
                return BodyData(octets)
            elif part is _TRAILERS:
                return self._read_trailers(buffer)
            elif not self._take_data_end(buffer):
                return None

    def _take_data_end(self, buffer: Buffer) -> bool:
        """The two octets behind a chunk are CRLF, not any two (CVE-2025-43859)."""
        end = buffer.peek(0, 2)
        if end != b"\r\n"[: len(end)]:
            raise ProtocolError(400, "a chunk longer than its size", "RFC 9112 7.1", excerpt=end)
        if len(end) < 2:
            return False
        buffer.skip(2)
        self._part = _SIZE
        return True

    def _take_size(self, buffer: Buffer) -> bool:
        """chunk-size [ chunk-ext ] CRLF"""
        line = _take_line(buffer, _MAX_CHUNK_LINE, "a chunk's size line", f"a chunk's size line over {_MAX_CHUNK_LINE} octets")
        if line is None:
            return False
        size, semicolon, _ = line.partition(b";")
        if semicolon:
            size = size.rstrip(b" \t")
            self._check_extensions(line[len(size) :])
        if not size or size.translate(None, HEX_DIGITS):
            raise ProtocolError(400, "a chunk size that is not a hexadecimal number", "RFC 9112 7.1", excerpt=line)
        if len(size) > MAX_SIZE_DIGITS:
            raise ProtocolError(400, f"a chunk size of more than {MAX_SIZE_DIGITS} digits", "RFC 9112 7.1", excerpt=line)
        self.left = int(size, 16)
        self._part = _DATA if self.left else _TRAILERS
        return True

    def _check_extensions(self, extensions: bytes) -> None:
        """Extensions mean nothing here (RFC 9112 7.1.1), but must be well formed, and few."""
        self._extensions += len(extensions)
        if self._extensions > _MAX_EXTENSIONS:
            raise ProtocolError(400, f"more than {_MAX_EXTENSIONS} octets of chunk extensions", "RFC 9112 7.1.1")
        if not CHUNK_EXTENSIONS.fullmatch(extensions):
            raise ProtocolError(400, "a malformed chunk extension", "RFC 9112 7.1.1", excerpt=extensions)

    def _read_trailers(self, buffer: Buffer) -> BodyEnd | None:
        """trailer-section CRLF, by the rules and within the limits of a head (RFC 9112 7.1.2)."""
        while True:
            left = max(0, self._max_trailers - self._trailer_octets)
            line = _take_line(buffer, left, "the trailer section", f"a trailer section over {self._max_trailers} octets", 431)
            if line is None:
                return None
            if not line:
                return BodyEnd(self._trailers)
            self._trailer_octets += len(line) + 2
            if len(self._trailers) >= self._max_fields:
                raise ProtocolError(431, f"more than {self._max_fields} trailer fields", "RFC 6585 5")
            fields, _ = parse_fields(line, 1)
            self._trailers += [field for field in fields if field[0] not in _NOT_IN_TRAILERS]


def _take_line(buffer: Buffer, limit: int, where: str, too_long: str, status: int = 400) -> bytes | None:
    """Take a line that ends with CRLF and holds no other CR or LF; None until it has come.

    Of a line over the limit only as much is judged as came first, so that it is refused alike however it comes.
    """
    searched = buffer.searched
    line = buffer.take_until(b"\r\n")
    if line is None:
        fresh = buffer.peek(searched, limit + 2)
        is_bare = b"\n" in fresh or b"\r" in fresh[:-1]
        if not is_bare and buffer.size <= limit + 1:
            return None
        line = buffer.peek(0, limit + 2)
    elif b"\n" in line or b"\r" in line:
        is_bare = b"\n" in line[: limit + 2] or b"\r" in line[: limit + 1]
    elif len(line) <= limit:
        return line
    else:
        is_bare = False
    if is_bare:
        raise ProtocolError(400, f"a bare CR or LF in {where}", "RFC 9112 2.2", excerpt=line)
    raise ProtocolError(status, too_long, "RFC 9112 7.1", excerpt=line)
