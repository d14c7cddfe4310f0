"""What trusted proxies say of a request: who sent it, by which scheme, to which host, under which prefix.

    X-Forwarded-For, -Proto            with --proxy-headers, as uvicorn reads them
    X-Forwarded-Host, -Port, -Prefix   each when --forwarded-headers names it
    Forwarded (RFC 7239)               when it names rfc7239: for, proto and host; the X- fields of the first line count not then

A client can send any of these, too. So only a peer in the list is believed, and of a chain of addresses only as far as
it was written by trusted ones: from the right, up to the first that is not trusted, which is the client. What is
malformed is left alone. Asked only about heads of which the codec says that they have such fields.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from ..codec.grammar import FORWARDED_PART, HOST
from ..connection.exchange import Exchange
from ..connection.trust import Trust
from ..settings import Settings

Scope = dict[str, Any]
Forward = Callable[[Scope, Exchange], None]

FOR, PROTO, FORWARDED = b"x-forwarded-for", b"x-forwarded-proto", b"forwarded"
_CHOSEN = {"host": b"x-forwarded-host", "port": b"x-forwarded-port", "prefix": b"x-forwarded-prefix", "rfc7239": FORWARDED}
_ALL = {FOR, PROTO, *_CHOSEN.values()}

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}

# A path of segments that no URL reader takes for something else: neither "//host" nor "..".
_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~!$&'()*+,;=:@-]+)+")


def forward_of(settings: Settings) -> Forward | None:
    """What changes a scope by what proxies say; None when nobody is to be asked. ValueError for a list that is none."""
    trust = Trust(settings.forwarded_allow_ips)
    names = {FOR, PROTO} if settings.proxy_headers else set()
    names |= {_CHOSEN[name] for name in settings.forwarded_headers.split(",") if name}
    drops = settings.drop_untrusted_forwarded
    if not drops and (not names or not trust.entries):
        return None
    reader = Reader(trust, names)

    def forward(scope: Scope, exchange: Exchange) -> None:
        client = scope["client"]
        if (client[0] if client is not None else None) in trust:
            if reader.read(scope):
                exchange.forwarded_client = scope["client"]
        elif drops:
            scope["headers"] = [field for field in scope["headers"] if field[0] not in _ALL]

    return forward


class Reader:
    """Reads the fields in `names` of a request that a peer in `trust` has sent on."""

    def __init__(self, trust: Trust, names: set[bytes]) -> None:
        self._trust = trust
        self._names = names

    def read(self, scope: Scope) -> bool:
        """Change `scope` accordingly; whether its client is another one then."""
        found: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            if name in self._names:
                found.setdefault(name, []).append(value)
        client = scope["client"]
        if FORWARDED in found:
            _set_all(scope, self._element(found[FORWARDED]))
        else:
            if PROTO in found:
                _set_scheme(scope, found[PROTO][-1].decode("latin-1").strip())
            if FOR in found:
                _set_client(scope, self._last_untrusted(b", ".join(found[FOR]).decode("latin-1").split(",")))
        host, port = _text(found.get(_CHOSEN["host"])), _text(found.get(_CHOSEN["port"]))
        if host or port:
            _set_host(scope, host, port)
        if prefix := _text(found.get(_CHOSEN["prefix"])).rstrip("/"):
            _set_prefix(scope, prefix)
        return scope["client"] is not client

    def _last_untrusted(self, chain: list[str]) -> str:
        """Whoever is the first from the right that is not trusted, or the first of all."""
        for entry in reversed(chain):
            if parse_host_port(entry.strip())[0] not in self._trust:
                return entry.strip()
        return chain[0].strip()

    def _element(self, lines: list[bytes]) -> dict[str, str]:
        """The element of Forwarded that the outermost trusted proxy has written."""
        chosen: dict[str, str] = {}
        for line in reversed(lines):
            # What a client wrote may be anything, and hides what stands in the same line: it ends the walk.
            elements = list(elements_of(line))
            for element in reversed(elements if {} not in elements else []):
                chosen = element
                if parse_host_port(element.get("for", ""))[0] not in self._trust:
                    return chosen
            if {} in elements:
                break
        return chosen


def parse_host_port(text: str) -> tuple[str, int]:
    """An address and its port, 0 for none: `1.2.3.4:5`, `[::1]:5`, `[::1]`, `::1`. What is neither is taken as it stands."""
    if text.startswith("[") and "]" in text:
        host, _, rest = text[1:].partition("]")
        if rest and not rest.startswith(":"):
            return text, 0
        return host, _port(rest[1:])
    host, colon, port = text.rpartition(":")
    if colon and ":" not in host and port.isascii() and port.isdigit():
        return host, _port(port)
    return text, 0


def elements_of(line: bytes) -> Iterator[dict[str, str]]:
    """The elements of a Forwarded field (RFC 7239 4), names in lower case, quotes taken off; {} for what is malformed."""
    at, element = 0, dict[str, str]()
    while at <= len(line):
        part = FORWARDED_PART.match(line, at)
        name = part[1].decode().lower() if part is not None and part[1] else ""
        if part is None or name in element:
            yield {}
            return
        if name:
            value = part[2].decode("latin-1")
            element[name] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        if part[3] != b";":
            if element:
                yield element
            element = {}
        at = part.end() + (not part[3])


def _port(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535 else 0


def _text(values: list[bytes] | None) -> str:
    """The last of several fields, and what the nearest proxy added of a list in it."""
    return values[-1].decode("latin-1").rpartition(",")[2].strip() if values else ""


def _set_all(scope: Scope, element: dict[str, str]) -> None:
    _set_scheme(scope, element.get("proto", "").lower())
    _set_client(scope, element.get("for", ""))
    _set_host(scope, element.get("host", ""), "")


def _set_scheme(scope: Scope, text: str) -> None:
    scheme = _SCHEMES.get(text)
    if scheme is not None:
        scope["scheme"] = scheme.replace("http", "ws") if scope["type"] == "websocket" else scheme


def _set_client(scope: Scope, text: str) -> None:
    host, port = parse_host_port(text)
    if host:
        scope["client"] = (host, port)


def _set_host(scope: Scope, host: str, port: str) -> None:
    """Another Host, and the server as the client called it. Neither changes when both `host` and `port` are none."""
    fields, said = scope["headers"], _port(port)
    if said:
        host = host or next((value.decode("latin-1") for name, value in fields if name == b"host"), "").removesuffix(":")
        host = parse_host_port(host)[0] if not host.startswith("[") else host.partition("]")[0] + "]"
    if not host or not host.isascii() or not HOST.fullmatch(host.encode()):
        return
    usual = 443 if scope["scheme"] in ("https", "wss") else 80
    name, own = parse_host_port(host)
    number = said or own or usual
    if said and number != usual:
        host += f":{number}"
    scope["server"] = (name, number)
    scope["headers"] = [(b"host", host.encode()), *(field for field in fields if field[0] != b"host")]


def _set_prefix(scope: Scope, prefix: str) -> None:
    if _PREFIX.fullmatch(prefix):
        scope["root_path"] = prefix + scope.get("root_path", "")
        # As in `http_scope`.
        if scope["path"] != "*":
            scope["path"] = prefix + scope["path"]
            scope["raw_path"] = prefix.encode() + (scope.get("raw_path") or b"")
