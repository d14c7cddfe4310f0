"""The request line: method, target in its four forms, version (RFC 9112 3).

Text is made only here and only of checked ASCII. Each distinct method is checked once.
"""

from .errors import ProtocolError
from .grammar import ABSOLUTE_FORM, AUTHORITY_FORM, HOST, HTTP_VERSION, TARGET_OCTETS, TARGET_OCTETS_RAW, is_token

METHODS = {
    name.encode(): name
    for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "PROPPATCH", "MKCOL",
                 "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH", "PURGE", "QUERY", "LINK", "UNLINK")
}  # fmt: skip


RequestLine = tuple[str, bytes, bytes, str, bytes | None]
"""Method, path, query, version, and the authority of an absolute-form target or None."""


def parse_request_line(line: bytes, is_lenient: bool = False, is_secure: bool = False) -> RequestLine:
    """request-line = method SP request-target SP HTTP-version; exactly one SP each, or it is refused."""
    parts = line.split(b" ")
    if len(parts) != 3:
        raise _malformed(line)
    token, target, version_octets = parts
    version = "1.1" if version_octets == b"HTTP/1.1" else _version(version_octets, line)
    method = METHODS.get(token) or _method(token, target, is_lenient)
    if target.translate(None, TARGET_OCTETS_RAW if is_lenient else TARGET_OCTETS):
        raise _bad_target(target)
    # origin-form = absolute-path [ "?" query ]
    if target[:1] == b"/":
        path, _, query = target.partition(b"?")
        return method, path, query, version, None
    return _other_form(method, target, version, is_secure)


def _version(octets: bytes, line: bytes) -> str:
    """The version as ASGI names it; the next minor version after 1.1 is read as 1.1 (RFC 9110 2.5), wilder ones are not."""
    match = HTTP_VERSION.fullmatch(octets)
    if match is None:
        raise _malformed(line)
    if match[1] != b"1" or match[2] > b"2":
        raise ProtocolError(505, "an HTTP version other than 1.0 and 1.1", "RFC 9110 15.6.6", excerpt=octets)
    return "1.0" if match[2] == b"0" else "1.1"


def _method(token: bytes, target: bytes, is_lenient: bool) -> str:
    """A method that is not in the table: any token, but not in lower case unless asked for."""
    if not is_token(token):
        raise ProtocolError(400, "a method that is not a token", "RFC 9112 3.1", excerpt=token)
    if token != token.upper() and not is_lenient:
        raise ProtocolError(400, "a method in lower case", "RFC 9110 9.1", excerpt=token)
    token = token.upper()
    if token == b"CONNECT":
        if AUTHORITY_FORM.fullmatch(target):
            raise ProtocolError(501, "CONNECT: this server is no proxy", "RFC 9110 9.3.6", excerpt=target)
        raise ProtocolError(400, "CONNECT to what is no authority", "RFC 9112 3.2.3", excerpt=target)
    if len(token) > 64:
        raise ProtocolError(501, "a method longer than 64 octets", "RFC 9112 3", excerpt=token)
    return token.decode("ascii")


def _other_form(method: str, target: bytes, version: str, is_secure: bool) -> RequestLine:
    """absolute-form and asterisk-form (RFC 9112 3.2.2 and 3.2.4)."""
    if target == b"*" and method == "OPTIONS":
        return method, target, b"", version, None
    absolute = ABSOLUTE_FORM.fullmatch(target)
    if absolute is None:
        raise ProtocolError(400, "a target in none of the four forms", "RFC 9112 3.2", excerpt=target)
    if not HOST.fullmatch(absolute[2]):
        raise ProtocolError(400, "a target with an invalid authority", "RFC 9112 3.2.2", excerpt=target)
    if absolute[1] and not is_secure:
        raise ProtocolError(421, "an https target on a connection without TLS", "RFC 9110 7.4", excerpt=target)
    return method, absolute[3] or b"/", absolute[4] or b"", version, absolute[2]


def _bad_target(target: bytes) -> ProtocolError:
    what = "a fragment" if b"#" in target else "an octet outside ASCII or a control octet"
    return ProtocolError(400, f"{what} in the target", "RFC 9112 3.2", excerpt=target)


def _malformed(line: bytes) -> ProtocolError:
    return ProtocolError(400, "a malformed request line", "RFC 9112 3", excerpt=line)
