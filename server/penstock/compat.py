"""`Config` and `Server`, for programs written for uvicorn: the same names, the same ways to start, watch and stop.

    server = penstock.Server(penstock.Config("main:app", port=8000))
    server.run()                                  or: await server.serve()

What is read in such programs is here: `started`, `should_exit`, `force_exit`, `servers`, `server_state`, and all options on
the config. What is overridden in them (`install_signal_handlers`, `main_loop`) is not; `Config(signals=False)` is what most
of them do it for. New programs do better with `penstock.serve` and its kin (`embedding.py`).
"""

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from types import FrameType
from typing import Any

from . import log, runner
from .asgi.interface import interface_of
from .embedding import opened, until_ended
from .listener import ListenError, bind
from .ready import Announcement
from .server import Server as Core
from .sources import from_keywords
from .tls import context_of

_log = logging.getLogger("penstock.error")

# Several values here, one there.
_FIRST_ONLY = ("host", "ssl_certfile", "ssl_keyfile")


class Config:
    """An application and its options, which can be read as attributes. TypeError or ValueError for a wrong one.

    Beside the fields of Settings: `signals`, whether SIGINT and SIGTERM end the server; `callback_notify`, awaited every
    `timeout_notify` seconds; `ssl_context_factory`, called with this config and a function that makes the usual context.
    """

    def __init__(
        self, app: Any, host: Any = "127.0.0.1", port: int = 8000, *, signals: bool = True,
        callback_notify: Callable[[], Awaitable[None]] | None = None, timeout_notify: float = 30,
        ssl_context_factory: Callable[["Config", Callable[[], Any]], Any] | None = None, **options: Any,
    ) -> None:
        self.app = app
        self.signals = signals
        self.callback_notify = callback_notify
        self.timeout_notify = timeout_notify
        self.ssl_context_factory = ssl_context_factory
        self.loaded = False
        self.loaded_app: Any = None
        self._found = from_keywords(app, {"app_dir": None, **options, "host": host, "port": port}, os.environ)
        self.settings = self._found.settings
        self.configure_logging()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "settings":
            raise AttributeError(name)
        value = getattr(self.settings, name)
        return (value[0] if value else None) if name in _FIRST_ONLY else value

    def configure_logging(self) -> None:
        """Make the loggers ready, as the options say."""
        log.configure(self.settings)
        log.tell(self._found.notes)

    def load_app(self) -> Any:
        """The application itself. Raises SystemExit when it cannot be imported."""
        try:
            return runner.load_app(self.app, self.settings)
        except runner.CannotStart as error:
            _log.error("%s", error.args[0])
            sys.exit(error.args[1])

    def load(self) -> None:
        """Import the application, if that has not been done."""
        if not self.loaded:
            self.loaded_app = self.load_app()
            self.loaded = True

    def bind_socket(self) -> socket.socket:
        """Listen at the first address that the options name. Raises ListenError."""
        first, *others = bind(self.settings)
        for other in others:
            other.close()
        return first

    def get_loop_factory(self) -> Callable[[], asyncio.AbstractEventLoop]:
        """What makes the event loop that `Server.run` uses."""
        return runner.new_event_loop

    def setup_event_loop(self) -> None:
        """Nothing: there is one loop, and `Server.run` makes it."""

    @property
    def is_ssl(self) -> bool:
        return bool(self.settings.ssl_certfile) or self.ssl_context_factory is not None

    @property
    def ssl(self) -> Any:
        """The context that connections are encrypted by, or None. Raises TlsError."""
        usual = partial(context_of, self.settings)
        return usual() if self.ssl_context_factory is None else self.ssl_context_factory(self, usual)

    @property
    def should_reload(self) -> bool:
        return isinstance(self.app, str) and self.settings.reload

    @property
    def use_subprocess(self) -> bool:
        return self.should_reload or (self.settings.workers or 1) > 1

    @property
    def asgi_version(self) -> str:
        return "2.0" if interface_of(self.loaded_app) == "asgi2" else "3.0"

    @property
    def encoded_headers(self) -> list[tuple[bytes, bytes]]:
        """The fields that the options add to every response."""
        pairs = (each.partition(":") for each in self.settings.headers)
        return [(name.strip().lower().encode("latin-1"), value.strip().encode("latin-1")) for name, _, value in pairs]


class Listening:
    """The sockets of a server that runs, where programs look for the port."""

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self.sockets = tuple(sockets)

    def is_serving(self) -> bool:
        return any(sock.fileno() >= 0 for sock in self.sockets)


class ServerState:
    """Counts of a server that runs."""

    def __init__(self, core: Core) -> None:
        self._core = core

    @property
    def total_requests(self) -> int:
        return self._core.answered

    @property
    def connections(self) -> set[Any]:
        return set(self._core.service.connections) if self._core.service is not None else set()

    @property
    def tasks(self) -> set[Any]:
        running = self._core.service.running if self._core.service is not None else ()
        return {exchange.task for exchange in running}


class Server:
    """Serves what a `Config` names, once."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.started = False
        """Requests are taken."""
        self.servers: list[Listening] = []
        self.server_state: ServerState | None = None
        self._wants_exit = self._wants_force = False
        self._stopping: runner.Stopping | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def should_exit(self) -> bool:
        """Set it, from any thread, to have the server drain and end. A signal sets it."""
        return self._wants_exit or (self._stopping is not None and self._stopping.first.is_set())

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        self._wants_exit = value
        if value and self._stopping is not None:
            self._soon(partial(self._stopping.ask, has_successor=False))

    @property
    def force_exit(self) -> bool:
        """Set it, from any thread, to have the server end at once."""
        return self._wants_force

    @force_exit.setter
    def force_exit(self, value: bool) -> None:
        self._wants_force = value
        if value and self._stopping is not None:
            self._soon(self._stopping.force)

    def run(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Serve on a loop of our own until told to stop. Raises SystemExit when it could not start, or was forced to end."""
        code = runner.run_to_end(partial(self._main, sockets))
        if code and not self._wants_force:
            sys.exit(code)

    async def serve(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Serve in the running loop until told to stop, or cancelled, which is the same. Raises SystemExit when it cannot start."""
        code = await self._main(sockets)
        if code and (code == runner.NOT_STARTED or not self.started):
            sys.exit(code)

    async def shutdown(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Ask it to drain and end; does not wait."""
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """What a signal does: the first asks it to end, the second makes it."""
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True

    async def _main(self, sockets: Sequence[socket.socket] | None) -> int:
        config, settings = self.config, self.config.settings
        self._loop = asyncio.get_running_loop()
        self._stopping = stopping = runner.Stopping(runner.SIGNALS if config.signals else ())
        if self._wants_exit:
            stopping.ask(has_successor=False)
        app = config.app
        if config.loaded:
            # All is done that these ask for.
            app, settings = config.loaded_app, replace(settings, interface="auto", env_file=None)
        notifying: list[asyncio.Task[None]] = []

        def on_ready(core: Core) -> None:
            self.started = True
            self.server_state = ServerState(core)
            self.servers = [Listening(core.sockets)]
            runner.end_when_worn(core, stopping)
            announcement.make(core.sockets)
            if config.callback_notify is not None:
                notifying.append(asyncio.ensure_future(self._notify()))

        try:
            with closing(Announcement(settings)) as announcement:
                life = runner.serve(app, settings, partial(opened, settings, sockets), stopping, on_ready, lambda _: config.ssl)
                return await until_ended(asyncio.get_running_loop().create_task(life), stopping)
        except runner.CannotStart as error:
            message, code = error.args
        except ListenError as error:
            message, code = str(error), runner.NOT_BOUND
        finally:
            for task in notifying:
                task.cancel()
        _log.error("%s", message)
        return int(code)

    async def _notify(self) -> None:
        while self.config.callback_notify is not None:
            await self.config.callback_notify()
            await asyncio.sleep(self.config.timeout_notify)

    def _soon(self, callback: Callable[[], None]) -> None:
        with suppress(RuntimeError):
            # It has ended, and its loop with it.
            if self._loop is not None:
                self._loop.call_soon_threadsafe(callback)
