"""A request's head: octets in, one `RequestHead` out, or None for "more must come", or a `ProtocolError`.

Nothing is repaired; whatever is doubtful is refused (RFC 9112 11: what two parsers may read in two ways is how requests
are smuggled). A head that is refused is judged as if it had come octet by octet, so that of several faults the first
one counts, however the octets were cut into pieces; and a head that can no longer become a good one is not waited for.

A client mostly sends the same fields again: a reader knows a head of its connection and what others had in common with it
(`pattern.py`), and reads what differs. Else `usual.py` takes it apart at once, and what it does not take, `fields.py` line
by line. Twelve fields cost 0.3 µs when nothing differs, 1 to 2 µs when a few do, else 3 µs, and 8 µs line by line.
"""

from typing import NoReturn

from .buffer import Buffer
from .errors import ProtocolError
from .events import Field, RequestHead
from .fields import bad_octet, is_forwarded, judge, parse_fields
from .grammar import BAD_OCTET, FIELD_OCTETS
from .pattern import Pattern, in_common
from .states import HeadPart
from .target import parse_request_line
from .usual import read_usual

_NOTHING, _EMPTY_LINE, _REQUEST_LINE = HeadPart

_MAX_KEPT = 4096
_SELDOM = 16

# No body, another request may follow, no wait for 100 Continue, no other protocol: what a pattern says of its heads.
_PLAIN = (0, True, False, ())

# What RequestHead(…) comes to, without a trip through Python: 3 % of a request.
_new_tuple = tuple.__new__


class HeadReader:
    """Reads the heads of one connection.

    `is_lenient` lets lower-case methods and raw octets above ASCII in the target pass, `is_secure` https targets.
    `drops_underscores` leaves out fields with "_" in their names, which CGI and WSGI cannot tell from those with "-".
    """

    __slots__ = (
        "_max_octets", "_max_fields", "_is_lenient", "_is_secure", "_drops_underscores", "_part", "_inspected", "_octets", "_head",
        "_pattern", "_misses",
    )  # fmt: skip

    def __init__(
        self, max_octets: int, max_fields: int, is_lenient: bool = False, is_secure: bool = False, drops_underscores: bool = False
    ) -> None:
        self._max_octets = max_octets
        self._max_fields = max_fields
        self._is_lenient = is_lenient
        self._is_secure = is_secure
        self._drops_underscores = drops_underscores
        # How much of a head that is not whole was looked at, and what it was.
        self._part = _NOTHING
        self._inspected = 0
        # A usual head of this connection, what others have in common with it, and how many had not.
        self._octets = b""
        self._head: RequestHead | None = None
        self._pattern: Pattern | None = None
        self._misses = 0

    def read(self, buffer: Buffer) -> RequestHead | None:
        """Read a head: the request line, the fields, the empty line behind them; None until all of it has come.

        Raises ProtocolError: 400 for a broken rule; 413, 414, 417, 421, 431, 501 and 505 where RFC 9110 15 has a status for it.
        """
        block: bytes | None = None
        try:
            # Mostly it came whole and alone: then nothing is searched for and nothing is copied.
            octets = buffer.whole()
            if len(octets) <= self._max_octets + 4:
                head = self._read_known(octets)
                if head is not None:
                    buffer.clear()
                    # An empty line may have come before it, alone; nothing else can have.
                    self._part = _NOTHING
                    return head
            block = buffer.take_until(b"\r\n\r\n")
            if block is None:
                self._inspect(buffer, self._max_octets + 4)
                if buffer.size > self._max_octets + 3:
                    raise _too_long(buffer.peek(0), self._max_octets)
                return None
            if len(block) > self._max_octets and len(self._without_empty_line(block)) > self._max_octets:
                raise _too_long(self._without_empty_line(block), self._max_octets)
            head = self.read_block(block)
        except ProtocolError as error:
            self._find_first_fault(block, buffer, error)
        self._part, self._inspected = _NOTHING, 0
        return head

    def _find_first_fault(self, block: bytes | None, buffer: Buffer, error: ProtocolError) -> NoReturn:
        """Raise what would have been wrong first, had the head come octet by octet."""
        try:
            if block is not None:
                block = self._without_empty_line(block)
                buffer.put_back(block + b"\r\n\r\n")
                self._part, self._inspected = _EMPTY_LINE, 0
                self._inspect(buffer, min(len(block), self._max_octets) + 4)
        except ProtocolError as first:
            error = first
        error.locate(buffer.peek(0))
        raise error

    def _without_empty_line(self, block: bytes) -> bytes:
        """RFC 9112 2.2: one empty line before the request line is ignored."""
        return block.removeprefix(b"\r\n") if self._part is _NOTHING else block

    def _inspect(self, buffer: Buffer, end: int) -> None:
        """Refuse a head, `end` octets of it at most, that can no longer become a good one. Each octet is seen once."""
        if self._part is _NOTHING and buffer.peek(0, 2) == b"\r\n":
            buffer.skip(2)
            self._part = _EMPTY_LINE
        fresh = buffer.peek(self._inspected, end)
        # Counting is ten times faster than searching, and mostly enough: nothing stands alone but a CR that may get its LF.
        half = fresh.endswith(b"\r")
        is_clean = len(fresh.translate(None, FIELD_OCTETS)) == 2 * fresh.count(b"\r\n") + half
        bad = None if is_clean else BAD_OCTET.search(fresh)
        line_end = fresh.find(b"\r\n") if self._part is not _REQUEST_LINE else -1
        if line_end >= 0 and (bad is None or bad.start() > line_end):
            parse_request_line(buffer.peek(0, self._inspected + line_end), self._is_lenient, self._is_secure)
            self._part = _REQUEST_LINE
        if bad is not None:
            raise bad_octet(fresh, self._inspected)
        self._inspected += len(fresh) - half

    def read_block(self, block: bytes) -> RequestHead:
        """Read what stands before the empty line."""
        return self._read_known(block + b"\r\n\r\n") or self._read_in_full(block)

    def _read_known(self, octets: bytes) -> RequestHead | None:
        """Read a head, with its end, that is like the last one or at least a usual one; None when it is neither."""
        if octets == self._octets:
            return self._head
        if self._pattern is not None and (head := self._pattern.read(octets)) is not None:
            return head
        head = read_usual(octets, self._max_fields) if octets.endswith(b"\r\n\r\n") else None
        if head is not None and self._drops_underscores:
            return _without_underscores(head)
        if head is not None and head.method == "GET" and head.version == "1.1" and head[5:9] == _PLAIN and len(octets) <= _MAX_KEPT:
            self._misses += 1
            # Heads that have nothing in common need not be compared all the time.
            if self._misses <= 2 or not self._misses % _SELDOM:
                self._learn(octets, head)
        return head

    def _learn(self, octets: bytes, head: RequestHead) -> None:
        """Remember a head, and what it has in common with the one before."""
        if self._head is not None:
            self._pattern = in_common(octets, head, self._head.fields, self._pattern)
        self._octets, self._head = octets, head

    def _read_in_full(self, block: bytes) -> RequestHead:
        """Read a head, whatever its form."""
        line, _, field_block = block.partition(b"\r\n")
        if not line:
            line, _, field_block = self._without_empty_line(block).partition(b"\r\n")
        method, path, query, version, authority = parse_request_line(line, self._is_lenient, self._is_secure)
        fields, decisive = parse_fields(field_block, self._max_fields)
        judgement = judge(version, decisive)
        if authority is not None:
            _replace_host(fields, authority)
        head: RequestHead = _new_tuple(RequestHead, (method, path, query, version, fields, *judgement, is_forwarded(name for name, _ in fields)))
        return _without_underscores(head) if self._drops_underscores else head


def _too_long(block: bytes, limit: int) -> ProtocolError:
    """414 when the target alone is too long, else 431."""
    line_end = block.find(b"\r\n")
    if line_end < 0 or line_end > limit:
        return ProtocolError(414, f"a request line over {limit} octets", "RFC 9112 3", excerpt=block)
    return ProtocolError(431, f"a request head over {limit} octets", "RFC 6585 5", excerpt=block)


def _replace_host(fields: list[Field], authority: bytes) -> None:
    """The target's authority takes the place of Host (RFC 9112 3.2.2): one of the two must be believed."""
    host = (b"host", authority)
    place = next((at for at, field in enumerate(fields) if field[0] == b"host"), None)
    if place is None:
        fields.insert(0, host)
    else:
        fields[place] = host


def _without_underscores(head: RequestHead) -> RequestHead:
    return head._replace(fields=[field for field in head.fields if b"_" not in field[0]])
