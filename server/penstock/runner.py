"""A server in this process, from loading the app to the exit code: which loop, which signals.

The only file that imports `penstock_reactor`. SIGINT and SIGTERM (Ctrl+Break on Windows) drain the server; a second one
ends it at once, whatever the app is doing. While the app is still being imported, Ctrl+C interrupts the import as in
any Python program.
"""

import asyncio
import gc
import logging
import os
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager, nullcontext
from types import FrameType
from typing import Any

from penstock_reactor import new_event_loop as new_event_loop

from . import env_file, log
from .asgi.application import ApplicationError, load, made_by
from .asgi.interface import adapt
from .asgi.lifespan import LifespanFailed
from .asgi.smoke import SmokeFailed
from .asgi.stack import waiting_at
from .console import on_close
from .env_file import EnvFileError
from .leaving import FORCED as FORCED
from .leaving import leave as leave
from .listener import ListenError, bind
from .ready import Announcement
from .server import Server as Server
from .settings import Settings
from .tls import TlsError, context_of

ENDED, NOT_BOUND, NOT_STARTED = 0, 1, 3
"""Exit codes, beside FORCED."""

OnReady = Callable[[Server], None]

SIGNALS = ("SIGINT", "SIGTERM", "SIGBREAK")
"""Those that end a server, by name: not every platform has all."""

_NO_LOOP_HINT = "\nWith --interface wsgi the application is imported without a running event loop."

_log = logging.getLogger("penstock.error")


class CannotStart(Exception):
    """The application or the address is not to be had. Its `args`: what the user is to read, and the exit code."""


def run(app: Any, settings: Settings) -> int:
    """Serve `app`, an application or an import string, until a signal; returns the exit code."""
    return run_to_end(lambda: _run(app, settings))


def run_to_end(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run `main()` on a loop of our own and return its exit code, or that of a forced end."""
    loop = new_event_loop()
    code = FORCED
    try:
        asyncio.set_event_loop(loop)
        code = loop.run_until_complete(main())
    except KeyboardInterrupt:
        _log.warning("Forced to end")
    finally:
        if not _close(loop):
            code = FORCED
        log.flush()
    return code


async def serve(
    app: Any, settings: Settings, open_sockets: Callable[[], list[socket.socket]], stopping: "Stopping",
    on_ready: OnReady, make_tls: Callable[[Settings], ssl.SSLContext | None] = context_of,
) -> int:
    """The life of one app in one process: load, start, serve until told to end, drain; returns the exit code.

    Shared by a process on its own and a supervisor's worker. `open_sockets` is called when the app is loaded; the
    sockets are closed here. `on_ready` is given the server when requests are taken. Raises CannotStart.
    """
    sockets: list[socket.socket] = []
    try:
        tls = make_tls(settings)
        app = load_app(app, settings)
        sockets = open_sockets()
        stopping.install()
        server = Server(app, settings, sockets, tls)
        if not await stopping.or_until_asked(server.start()):
            _log.info("Stopped before the application had started")
            return ENDED
        on_ready(server)
        await stopping.first.wait()
        _log.info("Shutting down")
        if not await _drain(server, stopping):
            _log.warning("Forced to end")
            return FORCED
    except (LifespanFailed, SmokeFailed) as error:
        raise CannotStart(str(error), NOT_STARTED) from None
    except (ListenError, TlsError) as error:
        raise CannotStart(str(error), NOT_BOUND) from None
    finally:
        stopping.close()
        for sock in sockets:
            sock.close()
    return ENDED


async def _drain(server: Server, stopping: "Stopping") -> bool:
    """False when it was forced. Every request has had its end: an app that then fails to stop is a line in the log."""
    try:
        return await stopping.or_until_forced(server.drain(has_successor=stopping.has_successor))
    except LifespanFailed as error:
        _log.error("%s", error)
        return True


def freeze() -> None:
    """What a process that only serves has made by now stays: the collector need not look at it again and again.

    And its memory need not go back to the system after each large message only to be fetched anew, at a page fault for
    every 4 KiB: a third of such a message's cost. A block given back teaches glibc to keep twice as much (mallopt(3)).
    """
    gc.collect()
    gc.freeze()
    bytes(8 << 20)  # never touched, so it costs nothing


async def _run(app: Any, settings: Settings) -> int:
    stopping = Stopping(SIGNALS)

    def announce(server: Server) -> None:
        freeze()
        announcement.make(server.sockets)
        end_when_worn(server, stopping)

    try:
        with closing(Announcement(settings)) as announcement:
            return await serve(app, settings, lambda: bind(settings), stopping, announce)
    except CannotStart as error:
        message, code = error.args
    except ListenError as error:
        message, code = str(error), NOT_BOUND
    _log.error("%s", message)
    return int(code)


def end_when_worn(server: Server, stopping: "Stopping") -> None:
    """End a server that has reached a limit of its life, where nobody makes another."""

    def end(worn: "asyncio.Future[str]") -> None:
        _log.warning("Ending: this process %s", worn.result())
        stopping.ask(has_successor=False)

    server.worn.add_done_callback(end)


def load_app(app: Any, settings: Settings) -> Any:
    """The application that `app` names, or `app` itself, as one of ASGI 3. Raises CannotStart."""
    if settings.env_file is not None:
        _log.info("Loading environment from '%s'", settings.env_file)
        try:
            env_file.load(settings.env_file, os.environ)
        except EnvFileError as error:
            raise CannotStart(str(error), NOT_STARTED) from None
    if isinstance(app, str) or settings.factory:
        interface = settings.interface
        try:
            with _without_loop() if interface == "wsgi" else nullcontext():
                named = isinstance(app, str)
                app = load(app, app_dir=settings.app_dir, factory=settings.factory, interface=interface) if named else made_by(app, interface)
        except ApplicationError as error:
            hint = _NO_LOOP_HINT if "SynchronousOnlyOperation" in str(error) else ""
            raise CannotStart(str(error) + hint, NOT_STARTED) from None
        except KeyboardInterrupt:
            raise CannotStart("Interrupted while the application was being imported", FORCED) from None
    has_siblings = (settings.workers or 1) > 1
    return adapt(app, settings.interface, wsgi_threads=settings.wsgi_threads, has_siblings=has_siblings)


@contextmanager
def _without_loop() -> Iterator[None]:
    """As if no loop ran: code for WSGI may run one of its own, or refuse to work within one, as Django's models do."""
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)


class Stopping:
    """Being told to end, as two events: asked to, and at once. Signals say so; a supervisor does by `ask`."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.first = asyncio.Event()
        self.has_successor = False
        """Whether others serve on, on the same sockets."""
        self._second = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._is_asked = False
        # In another thread than the main one Python lets nobody handle signals.
        is_main = threading.current_thread() is threading.main_thread()
        self._numbers = [getattr(signal, name) for name in names if is_main and hasattr(signal, name)]
        self._former: dict[int, Any] = {}

    def install(self) -> None:
        """Take the signals. Until then they do what they do in any Python program, such as interrupt an import."""
        self._former = {number: signal.signal(number, self._on_signal) for number in self._numbers}
        # Who has it ignored (nohup) wants to outlive the terminal.
        if self._numbers and hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
            self._former[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._on_hangup)
        if self._numbers:
            on_close(lambda: self._loop.call_soon_threadsafe(self.first.set))

    def close(self) -> None:
        """Give the signals back."""
        for number, handler in self._former.items():
            signal.signal(number, handler or signal.SIG_DFL)

    def ask(self, *, has_successor: bool) -> None:
        """End in peace."""
        self.has_successor = has_successor
        self.first.set()

    def force(self) -> None:
        """End at once."""
        self.first.set()
        self._second.set()

    async def or_until_asked(self, work: Any) -> bool:
        """Do `work`, unless a signal comes first; False when it did."""
        return await _first_of(work, self.first)

    async def or_until_forced(self, work: Any) -> bool:
        """Do `work`, unless a second signal comes first; False when it did."""
        return await _first_of(work, self._second)

    def _on_hangup(self, _number: int, _frame: FrameType | None) -> None:
        """The terminal is gone. Kernel and shell may both say so: that is no wish to end at once."""
        self._loop.call_soon_threadsafe(self.first.set)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """Runs in the midst of anything. An app that blocks the loop would never see the second event, so it raises too."""
        is_second, self._is_asked = self._is_asked, True
        self._loop.call_soon_threadsafe((self._second if is_second else self.first).set)
        if is_second:
            raise KeyboardInterrupt


async def _first_of(work: Any, event: asyncio.Event) -> bool:
    """Run `work` until it is done (True) or `event` is set (False: it is cancelled)."""
    task, waiting = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
            return True
        task.cancel()
        await asyncio.wait([task])
        return False
    finally:
        waiting.cancel()


def _close(loop: asyncio.AbstractEventLoop) -> bool:
    """End what an app left behind, as asyncio.run does, and close the loop. False when it was forced."""
    try:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            _, deaf = loop.run_until_complete(asyncio.wait(tasks, timeout=1))
            for task in deaf:
                _log.warning("A task does not end although cancelled: %s. It waits here:\n%s", task.get_name(), waiting_at(task))
        loop.run_until_complete(loop.shutdown_asyncgens())
        return True
    except KeyboardInterrupt:
        _log.warning("Forced to end")
        return False
    finally:
        asyncio.set_event_loop(None)
        loop.close()
