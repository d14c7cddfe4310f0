"""The grammar of HTTP/1.1 and of the WebSocket handshake, rule by rule: the only file of the codec that holds a pattern.

Each RFC rule stands above what implements it; where ours is narrower than the RFC, a line says why. Two kinds
of tool: tables of allowed octets, for `octets.translate(None, TABLE)`, which deletes every allowed octet in one
call in C and so leaves nothing of a good text; and patterns for `fullmatch`, none of which can backtrack.
"""

import re
from collections.abc import Iterable
from functools import cache

_ALPHA = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGIT = b"0123456789"

# RFC 9110 5.6.2   tchar = "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "." / "^" / "_" / "`" / "|" / "~"
#                          / DIGIT / ALPHA ;  token = 1*tchar
TCHAR = b"!#$%&'*+-.^_`|~" + _DIGIT + _ALPHA

# RFC 9110 5.5     field-vchar = VCHAR / obs-text ;  field-content = field-vchar [ 1*( SP / HTAB / field-vchar ) ]
# Everything but the other control octets: CR, LF and NUL must be refused, the rest of CTL is "invalid" too.
FIELD_OCTETS = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))

# The same as a table: a forbidden octet becomes 0. Cheaper where there is little to look at.
FIELD_MARKS = bytes(octet in FIELD_OCTETS for octet in range(256))

# RFC 9112 2.2     A line ends with CRLF; neither octet of it may stand alone. This finds the first octet that may not
# stand in a head. A CR that ends what has come may get its LF yet.
BAD_OCTET = re.compile(rb"[^\t\r\n\x20-\x7e\x80-\xff]|\r(?=[^\n])|(?<!\r)\n")

# RFC 9112 3.2     request-target: every form of it is made of visible ASCII (RFC 3986). "#" would start a fragment,
# which is never sent; `"<>\^`{|}` are outside RFC 3986 but sent by browsers, and cannot end or split anything.
TARGET_OCTETS = bytes(octet for octet in range(0x21, 0x7F) if octet != ord("#"))

# The same with raw octets above ASCII, for the option that lets them through.
TARGET_OCTETS_RAW = TARGET_OCTETS + bytes(range(0x80, 0x100))

# RFC 9112 2.3     HTTP-version = "HTTP" "/" DIGIT "." DIGIT   (case-sensitive)
HTTP_VERSION = re.compile(rb"HTTP/([0-9])\.([0-9])")

# RFC 9110 7.2     Host = uri-host [ ":" port ]
# RFC 3986 3.2.2   host = IP-literal / IPv4address / reg-name ;  reg-name = *( unreserved / pct-encoded / sub-delims )
# Narrower: no "," (it is how two Host fields look after somebody has joined them), a port of at most 5 digits and, as
# RFC 9110 4.2.1 wants it, none behind an empty host. Wider: nobody counts the groups of an IPv6 address here.
_IPV6 = rb"(?:[0-9A-Fa-f]{0,4}:){2,8}(?:[0-9A-Fa-f]{0,4}|(?:[0-9]{1,3}\.){3}[0-9]{1,3})"
_REG = rb"[A-Za-z0-9._~!$&'()*+;=-]"
HOST = re.compile(
    rb"(?:(?:\[(?:" + _IPV6 + rb"|v[0-9A-Fa-f]{1,8}\.[A-Za-z0-9._~!$&'()*+;=:-]{1,255})\]"
    rb"|(?:" + _REG + rb"|%[0-9A-Fa-f]{2})" + _REG + rb"*(?:%[0-9A-Fa-f]{2}" + _REG + rb"*)*)(?::[0-9]{0,5})?)?"
)

# RFC 9112 3.2.2   absolute-form = absolute-URI.  Only what an origin server can be asked for: http and https, no userinfo.
ABSOLUTE_FORM = re.compile(rb"[Hh][Tt][Tt][Pp]([Ss]?)://([^/?@]+)(/[^?]*)?(?:\?(.*))?")

# RFC 9112 3.2.3   authority-form = uri-host ":" port
AUTHORITY_FORM = re.compile(rb"(?:\[" + _IPV6 + rb"\]|[A-Za-z0-9._~-]+):[0-9]{1,5}")

# RFC 9112 7.1     chunk-size = 1*HEXDIG.  At most 15 digits: what is larger cannot be sent by anybody.
HEX_DIGITS = b"0123456789abcdefABCDEF"
MAX_SIZE_DIGITS = 15

# RFC 9112 7.1.1   chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] ), val = token / quoted-string
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
CHUNK_EXTENSIONS = re.compile(rb"(?:[ \t]*;[ \t]*" + _TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)+")

# RFC 9112 7       transfer-coding = token *( OWS ";" OWS transfer-parameter ), enough to tell a list from nonsense
TRANSFER_CODING = re.compile(_TOKEN + rb"(?:[ \t]*;[ \t]*" + _TOKEN + rb"[ \t]*=[ \t]*(?:" + _TOKEN + rb"|" + _QUOTED + rb"))*")

# RFC 7239 4       forwarded-element = [ forwarded-pair ] *( ";" [ forwarded-pair ] ), forwarded-pair = token "=" value,
# in a list with ",": one pair or none, and what ends it.
FORWARDED_PART = re.compile(
    rb"[ \t]*+(?:(" + _TOKEN + rb")=(" + _TOKEN + rb"|" + _QUOTED + rb"))?[ \t]*+([;,]|\Z)"
)

# RFC 9110 8.6     Content-Length = 1*DIGIT.  `bytes.isdigit` is ASCII only; 18 digits are below 2**63 (and below the
# length at which int() refuses), so a larger one is a mistake or an attack.
MAX_LENGTH_DIGITS = 18

# RFC 6455 4.2.1   Sec-WebSocket-Key: 16 octets in base64 (RFC 4648 4), which are 22 characters and two of padding
WEBSOCKET_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")

# RFC 6455 9.1     extension-list = 1#extension ;  extension = extension-token *( ";" extension-param )
#                  extension-param = token [ "=" (token | quoted-string) ], whose text unquoted is a token too
# One extension of a list, with the comma before it; empty members of a list are ignored (RFC 9110 5.6.1.2).
_PARAMETER = rb"[ \t]*;[ \t]*(?:" + _TOKEN + rb")(?:[ \t]*=[ \t]*(?:" + _TOKEN + rb'|"(?:\\?' + _TOKEN[:-1] + rb')++"))?+'
EXTENSION = re.compile(rb"[ \t,]*+(" + _TOKEN + rb")((?:" + _PARAMETER + rb")*+)[ \t]*+(?:,|$)")
EXTENSION_PARAMETER = re.compile(rb"(" + _TOKEN + rb')(?:[ \t]*=[ \t]*([^ \t;]+))?')

# RFC 7692 7.1.2   server_max_window_bits, client_max_window_bits: a decimal integer from 8 to 15 without leading zeroes
WINDOW_BITS = re.compile(rb"[89]|1[0-5]")


# The usual head: origin-form, HTTP/1.x, one SP behind each colon, no other white space around a value, which is not empty.
# Each part ends where the next cannot begin, and gives nothing back, so all of it is linear. A value
# holds no tab and only octets that UTF-8 has: with the gap at 0xC0 `re` looks octets up in a table, which is fastest.
_TARGET = rb"(/[!\"$->@-~]*+)\??+([!\"$-~]*+)"
_VALUE = rb": (?! )([\x20-\x7e\x80-\xbf\xc2-\xf4]*+)(?<! )"
_PLAIN_VALUES = {b"host": rb": (" + _REG + rb"++(?::[0-9]{1,5}+)?+)", b"connection": rb": ([Kk]eep-[Aa]live|[Cc]lose)"}

GET_LINE = re.compile(rb"GET " + _TARGET + rb" HTTP/1\.1")


@cache
def usual_head(lines: int) -> re.Pattern[bytes]:
    """A usual head of so many fields, with its end: method, path, query, minor version, then names and values in turn.

    That a name is a token is the caller's to see.
    """
    return re.compile(rb"([A-Z]++) " + _TARGET + rb" HTTP/1\.([01])" + (rb"\r\n([^:]++)" + _VALUE) * lines + rb"\r\n\r\n")


def usual_head_of(names: Iterable[bytes]) -> re.Pattern[bytes]:
    """The same for GET, 1.1 and fields of these names, without their groups; Host and Connection in their plain forms only."""
    lines = [rb"\r\n" + re.escape(name) + _PLAIN_VALUES.get(name.lower(), _VALUE) for name in names]
    return re.compile(GET_LINE.pattern + b"".join(lines) + rb"\r\n\r\n")


def is_token(octets: bytes) -> bool:
    """Whether this is a token (RFC 9110 5.6.2): a method, a field name, a coding."""
    return bool(octets) and not octets.translate(None, TCHAR)


def tokens_of(value: bytes) -> list[bytes]:
    """The members of a comma-separated list (RFC 9110 5.6.1), lower-cased, empty ones left out."""
    return [member.strip(b" \t").lower() for member in value.split(b",") if member.strip(b" \t")]
