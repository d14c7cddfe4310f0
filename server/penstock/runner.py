"""A server in this process, from loading the app to the exit code: which loop, which signals.

The only file that imports `penstock_reactor`. SIGINT and SIGTERM (Ctrl+Break on Windows) drain the server; a second one
ends it at once. While the app is still being imported, Ctrl+C interrupts the import as in any Python program.
"""

import asyncio
import gc
import logging
import signal
import socket
from typing import Any

from penstock_reactor import new_event_loop

from . import log
from .asgi.application import ApplicationError, load
from .asgi.lifespan import LifespanFailed
from .listener import ListenError, bind, url_of
from .server import Server
from .settings import Settings

ENDED, FORCED, NOT_BOUND, NOT_STARTED = 0, 1, 1, 3
"""Exit codes."""

_SIGNALS = ("SIGINT", "SIGTERM", "SIGBREAK")

_log = logging.getLogger("penstock.error")


def run(app: Any, settings: Settings) -> int:
    """Serve `app`, an application or an import string, until a signal; returns the exit code."""
    log.configure(settings)
    loop = new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(_run(app, settings))
    except KeyboardInterrupt:
        return FORCED
    finally:
        _close(loop)


async def _run(app: Any, settings: Settings) -> int:
    try:
        if isinstance(app, str):
            app = load(app, app_dir=settings.app_dir, factory=settings.factory)
        sockets = bind(settings)
    except ApplicationError as error:
        _log.error("%s", error)
        return NOT_STARTED
    except ListenError as error:
        _log.error("%s", error)
        return NOT_BOUND
    stopping = _Stopping(asyncio.get_running_loop())
    try:
        return await _serve(Server(app, settings, sockets), sockets, stopping)
    finally:
        stopping.close()
        for sock in sockets:
            sock.close()


async def _serve(server: Server, sockets: list[socket.socket], stopping: "_Stopping") -> int:
    """Start, wait for a signal, drain; a second signal interrupts whatever is going on."""
    try:
        if not await stopping.or_until_asked(server.start()):
            return ENDED
        # What was made so far stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        for sock in sockets:
            _log.info("penstock running on %s (Press CTRL+C to quit)", url_of(sock))
        await stopping.first.wait()
        _log.info("Shutting down")
        if not await stopping.or_until_forced(server.drain()):
            _log.warning("Forced to end")
            return FORCED
    except LifespanFailed as error:
        _log.error("%s", error)
        return NOT_STARTED
    return ENDED


class _Stopping:
    """Signals as two events: asked to end, and told to end at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.first = asyncio.Event()
        self._second = asyncio.Event()
        self._loop = loop
        self._numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
        for number in self._numbers:
            loop.add_signal_handler(number, self._on_signal)

    def close(self) -> None:
        """Give the signals back."""
        for number in self._numbers:
            self._loop.remove_signal_handler(number)

    async def or_until_asked(self, work: Any) -> bool:
        """Do `work`, unless a signal comes first; False when it did."""
        return await _first_of(work, self.first)

    async def or_until_forced(self, work: Any) -> bool:
        """Do `work`, unless a second signal comes first; False when it did."""
        return await _first_of(work, self._second)

    def _on_signal(self) -> None:
        (self._second if self.first.is_set() else self.first).set()


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


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """End what an app left behind, as asyncio.run does, and close the loop."""
    try:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=1))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
