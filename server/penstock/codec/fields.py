"""The fields of a head, line by line, and what they say about the connection.

`parse_fields` takes a block of lines apart and checks each; `judge` reads the few fields that decide about framing,
routing or the connection. Nothing is repaired; whatever is doubtful is refused. This way takes everything that the
grammar allows: most heads are written in the usual manner and are taken apart by `usual.py`, which asks `judge` too.

A bounded table knows each field name that was checked once, another each Host. A full one is emptied: who sends ever
new ones makes others be checked again, and no more.
"""

from collections.abc import Iterable

from .errors import ProtocolError
from .events import CHUNKED, Field
from .grammar import BAD_OCTET, FIELD_OCTETS, HOST, MAX_LENGTH_DIGITS, TRANSFER_CODING, is_token, tokens_of

# Fields that decide about framing, routing or the connection: looked at in every request.
DECISIVE_NAMES = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"upgrade"))

# Names as they came: in lower case, and whether they decide.
_NAMES: dict[bytes, tuple[bytes, bool]] = {}
_MAX_NAMES = 2048
_MAX_KEPT = 64

# Hosts that were found to be valid.
HOSTS: set[bytes] = set()
_MAX_HOSTS = 256

_OPTIONS = {option: (option.lower(),) for option in (b"keep-alive", b"Keep-Alive", b"close", b"Close", b"Upgrade", b"upgrade")}

Judgement = tuple[int, bool, bool, tuple[bytes, ...]]
"""Length of the body, keeps alive, expects 100, protocols to switch to; see `RequestHead`."""


def parse_fields(block: bytes, max_fields: int) -> tuple[list[Field], list[Field]]:
    """All fields of a block of lines, and those that decide about framing, routing or the connection."""
    if not block:
        return [], []
    lines = block.split(b"\r\n")
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
    known = name.lower(), name.lower() in DECISIVE_NAMES
    if len(name) <= _MAX_KEPT:
        if len(_NAMES) >= _MAX_NAMES:
            _NAMES.clear()
        _NAMES[name] = known
    return known


def is_forwarded(names: Iterable[bytes]) -> bool:
    """Whether one of the names, in lower case, is of those that proxies write."""
    return any(name.startswith((b"x-forwarded", b"forwarded")) for name in names)


def judge(version: str, decisive: list[Field]) -> Judgement:
    """What the deciding fields say."""
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
            if host not in HOSTS:
                check_host(host)
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


def check_host(host: bytes) -> None:
    """Refuse a Host that is no host (RFC 9110 7.2): apps build URLs of it."""
    if not HOST.fullmatch(host):
        raise ProtocolError(400, "an invalid Host", "RFC 9112 3.2", excerpt=host)
    if len(host) <= _MAX_KEPT:
        if len(HOSTS) >= _MAX_HOSTS:
            HOSTS.clear()
        HOSTS.add(host)


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

