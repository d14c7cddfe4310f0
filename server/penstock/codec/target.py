"""The request line: method, target in its four forms, version (RFC 9112 3).

Text is made only here and only of checked ASCII. Each distinct method is checked once.
"""

from .errors import ProtocolError
from .grammar import ABSOLUTE_FORM, AUTHORITY_FORM, HOST, HTTP_VERSION, TARGET_OCTETS, TARGET_OCTETS_RAW, is_token

_METHODS = {
    name.encode(): name
    for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "PROPPATCH", "MKCOL",
                 "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH", "PURGE", "QUERY", "LINK", "UNLINK")
}  # fmt: skip


RequestLine = tuple[str, bytes, bytes, str, bytes | None]
"""Method, path, query, version, and the authority of an absolute-form target or None."""


def parse_request_line(line: bytes, is_lenient: bool = False) -> RequestLine:
    """request-line = method SP request-target SP HTTP-version; exactly one SP each, or it is refused."""
    parts = line.split(b" ")
    if len(parts) != 3:
        raise _malformed(line)
    token, target, version_octets = parts
    version = "1.1" if version_octets == b"HTTP/1.1" else _version(version_octets, line)
    method = _METHODS.get(token) or _method(token, is_lenient)
    if target.translate(None, TARGET_OCTETS_RAW if is_lenient else TARGET_OCTETS):
        raise _bad_target(target)
    # origin-form = absolute-path [ "?" query ]
    if target[:1] == b"/":
        path, _, query = target.partition(b"?")
        return method, path, query, version, None
    return _other_form(method, target, version)


def _version(octets: bytes, line: bytes) -> str:
    """The version as ASGI names it; a higher minor version of 1 is read as 1.1 (RFC 9110 2.5)."""
    match = HTTP_VERSION.fullmatch(octets)
    if match is None:
        raise _malformed(line)
    if match[1] != b"1":
        raise ProtocolError(505, "an HTTP version other than 1.0 and 1.1", "RFC 9110 15.6.6", excerpt=line)
    return "1.0" if match[2] == b"0" else "1.1"


def _method(token: bytes, is_lenient: bool) -> str:
    """A method that is not in the table: any token, but not in lower case unless asked for."""
    if not is_token(token):
        raise ProtocolError(400, "a method that is not a token", "RFC 9112 3.1", excerpt=token)
    if token != token.upper() and not is_lenient:
        raise ProtocolError(400, "a method in lower case", "RFC 9110 9.1", excerpt=token)
    if token == b"CONNECT" or len(token) <= 64:
        return token.decode("ascii")
    raise ProtocolError(501, "a method longer than 64 octets", "RFC 9112 3", excerpt=token)


def _other_form(method: str, target: bytes, version: str) -> RequestLine:
    """absolute-form, asterisk-form and authority-form (RFC 9112 3.2.2 to 3.2.4)."""
    if method == "CONNECT" and AUTHORITY_FORM.fullmatch(target):
        raise ProtocolError(501, "CONNECT: this server is no proxy", "RFC 9110 9.3.6", excerpt=target)
    if target == b"*" and method == "OPTIONS":
        return method, target, b"", version, None
    absolute = ABSOLUTE_FORM.fullmatch(target)
    if absolute is None or method == "CONNECT":
        raise ProtocolError(400, "a target in none of the four forms", "RFC 9112 3.2", excerpt=target)
    authority = absolute[1]
    # An empty host is invalid in an http URI (RFC 9110 4.2.1).
    if not HOST.fullmatch(authority) or authority.startswith(b":"):
        raise ProtocolError(400, "a target with an invalid authority", "RFC 9112 3.2.2", excerpt=target)
    return method, absolute[2] or b"/", absolute[3] or b"", version, authority


def _bad_target(target: bytes) -> ProtocolError:
    what = "a fragment" if b"#" in target else "an octet outside ASCII or a control octet"
    return ProtocolError(400, f"{what} in the target", "RFC 9112 3.2", excerpt=target)


def _malformed(line: bytes) -> ProtocolError:
    return ProtocolError(400, "a malformed request line", "RFC 9112 3", excerpt=line)
