"""A server inside a program that has other things to do: in its event loop, or in a thread of its own.

    await penstock.serve(app, port=8000)                     a coroutine, on any loop that has add_reader
    async with penstock.serving(app, port=0) as running:     the same beside what stands in the block
    with penstock.serve_in_thread(app, port=0) as running:   a loop of our own in a thread

Nothing of the program is touched: no signal handler is installed unless asked for, no logging is configured, the import
path stays. Several may run at once, in one loop or in many. `runner.serve` is the life of each.
"""

import asyncio
import os
import socket
import threading
import weakref
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import cache, partial
from types import TracebackType
from typing import Any

from . import runner
from .listener import bind, url_of
from .server import Server
from .settings import Settings
from .sources import from_keywords

_NO_READERS = (
    "this event loop cannot watch sockets (add_reader), as Windows' proactor loop cannot. Serve from a thread with"
    " penstock.serve_in_thread(), or run the program on a selector loop: asyncio.run(main(), loop_factory=asyncio.SelectorEventLoop)"
)


class StartError(RuntimeError):
    """The server could not start: the application, its lifespan, the address, TLS. `code` is what a process exits with."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Running:
    """A server that takes requests: where it is, and how to end it."""

    def __init__(self, settings: Settings, sockets: Sequence[socket.socket], stopping: runner.Stopping) -> None:
        self.addresses: list[Any] = [sock.getsockname() for sock in sockets]
        """What `getsockname` says of each socket: (host, port), longer for IPv6, a path for a Unix socket."""
        self.urls = [url_of(sock, settings) for sock in sockets]
        self._stopping = stopping
        self._loop = asyncio.get_running_loop()

    @property
    def url(self) -> str:
        """How to reach it at its first address: http://127.0.0.1:54321."""
        return self.urls[0]

    @property
    def port(self) -> int:
        """The port of its first address."""
        return int(self.addresses[0][1])

    def stop(self) -> None:
        """Ask it to drain and end; does not wait. From any thread, and safe to call again."""
        try:
            self._loop.call_soon_threadsafe(partial(self._stopping.ask, has_successor=False))
        except RuntimeError:
            # The loop is closed: it has ended.
            pass


async def serve(
    app: Any, *, ready: "asyncio.Future[Running] | asyncio.Event | None" = None,
    sockets: Sequence[socket.socket] | None = None, signals: bool = False, **options: Any,
) -> None:
    """Serve `app`, an application or its import string, in the running loop until told to stop.

    `ready`, a future, gets a `Running` when requests are taken (or the failure), an event is set. `sockets` are bound and
    listening, and closed at the end; without them the options say where to listen. With `signals`, SIGINT and SIGTERM
    stop it. Cancelling it is the same as to stop it: what is open is finished within `timeout_graceful_shutdown`; a
    second time ends it at once. `options` are the fields of Settings. Raises StartError.
    """
    try:
        await _serve(app, ready, sockets, signals, options)
    except Exception as error:
        if isinstance(ready, asyncio.Future) and not ready.done():
            ready.set_exception(error)
            # Who awaits this coroutine has heard of it, and need not ask the future too.
            ready.exception()
        raise
    finally:
        # Stopped before it had started: nobody is to wait for ever.
        if isinstance(ready, asyncio.Future) and not ready.done():
            ready.cancel()


async def _serve(app: Any, ready: Any, sockets: Sequence[socket.socket] | None, signals: bool, options: dict[str, Any]) -> None:
    settings = from_keywords(app, {"app_dir": None, **options}, os.environ).settings
    if settings.reload or options.get("workers") not in (None, 1):
        raise ValueError("several workers, or a reload, are processes of their own: penstock.run() has them")
    stopping = runner.Stopping(runner.SIGNALS if signals else ())

    def on_ready(server: Server) -> None:
        runner.end_when_worn(server, stopping)
        if isinstance(ready, asyncio.Event):
            ready.set()
        elif ready is not None and not ready.done():
            ready.set_result(Running(settings, server.sockets, stopping))

    life = runner.serve(app, settings, partial(opened, settings, sockets), stopping, on_ready)
    try:
        await until_ended(asyncio.get_running_loop().create_task(life), stopping)
    except runner.CannotStart as error:
        raise StartError(*error.args) from None
    except NotImplementedError:
        raise RuntimeError(_NO_READERS) from None


@asynccontextmanager
async def serving(app: Any, *, sockets: Sequence[socket.socket] | None = None, **options: Any) -> AsyncIterator[Running]:
    """Serve `app` beside the block, which gets a `Running`; at its end the server is drained. Arguments as for `serve`."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[Running] = loop.create_future()
    task = loop.create_task(serve(app, ready=ready, sockets=sockets, **options))
    try:
        running = await ready
    except BaseException:
        task.cancel()
        # What it ended with was told through `ready`.
        await asyncio.gather(task, return_exceptions=True)
        raise
    try:
        yield running
    finally:
        running.stop()
        await task


class ServingThread:
    """A server in a thread of its own, on a loop of our own. `with` waits for its end, as `stop` does."""

    def __init__(self, app: Any, sockets: Sequence[socket.socket] | None, options: dict[str, Any]) -> None:
        self._running: Running | None = None
        self._failure: BaseException | None = None
        self._is_decided = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(app, sockets, options), name="penstock", daemon=True)
        self._thread.start()
        self._is_decided.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        # The thread does not keep the program alive, and the program's end does not cut what it is doing.
        _stop_with_program()
        _living.add(self)

    @property
    def running(self) -> Running:
        if self._running is None:
            raise RuntimeError("the server has not started")
        return self._running

    @property
    def url(self) -> str:
        """How to reach it at its first address: http://127.0.0.1:54321."""
        return self.running.url

    @property
    def port(self) -> int:
        """The port of its first address."""
        return self.running.port

    @property
    def addresses(self) -> list[Any]:
        """What `getsockname` says of each socket."""
        return self.running.addresses

    def stop(self) -> None:
        """Drain, and wait for the end; safe to call again. Raises what ended the server, if that was a failure."""
        self.running.stop()
        self._thread.join()
        _living.discard(self)
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def __enter__(self) -> "ServingThread":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _run(self, app: Any, sockets: Sequence[socket.socket] | None, options: dict[str, Any]) -> None:
        try:
            runner.run_to_end(lambda: self._main(app, sockets, options))
        except BaseException as error:
            self._failure = error
        finally:
            self._is_decided.set()

    async def _main(self, app: Any, sockets: Sequence[socket.socket] | None, options: dict[str, Any]) -> int:
        ready: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
        ready.add_done_callback(self._on_ready)
        await serve(app, ready=ready, sockets=sockets, **options)
        return runner.ENDED

    def _on_ready(self, ready: "asyncio.Future[Running]") -> None:
        if not ready.cancelled() and ready.exception() is None:
            self._running = ready.result()
            self._is_decided.set()


_living: "weakref.WeakSet[ServingThread]" = weakref.WeakSet()


@cache
def _stop_with_program() -> None:
    """See to it, once, that those who still serve are stopped at the program's end.

    That must be before the executors' own end, for the application may use their threads; `atexit` comes behind it.
    """
    # What is registered later is called earlier.
    import concurrent.futures.thread

    def stop_all() -> None:
        # Each, whatever becomes of another.
        with ExitStack() as stack:
            for each in list(_living):
                stack.callback(each.stop)

    threading._register_atexit(stop_all)  # type: ignore[attr-defined]  # as concurrent.futures does


def serve_in_thread(app: Any, *, sockets: Sequence[socket.socket] | None = None, **options: Any) -> ServingThread:
    """Serve `app` in a thread of its own; returns when requests are taken. Arguments as for `serve`, failures too."""
    return ServingThread(app, sockets, options)


def opened(settings: Settings, sockets: Sequence[socket.socket] | None) -> list[socket.socket]:
    """The sockets of a program, or, without any, those that the options ask for."""
    if sockets is None:
        return bind(settings)
    for sock in sockets:
        sock.setblocking(False)
    return list(sockets)


async def until_ended(life: "asyncio.Task[int]", stopping: runner.Stopping) -> int:
    """Wait for the server's end; its exit code. Being cancelled asks it to end, and being cancelled again makes it."""
    try:
        return await asyncio.shield(life)
    except asyncio.CancelledError:
        stopping.ask(has_successor=False)
        try:
            await asyncio.shield(life)
        except asyncio.CancelledError:
            stopping.force()
            await asyncio.wait([life])
        raise
