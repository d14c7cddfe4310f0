"""The environment of a WSGI request, made of its scope (PEP 3333, "environ Variables"; RFC 3875 4.1), and its streams.

Text is octets read as Latin-1, as PEP 3333 has it: what a framework decodes again. SCRIPT_NAME is where the application
is mounted, PATH_INFO the rest of the path, percent-decoded. Fields that came several times are joined. Two kinds of
field are left out: names with "_", which nobody could tell from those with "-" that a proxy vouches for, and Proxy,
which as HTTP_PROXY is taken for a setting by programs started with this environment.
"""

import io
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

from .scope import Scope

Environ = dict[str, Any]

_log = logging.getLogger("penstock.error")

_KEYS: dict[bytes, str] = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH", b"proxy": ""}
_MAX_KEYS = 1024

_MOST_BUFFERED = 65536

# As a number: see `scope.py`.
_PERCENT = ord("%")


def environ_of(scope: Scope, fetch: Callable[[], tuple[bytes, bool]], has_siblings: bool) -> Environ:
    """A fresh environment. `fetch` waits for the next piece of the body; `has_siblings`: other processes serve, too."""
    path = scope.get("raw_path") or scope["path"].encode()
    root = scope.get("root_path", "").encode()
    query = scope["query_string"].decode("latin-1")
    target = path.decode("latin-1") + ("?" + query if query else "")
    if _PERCENT in path:
        path = unquote_to_bytes(path)
    name, port = scope.get("server") or ("localhost", None)
    if port is None:
        name, port = "localhost", 443 if scope["scheme"] == "https" else 80
    client = scope.get("client")
    environ: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": root.decode("latin-1"),
        "PATH_INFO": (path[len(root) :] if root and path.startswith(root) else path).decode("latin-1"),
        "QUERY_STRING": query,
        "REQUEST_URI": target,
        "RAW_URI": target,
        "SERVER_NAME": name,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": "HTTP/" + scope["http_version"],
        "REMOTE_ADDR": client[0] if client is not None else "",
        "REMOTE_PORT": str(client[1]) if client is not None else "",
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.errors": ErrorLog(),
        "wsgi.multiprocess": has_siblings,
        **_CONSTANT,
    }
    if scope["scheme"] == "https":
        environ["HTTPS"] = "on"
    _add_fields(environ, scope["headers"])
    has_body = "HTTP_TRANSFER_ENCODING" in environ or environ.get("CONTENT_LENGTH", "0") != "0"
    environ["wsgi.input"] = io.BufferedReader(_Body(fetch), _MOST_BUFFERED) if has_body else io.BytesIO()
    return environ


def _add_fields(environ: Environ, fields: Iterable[tuple[bytes, bytes]]) -> None:
    for name, value in fields:
        key = _KEYS.get(name)
        if key is None:
            key = _learn_key(name)
        if key in environ:
            # RFC 9110 5.3; cookies are joined as RFC 6265 writes them.
            environ[key] += ("; " if key == "HTTP_COOKIE" else ",") + value.decode("latin-1")
        elif key:
            environ[key] = value.decode("latin-1")


def _learn_key(name: bytes) -> str:
    """The variable of a field, "" for one that is left out; remembered while there is room."""
    key = "" if b"_" in name else "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
    if len(name) <= 64 and len(_KEYS) < _MAX_KEYS:
        _KEYS[name] = key
    return key


class _Body(io.RawIOBase):
    """The body as it comes. What is read before the client leaves is had; the read that needs more raises OSError."""

    def __init__(self, fetch: Callable[[], tuple[bytes, bool]]) -> None:
        self._fetch = fetch
        self._rest = memoryview(b"")
        self._has_more = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while self._has_more and not self._rest:
            piece, self._has_more = self._fetch()
            self._rest = memoryview(piece)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


class ErrorLog:
    """wsgi.errors: whole lines go to the error log, those written at once as one entry.

    Not one of the streams of `io`, which take two microseconds to make: PEP 3333 asks for these methods and no more.
    """

    def __init__(self) -> None:
        self._text = ""

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def write(self, text: str) -> int:
        self._text += text
        if text.endswith("\n"):
            self.flush()
        return len(text)

    def flush(self) -> None:
        text, self._text = self._text.rstrip("\n"), ""
        if text:
            _log.error("%s", text)


class FileWrapper:
    """wsgi.file_wrapper: what an application returns to have a file sent; read in blocks where it cannot be sent whole."""

    def __init__(self, filelike: Any, block_size: int = _MOST_BUFFERED) -> None:
        self.filelike = filelike
        self.block_size = block_size
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.filelike.read(self.block_size), b"")


_CONSTANT = {
    "SERVER_SOFTWARE": "penstock",
    "GATEWAY_INTERFACE": "CGI/1.1",
    "wsgi.version": (1, 0),
    "wsgi.multithread": True,
    "wsgi.run_once": False,
    "wsgi.file_wrapper": FileWrapper,
    # The end of the body is the end of the stream, whether or not there is a CONTENT_LENGTH.
    "wsgi.input_terminated": True,
}
