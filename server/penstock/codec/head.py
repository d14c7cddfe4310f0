"""A request's head: octets in, one `RequestHead` out, or None for "more must come", or a `ProtocolError`.

Nothing is repaired; whatever is doubtful is refused (RFC 9112 11: what two parsers may read in two ways is how requests
are smuggled). A head that is refused is judged as if it had come octet by octet, so that of several faults the first
one counts, however the octets were cut into pieces; and a head that can no longer become a good one is not waited for.

Its tricks leave the loops to C and look at nothing twice. One `translate` checks every octet of the fields, one `split`
makes the lines, and a bounded table knows each field name that was checked once. A client mostly sends the same fields
again: a reader knows its own connection's last head, and what its heads have in common (`pattern.py`), and reads only
what differs. (A table of whole lines for all connections would save a microsecond of a connection's first request, and
cost two of each request that is new.) Twelve fields cost 4 µs the first time, 1 to 2 µs then, and 20 µs checked one by one.
"""

from typing import NoReturn

from .buffer import Buffer
from .errors import ProtocolError
from .events import CHUNKED, Field, RequestHead
from .grammar import BAD_OCTET, FIELD_OCTETS, HOST, MAX_LENGTH_DIGITS, TRANSFER_CODING, is_token, tokens_of
from .pattern import Pattern
from .states import HeadPart
from .target import parse_request_line

_NOTHING, _EMPTY_LINE, _REQUEST_LINE = HeadPart

# Fields that decide about framing, routing or the connection: looked at in every request.
_DECISIVE_NAMES = (b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"upgrade")

# Names as they came: in lower case, and whether they decide.
_NAMES: dict[bytes, tuple[bytes, bool]] = {}
_MAX_NAMES = 2048
_MAX_NAME_KEPT = 64
_MAX_BLOCK_KEPT = 4096

_OPTIONS = {option: (option.lower(),) for option in (b"keep-alive", b"Keep-Alive", b"close", b"Close", b"Upgrade", b"upgrade")}

_HOSTS: set[bytes] = set()
_MAX_HOSTS = 256

# What RequestHead(…) comes to, without a trip through Python: 3 % of a request.
_new_tuple = tuple.__new__

# What `_judge` says of most requests: no body, the connection stays, nothing is expected, no protocol to switch to.
_NOTHING_SPECIAL = (0, True, False, ())


class HeadReader:
    """Reads the heads of one connection.

    `is_lenient` lets lower-case methods and raw octets above ASCII in the target pass, `is_secure` https targets.
    `drops_underscores` leaves out fields with "_" in their names, which CGI and WSGI cannot tell from those with "-".
    """

    __slots__ = (
        "_max_octets", "_max_fields", "_is_lenient", "_is_secure", "_drops_underscores", "_part", "_inspected", "_block", "_head",
        "_pattern",
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
        # The last head, if its fields said no more than "1.1, without a body", and what such heads have in common.
        self._block = b""
        self._head: RequestHead | None = None
        self._pattern: Pattern | None = None

    def read(self, buffer: Buffer) -> RequestHead | None:
        """Read a head: the request line, the fields, the empty line behind them; None until all of it has come.

        Raises ProtocolError: 400 for a broken rule; 413, 414, 417, 421, 431, 501 and 505 where RFC 9110 15 has a status for it.
        """
        block = buffer.take_until(b"\r\n\r\n")
        try:
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
        if self._drops_underscores:
            head = head._replace(fields=[field for field in head.fields if b"_" not in field[0]])
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
        last = self._head
        if block == self._block and last is not None:
            return last
        line, _, field_block = block.partition(b"\r\n")
        if not line:
            block = self._without_empty_line(block)
            line, _, field_block = block.partition(b"\r\n")
        method, path, query, version, authority = parse_request_line(line, self._is_lenient, self._is_secure)
        is_kept = version == "1.1" and authority is None and len(block) <= _MAX_BLOCK_KEPT
        if is_kept and self._pattern is not None:
            alike = self._pattern.read(field_block)
            if alike is not None:
                head = _new_tuple(RequestHead, (method, path, query, version, alike, *_NOTHING_SPECIAL))
                self._block, self._head = block, head
                return head
        lines = field_block.split(b"\r\n")
        fields, decisive = parse_fields(field_block, lines, self._max_fields)
        judgement = _judge(version, decisive)
        if authority is not None:
            _replace_host(fields, authority)
        head = _new_tuple(RequestHead, (method, path, query, version, fields, *judgement))
        if is_kept and judgement == _NOTHING_SPECIAL:
            self._block, self._head = block, head
            self._learn(lines, fields, decisive)
        return head

    def _learn(self, lines: list[bytes], fields: list[Field], decisive: list[Field]) -> None:
        """Make a pattern of a head that did not fit the last one: with more places that vary, or a new one."""
        last, places = self._pattern, frozenset[int]()
        if last is not None and [name for name, _ in fields] == [name for name, _ in last.fields]:
            differing = {place for place, field in enumerate(fields) if field != last.fields[place]}
            if not any(fields[place] in decisive for place in differing):
                places = last.places | differing
        self._pattern = Pattern(lines, fields, places)


def parse_fields(block: bytes, lines: list[bytes], max_fields: int) -> tuple[list[Field], list[Field]]:
    """All fields of a block, given as its lines too, and those that decide about framing, routing or the connection."""
    if not block:
        return [], []
    # Of a good block nothing but the line ends is left when all allowed octets are deleted.
    if len(block.translate(None, FIELD_OCTETS)) != 2 * len(lines) - 2:
        # With the line's end behind it: a CR before that is one too many.
        raise bad_octet(block + b"\r\n")
    if len(lines) > max_fields:
        raise ProtocolError(431, f"more than {max_fields} header fields", "RFC 6585 5")
    fields: list[Field] = []
    decisive: list[Field] = []
    for line in lines:
        name, colon, value = line.partition(b":")
        known = _NAMES.get(name)
        if known is None or not colon:
            known = _learn_name(name, colon, line)
        # Only SP and HTAB are white space here: bytes.strip() alone would also take VT and FF.
        field = known[0], value.strip(b" \t")
        fields.append(field)
        if known[1]:
            decisive.append(field)
    return fields, decisive


def bad_octet(octets: bytes, place: int = 0) -> ProtocolError:
    """What is wrong with the first octet that may not stand there; `place` is where in the head `octets` begin."""
    match = BAD_OCTET.search(octets)
    at = match.start() if match is not None else 0
    octet = octets[at : at + 1]
    what = {b"\r": "a bare CR", b"\n": "a bare LF", b"\0": "a NUL"}.get(octet, "a control octet")
    clause = "RFC 9112 2.2" if octet in (b"\r", b"\n") else "RFC 9110 5.5"
    return ProtocolError(400, f"{what} in the request", clause, offset=place + at, excerpt=octets[at : at + 40])


def _learn_name(name: bytes, colon: bytes, line: bytes) -> tuple[bytes, bool]:
    """Check a field name not seen before, and remember it while there is room."""
    if line[:1] in (b" ", b"\t"):
        raise ProtocolError(400, "a folded header line", "RFC 9112 5.2", excerpt=line)
    if not colon:
        raise ProtocolError(400, "a header line without a colon", "RFC 9112 5", excerpt=line)
    if name[-1:] in (b" ", b"\t"):
        raise ProtocolError(400, "white space before a header's colon", "RFC 9112 5.1", excerpt=line)
    if not is_token(name):
        raise ProtocolError(400, "a header name that is not a token", "RFC 9110 5.1", excerpt=line)
    known = name.lower(), name.lower() in _DECISIVE_NAMES
    if len(name) <= _MAX_NAME_KEPT and len(_NAMES) < _MAX_NAMES:
        _NAMES[name] = known
    return known


def _judge(version: str, decisive: list[Field]) -> tuple[int, bool, bool, tuple[bytes, ...]]:
    """What the deciding fields say: length of the body, keeps alive, expects 100, protocols to switch to."""
    host: bytes | None = None
    length: bytes | None = None
    codings: list[bytes] = []
    options: tuple[bytes, ...] = ()
    expectation = b""
    protocols: tuple[bytes, ...] = ()
    for name, value in decisive:
        if name == b"host":
            if host is not None:
                raise ProtocolError(400, "more than one Host", "RFC 9112 3.2", excerpt=value)
            host = value
            if host not in _HOSTS:
                _check_host(host)
        elif name == b"connection":
            options += _OPTIONS.get(value) or tuple(tokens_of(value))
        elif name == b"content-length":
            if length is not None:
                raise ProtocolError(400, "more than one Content-Length", "RFC 9112 6.3", excerpt=value)
            length = value
        elif name == b"transfer-encoding":
            codings.append(value)
        elif name == b"expect":
            expectation = expectation + b", " + value if expectation else value
        else:
            protocols += tuple(tokens_of(value))
    if host is None and version == "1.1":
        raise ProtocolError(400, "no Host", "RFC 9112 3.2")
    body_length = _body_length(length, codings, version) if length is not None or codings else 0
    # RFC 9112 9.3: close wins over keep-alive; 1.1 stays open unless told, 1.0 closes unless told.
    keeps_alive = b"close" not in options and (version == "1.1" or b"keep-alive" in options)
    # A 1.0 client cannot be asked to wait or to switch: both fields are ignored (RFC 9110 7.8 and 10.1.1).
    if version == "1.0" or b"upgrade" not in options:
        protocols = ()
    if expectation and version == "1.1":
        if set(tokens_of(expectation)) != {b"100-continue"}:
            raise ProtocolError(417, "an expectation other than 100-continue", "RFC 9110 10.1.1", excerpt=expectation)
        return body_length, keeps_alive, body_length != 0, protocols
    return body_length, keeps_alive, False, protocols


def _too_long(block: bytes, limit: int) -> ProtocolError:
    """414 when the target alone is too long, else 431."""
    line_end = block.find(b"\r\n")
    if line_end < 0 or line_end > limit:
        return ProtocolError(414, f"a request line over {limit} octets", "RFC 9112 3", excerpt=block)
    return ProtocolError(431, f"a request head over {limit} octets", "RFC 6585 5", excerpt=block)


def _check_host(host: bytes) -> None:
    """Refuse a Host that is no host (RFC 9110 7.2): apps build URLs of it."""
    if not HOST.fullmatch(host):
        raise ProtocolError(400, "an invalid Host", "RFC 9112 3.2", excerpt=host)
    if len(_HOSTS) < _MAX_HOSTS and len(host) <= _MAX_NAME_KEPT:
        _HOSTS.add(host)


def _replace_host(fields: list[Field], authority: bytes) -> None:
    """The target's authority takes the place of Host (RFC 9112 3.2.2): one of the two must be believed."""
    host = (b"host", authority)
    place = next((at for at, field in enumerate(fields) if field[0] == b"host"), None)
    if place is None:
        fields.insert(0, host)
    else:
        fields[place] = host


def _body_length(length: bytes | None, codings: list[bytes], version: str) -> int:
    """Decide the framing of the body (RFC 9112 6.3): never by guessing, never by preference."""
    if not codings:
        return read_length(length or b"")
    if length is not None:
        raise ProtocolError(400, "Transfer-Encoding and Content-Length together", "RFC 9112 6.3")
    if version == "1.0":
        raise ProtocolError(400, "Transfer-Encoding in an HTTP/1.0 request", "RFC 9112 6.1")
    # Exactly this word, in any case: not twice, not beside a comma, not with parameters.
    listed = b",".join(codings)
    if listed.lower() == b"chunked":
        return CHUNKED
    names = [name.strip(b" \t").lower() for name in listed.split(b",")]
    if names[-1] != b"chunked" or not all(TRANSFER_CODING.fullmatch(name) for name in names):
        raise ProtocolError(400, "a Transfer-Encoding that does not end with chunked", "RFC 9112 6.3", excerpt=codings[-1])
    if b"identity" in names or any(name.startswith(b"chunked") for name in names[:-1]):
        raise ProtocolError(400, "a Transfer-Encoding with chunked twice or with identity", "RFC 9112 6.1", excerpt=codings[-1])
    raise ProtocolError(501, "a transfer coding other than chunked", "RFC 9112 6.1", excerpt=codings[0])


def read_length(length: bytes) -> int:
    """A Content-Length (RFC 9110 8.6); int() alone would also take +5, -5, 1_0 and " 5 "."""
    if not length.isdigit():
        raise ProtocolError(400, "a Content-Length that is not a number", "RFC 9110 8.6", excerpt=length)
    if len(length) > MAX_LENGTH_DIGITS:
        raise ProtocolError(413, "a Content-Length nobody can send", "RFC 9110 8.6", excerpt=length)
    return int(length)


# Learnt first, so that a table that somebody has filled knows them.
for _name in _DECISIVE_NAMES:
    for _spelling in (_name, _name.title()):
        _learn_name(_spelling, b":", _spelling + b":")
