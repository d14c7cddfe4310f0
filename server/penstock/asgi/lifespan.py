"""Lifespan: the application is told of start and stop (ASGI lifespan specification, version 2.0).

One task runs the application's lifespan call for as long as the server lives. `startup` and `shutdown`
give it its message and wait for the answer, each within a limit; whoever cancels them cancels the task,
and neither leaves it behind. An application that waits long is asked where: its stack goes to the log.

What the application may say at which moment is the table `_MOVES`; all else raises to it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from logging import Logger
from typing import Any

from .messages import kind_of, take
from .stack import user_traceback, waiting_at

# After this many seconds of waiting the log says where the application stands.
_PATIENCE = 5.0

# How long a cancelled task may take to end.
_LAST_GRACE = 1.0


class LifespanFailed(Exception):
    """The application did not start or did not stop well; the text is what the user is to read."""


class _Phase(Enum):
    UNSUPPORTED = auto()  # not started yet, switched off, or the application does not know lifespan
    STARTING = auto()
    STARTED = auto()
    STOPPING = auto()
    STOPPED = auto()
    FAILED = auto()


_MOVES = {
    (_Phase.STARTING, "lifespan.startup.complete"): _Phase.STARTED,
    (_Phase.STARTING, "lifespan.startup.failed"): _Phase.FAILED,
    (_Phase.STOPPING, "lifespan.shutdown.complete"): _Phase.STOPPED,
    (_Phase.STOPPING, "lifespan.shutdown.failed"): _Phase.FAILED,
}


class Lifespan:
    """The lifespan of one application in one process.

    `mode` is "auto" (an application that does not know lifespan is served without), "on" (it is refused)
    or "off" (it is not asked). `state` is the namespace that the application filled while it started;
    None when it does not speak lifespan, and then requests have no `state` either. A limit of None waits
    for ever.
    """

    def __init__(
        self, app: Callable[..., Awaitable[Any]], mode: str, log: Logger, startup_timeout: float | None,
        shutdown_timeout: float | None,
    ) -> None:
        self.state: dict[str, Any] | None = None
        self._app = app
        self._mode = mode
        self._log = log
        self._startup_timeout = startup_timeout
        self._shutdown_timeout = shutdown_timeout
        self._phase = _Phase.UNSUPPORTED
        self._delivered = 0  # messages the application has had
        self._asked_to_stop = asyncio.Event()
        self._failure = ""  # what came with startup.failed or shutdown.failed
        self._error: BaseException | None = None  # what escaped from the application
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Start the application; returns when requests may come. Raises LifespanFailed."""
        if self._mode == "off":
            return
        self._log.info("Waiting for application startup.")
        loop = asyncio.get_running_loop()
        state: dict[str, Any] = {}
        self._phase = _Phase.STARTING
        self._answered: asyncio.Future[None] = loop.create_future()
        self._has_no_more: asyncio.Future[None] = loop.create_future()
        self._task = loop.create_task(self._run(state), name="penstock-lifespan")
        try:
            await self._wait_answer(self._task, "starting", self._startup_timeout, "--timeout-startup")
            self._judge_start()
        finally:
            if self._phase is not _Phase.STARTED:
                await self._end(self._task)
        if self._phase is _Phase.STARTED:
            self.state = state
        self._log.info("Application startup complete.")

    async def shutdown(self) -> None:
        """Stop the application, if it started and still runs its lifespan call. Raises LifespanFailed."""
        if self._phase is not _Phase.STARTED or self._task is None or self._task.done():
            return
        self._log.info("Waiting for application shutdown.")
        self._phase = _Phase.STOPPING
        self._answered = asyncio.get_running_loop().create_future()
        self._asked_to_stop.set()
        try:
            await self._wait_answer(self._task, "stopping", self._shutdown_timeout, "--timeout-shutdown")
        finally:
            await self._end(self._task)
        if self._phase is _Phase.FAILED or self._error is not None:
            raise LifespanFailed("The application failed while stopping." + self._reason())
        self._log.info("Application shutdown complete.")

    def cancel(self) -> None:
        """End without the application's word."""
        if self._task is not None:
            self._task.cancel()

    # -- the application's side

    async def _run(self, state: dict[str, Any]) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
        try:
            await self._app(scope, self._receive, self._send)
        except (asyncio.CancelledError, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            self._error = error
            if self._phase is _Phase.STARTED:
                self._log.error("The application's lifespan call ended early.\n%s", user_traceback(error))

    async def _receive(self) -> dict[str, Any]:
        if self._delivered == 0:
            self._delivered = 1
            return {"type": "lifespan.startup"}
        if self._phase not in (_Phase.STOPPED, _Phase.FAILED):
            await self._asked_to_stop.wait()
        if self._delivered == 1 and self._phase is _Phase.STOPPING:
            self._delivered = 2
            return {"type": "lifespan.shutdown"}
        # There is no third message. The application may wait for it until it is cancelled.
        if not self._has_no_more.done():
            self._has_no_more.set_result(None)
        nothing: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        return await nothing

    async def _send(self, message: dict[str, Any]) -> None:
        kind = kind_of(message)
        phase = _MOVES.get((self._phase, kind))
        if phase is None:
            allowed = " or ".join(each for at, each in _MOVES if at is self._phase) or "nothing"
            raise RuntimeError(f"the application sent {kind!r} on its lifespan, where {allowed} was expected")
        failure = take(message, "message", str, "a str", "")
        self._phase, self._failure = phase, failure
        if not self._answered.done():
            self._answered.set_result(None)

    # -- the server's side

    async def _wait_answer(self, task: "asyncio.Task[None]", doing: str, limit: float | None, option: str) -> None:
        """Wait until the application has answered or its call has ended."""
        things = (task, self._answered)
        first = _PATIENCE if limit is None else min(limit, _PATIENCE)
        await asyncio.wait(things, timeout=first, return_when=asyncio.FIRST_COMPLETED)
        if not _any_done(things) and first != limit:
            self._log.warning("The application is still %s after %g s.%s", doing, first, _where(task))
            rest = None if limit is None else limit - first
            await asyncio.wait(things, timeout=rest, return_when=asyncio.FIRST_COMPLETED)
        # An application that blocks the loop may be late and done at once: done counts.
        if not _any_done(things):
            raise LifespanFailed(f"The application is still {doing} after {limit:g} s ({option}).{_where(task)}")

    def _judge_start(self) -> None:
        if self._phase is _Phase.STARTED:
            return
        if self._phase is _Phase.FAILED:
            raise LifespanFailed("The application failed while starting." + self._reason())
        if isinstance(self._error, SystemExit):
            raise LifespanFailed("The application ended the program while starting." + self._reason())
        if self._mode == "on":
            raise LifespanFailed("The application has no lifespan, which --lifespan on asks for." + self._reason())
        self._phase = _Phase.UNSUPPORTED
        if self._error is not None and self._delivered:
            # The specification says to carry on; but it took the message, so this is hardly a refusal.
            self._log.warning("The application raised while starting; served without lifespan.%s", self._reason())
        else:
            self._log.info("The application does not use lifespan; served without.")

    def _reason(self) -> str:
        if self._failure:
            return "\n" + self._failure.rstrip()
        return "\n" + user_traceback(self._error) if self._error is not None else ""

    async def _end(self, task: "asyncio.Task[None]") -> None:
        """Leave no task behind."""
        if self._phase in (_Phase.STOPPED, _Phase.FAILED):
            # It may tidy up after its last word, until it ends or waits for a message that never comes.
            await asyncio.wait((task, self._has_no_more), timeout=_LAST_GRACE, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.wait((task,), timeout=_LAST_GRACE)
        if not task.done():
            self._log.error("The application's lifespan call does not end although cancelled.%s", _where(task))


def _any_done(things: tuple["asyncio.Future[None]", ...]) -> bool:
    return any(each.done() for each in things)


def _where(task: "asyncio.Task[None]") -> str:
    lines = waiting_at(task)
    return f" It waits here:\n{lines}" if lines else ""
