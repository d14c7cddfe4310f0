"""A WSGI application (PEP 3333) as ASGI 3: each request runs in a thread of a pool.

Blocks of the answer leave as they are made, and the body of the request is read as it is asked for; neither is gathered.
An answer is complete as soon as it has as many octets as it announced, so that the usual response of a framework is
one order to the loop. What the application raises is raised here, for `http.py` to treat like any other failure.
"""

import asyncio
import io
import os
import stat
from collections.abc import Callable, Iterable
from contextvars import copy_context
from typing import Any

from .bridge import Bridge, Message, Pool
from .environ import FileWrapper, environ_of
from .scope import Scope

_WITHOUT_BODY = (204, 304)

_NAMES: dict[str, bytes] = {}
_MAX_NAMES = 1024

_CODES: dict[str, int] = {}
_MAX_CODES = 256

_FILES = (io.FileIO, io.BufferedReader, io.BufferedRandom)
_SENDFILE = "http.response.zerocopysend"


class Wsgi:
    """The ASGI application that runs `app` in at most `threads` threads at once; other requests wait for one."""

    def __init__(self, app: Callable[..., Iterable[bytes]], threads: int, *, has_siblings: bool = False) -> None:
        self._app = app
        self._has_siblings = has_siblings
        self._pool = Pool(threads)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            loop = asyncio.get_running_loop()
            bridge, context = Bridge(loop), copy_context()
            if self._pool.submit(lambda: context.run(self._run, scope, bridge)):
                # After all that is read in this turn: a thread that is woken for each request would wait for this one.
                loop.call_soon(self._pool.wake)
            await bridge.serve(receive, send)
        elif scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self._pool.stop()
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await receive()
            await send({"type": "websocket.close"})

    def _run(self, scope: Scope, bridge: Bridge) -> None:
        """The request, in its thread."""
        try:
            # One whose turn came too late is not begun.
            if not bridge.is_gone:
                response = _Response(bridge, scope)
                environ = environ_of(scope, response.fetch, self._has_siblings)
                try:
                    response.give(self._app, environ)
                finally:
                    environ["wsgi.errors"].flush()
        except BaseException as error:
            bridge.finish(None if _is_late(error) else error)
        else:
            bridge.finish(None)


class WSGIMiddleware(Wsgi):
    """For a WSGI application within an ASGI one, by the name and the arguments that uvicorn has for it."""

    def __init__(self, app: Callable[..., Iterable[bytes]], workers: int = 10) -> None:
        super().__init__(app, workers)


class _Response:
    """What is answered to one request."""

    __slots__ = ("_bridge", "_scope", "_head", "_has_body", "_is_begun", "_is_complete", "_left")

    def __init__(self, bridge: Bridge, scope: Scope) -> None:
        self._bridge = bridge
        self._scope = scope
        self._head: Message | None = None
        self._has_body = True
        self._is_begun = False
        self._is_complete = False
        self._left: int | None = None
        """Octets until the announced length is reached; None where none was, or there is no body anyway."""

    def give(self, app: Callable[..., Iterable[bytes]], environ: dict[str, Any]) -> None:
        """Call the application and send what it returns. `close` of that is called whatever happens."""
        result = app(environ, self.start)
        try:
            blocks = result
            if type(result) is list or type(result) is tuple:
                # All there already: no block is delayed by another.
                blocks = ()
                self._write(b"".join(map(_checked, result)), True)
            elif type(result) is FileWrapper and self._send_file(result.filelike):
                blocks = ()
            for block in blocks:
                if block:
                    self.write(block)
            if not self._is_complete:
                self._write(b"", True)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()

    def fetch(self) -> tuple[bytes, bool]:
        """The next piece of the request's body, and whether more follows. An OSError when none will come."""
        if self._is_complete and not self._bridge.is_gone:
            raise _LateRead("the answer is complete: what is left of the request's body is discarded")
        return self._bridge.fetch()

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        """`start_response`: once, or again with the error that makes another answer necessary, while there is time."""
        if exc_info:
            try:
                if self._is_begun:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self._head is not None:
            raise RuntimeError("start_response was called a second time, without exc_info")
        code = (_CODES.get(status) if type(status) is str else None) or _read_status(status)
        fields = [_encoded(name, value) for name, value in headers]
        self._head = {"type": "http.response.start", "status": code, "headers": fields}
        self._has_body = self._scope["method"] != "HEAD" and code not in _WITHOUT_BODY
        length = dict(fields).get(b"content-length", b"") if self._has_body else b""
        self._left = int(length) if length.isdigit() else None
        return self.write

    def write(self, block: bytes) -> None:
        """Send a block of the body, now: what `start_response` returns."""
        self._write(_checked(block), False)

    def _write(self, block: bytes, is_last: bool) -> None:
        if self._is_complete and block:
            raise ValueError("the body goes on after its end")
        if self._left is not None:
            self._left -= len(block)
            if self._left < 0 or (is_last and self._left):
                how = f"{abs(self._left)} octets {'longer' if self._left < 0 else 'shorter'}"
                raise ValueError(f"the body is {how} than the Content-Length given to start_response")
            is_last = not self._left
        self._is_complete = is_last
        self._send({"type": "http.response.body", "body": block, "more_body": not is_last})

    def _send(self, message: Message) -> None:
        if self._is_begun:
            self._bridge.send(message)
            return
        if self._head is None:
            raise RuntimeError("the application answered before it called start_response")
        self._is_begun = True
        self._bridge.send(self._head, message)

    def _send_file(self, file: Any) -> bool:
        """Let the system send an ordinary file, from where it stands; False where that cannot be."""
        if type(file) not in _FILES or _SENDFILE not in self._scope.get("extensions", ()) or self._head is None:
            return False
        info, offset = os.fstat(file.fileno()), file.tell()
        if not stat.S_ISREG(info.st_mode) or self._is_begun:
            return False
        count = max(0, info.st_size - offset)
        if not any(name == b"content-length" for name, _ in self._head["headers"]):
            self._head["headers"].append((b"content-length", b"%d" % count))
        if not self._has_body:
            return True
        if self._left is not None:
            count = min(count, self._left)
            self._left -= count
        self._send({"type": _SENDFILE, "file": file, "offset": offset, "count": count, "more_body": True})
        # The application closes the file when this returns.
        self._bridge.sync()
        return True


class _LateRead(OSError):
    """The application reads on behind its answer's end. The client has all of the answer, so this is nobody's failure."""


def _is_late(error: BaseException | None) -> bool:
    """Whether an application ends with that, or with what a framework makes of it."""
    return isinstance(error, _LateRead) or (error is not None and _is_late(error.__context__))


def _read_status(status: object) -> int:
    """The number of a status line; those seen before are remembered while there is room."""
    code = status[:3] if isinstance(status, str) else ""
    if not isinstance(status, str) or not code.isdecimal() or not code.isascii() or status[3:4].strip():
        raise ValueError(f"the status given to start_response must be text such as '200 OK', not {status!r}")
    if len(_CODES) < _MAX_CODES and len(status) <= 64:
        _CODES[status] = int(code)
    return int(code)


def _checked(block: object) -> bytes:
    if isinstance(block, bytes):
        return block
    raise TypeError(f"a block of the body must be bytes, not {type(block).__name__}")


def _encoded(name: str, value: str) -> tuple[bytes, bytes]:
    """A field as octets. What could end it early is refused here, where the application can see it."""
    try:
        octets = value.encode("latin-1")
        encoded = _NAMES.get(name)
        if encoded is None:
            encoded = name.lower().encode("latin-1")
            if len(_NAMES) < _MAX_NAMES and len(name) <= 64:
                _NAMES[name] = encoded
    except (AttributeError, UnicodeEncodeError):
        raise ValueError(f"a header must be a name and a value of Latin-1 text, not {name!r}: {value!r}") from None
    if not value.isprintable() and any(number < 32 and number != 9 or number == 127 for number in octets):
        raise ValueError(f"a control character in the value of header {name!r}: {value!r}")
    return encoded, octets
