"""`--access-log-format`: a format of gunicorn's atoms, read once, then filled in at the end of each exchange.

    h client  l -  u user of Basic  t date  r request line  m method  U path  q query  H protocol  s status
    B, b octets of body sent (b: - for none)  f Referer  a User-Agent  T seconds  M ms  D µs  L seconds, decimal  p process
    {name}i request field  {name}o response field  {name}e environment variable
    and ours: received, first_byte (seconds, decimal), ending, request_id

What a client or an application chose is escaped; what is not there is "-".
"""

import os
import re
import time
from base64 import b64decode
from collections.abc import Callable, Iterable
from typing import Any

from .text import each_second, escape

_ATOM = re.compile(r"%(?:%|(?:\((?P<name>[^()]*)\))?(?P<width>-?[0-9]*)(?P<kind>.?))", re.DOTALL)
_FIELD = re.compile(r"\{([^{}]+)\}([ioe])")

_second_of = each_second(lambda second: time.strftime("[%d/%b/%Y:%H:%M:%S %z]", time.localtime(second)))

_Get = Callable[[Any, dict[str, Any]], object]

_ATOMS: dict[str, _Get] = {
    "h": lambda exchange, _: (exchange.forwarded_client or exchange.connection.client or ("-",))[0],
    "l": lambda exchange, _: "-",
    "u": lambda exchange, _: _user_of(_field(exchange.head.fields, b"authorization")),
    "t": lambda exchange, _: _second_of(time.time()),
    "r": lambda exchange, _: f"{exchange.head.method} {_target_of(exchange.head)} HTTP/{exchange.head.version}",
    "m": lambda exchange, _: exchange.head.method,
    "U": lambda exchange, _: exchange.head.path.decode("latin-1"),
    "q": lambda exchange, _: exchange.head.query.decode("latin-1"),
    "H": lambda exchange, _: f"HTTP/{exchange.head.version}",
    "s": lambda exchange, _: exchange.status or "-",
    "B": lambda exchange, found: found["sent"],
    "b": lambda exchange, found: found["sent"] or "-",
    "f": lambda exchange, _: _field(exchange.head.fields, b"referer"),
    "a": lambda exchange, _: _field(exchange.head.fields, b"user-agent"),
    "T": lambda exchange, found: int(found["duration"]),
    "M": lambda exchange, found: int(found["duration"] * 1e3),
    "D": lambda exchange, found: int(found["duration"] * 1e6),
    "L": lambda exchange, found: f"{found['duration']:.6f}",
    "p": lambda exchange, _: f"<{os.getpid()}>",
    "received": lambda exchange, found: found["received"],
    "first_byte": lambda exchange, found: f"{found['first_byte']:.6f}",
    "ending": lambda exchange, found: found["ending"],
    "request_id": lambda exchange, found: found["request_id"] or "-",
}


def compile_format(text: str, measures: Callable[[Any], dict[str, Any]]) -> Callable[[Any], str]:
    """What makes a line of an exchange; ValueError names the first atom that does not exist or is not written as one."""
    getters = [(found["name"], _getter(found)) for found in _ATOM.finditer(text) if found[0] != "%%"]

    def line(exchange: Any) -> str:
        found = measures(exchange)
        return text % {name: escape(str(get(exchange, found))) for name, get in getters}

    return line


def wants_response_fields(text: str | None) -> bool:
    """Whether a format shows fields of the response, which somebody has to keep then."""
    return re.search(r"%\(\{[^{}]+\}o\)", text or "") is not None


def _getter(found: re.Match[str]) -> _Get:
    name = found["name"]
    if name is None or found["kind"] != "s":
        raise ValueError(f"{found[0]!r} is no atom: they look like %(h)s, and a percent sign is %%")
    field = _FIELD.fullmatch(name)
    if field is None:
        if name not in _ATOMS:
            raise ValueError(f"%({name})s is no atom; there are {' '.join(_ATOMS)} {{name}}i {{name}}o {{name}}e")
        return _ATOMS[name]
    key, kind = field[1], field[2]
    if kind == "e":
        return lambda exchange, _: os.environ.get(key, "-")
    wanted = key.lower().encode()
    if kind == "i":
        return lambda exchange, _: _field(exchange.head.fields, wanted)
    return lambda exchange, _: _field(exchange.fields, wanted)


def _field(fields: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    return ", ".join(value.decode("latin-1") for each, value in fields if each.lower() == name) or "-"


def _target_of(head: Any) -> str:
    return (head.path + b"?" + head.query if head.query else head.path).decode("latin-1")  # type: ignore[no-any-return]


def _user_of(authorization: str) -> str:
    """The name in Basic credentials (RFC 7617); the password is nobody's business."""
    scheme, _, credentials = authorization.partition(" ")
    try:
        return b64decode(credentials, validate=True).decode("utf-8", "replace").partition(":")[0] if scheme.lower() == "basic" else "-"
    except ValueError:
        return "-"
