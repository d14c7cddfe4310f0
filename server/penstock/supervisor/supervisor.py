"""The process that holds the sockets and never accepts: it starts workers, watches over them and replaces them.

It waits for something to happen (a word on a control line, the end of a process, a changed file, a signal), notes it,
and asks `fleet.plan` what to do. It runs none of the application's code, so nothing of that can block or end it. On
any loop with `add_reader` and `add_signal_handler`.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, replace
from typing import Any

from ..console import on_close
from ..listener import ListenError, bind
from ..ready import Announcement
from ..settings import Settings
from ..tls import TlsError, context_of
from . import reload
from .balance import Balance
from .door import DoorError, open_door, status_of
from .fleet import FIRST, FORCED, GIVEN_UP, NOT_BOUND, Action, Generation, Member, Phase, Verb
from .fleet import after_crash, after_failure, after_look, plan
from .policy import expiry, retire_limit, too_large, wanted
from .worker import Worker, reap_strangers

TICK = 0.25
"""Seconds between two looks at the clock: limits are exceeded by so much at most."""

_ASLEEP = 2.0
"""Seconds between two looks at the clock after which the machine, or this process, must have been asleep."""

_MOST_WORDS = 10_000
"""What a worker may say between two looks at the clock: many times what it has to say, and few enough to be heard."""

_SERVES_ON = "\nThe code from before serves on. Save again (or send SIGHUP) to try again."
_NOBODY_SERVES = "\nNobody serves. It is tried again soon; save again (or send SIGHUP) to try at once."

_log = logging.getLogger("penstock.error")


async def supervise(app: str, settings: Settings, count: int) -> int:
    """Serve `app`, an import string, with `count` workers until a signal; returns the exit code."""
    if trouble := reload.missing_folder(settings):
        _log.error("%s", trouble)
        return NOT_BOUND
    if settings.reload_dry_run:
        print("\n".join(reload.watcher_of(settings).explain()))
        return 0
    try:
        # The workers read it for themselves; a mistake in it is told once, and before any of them is started.
        context_of(settings)
        with closing(Announcement(settings)) as announcement:
            with closing(Supervisor(app, settings, count, bind(settings), announcement.make)) as supervisor:
                async with open_door(settings.control, supervisor):
                    return await supervisor.run()
    except (ListenError, TlsError, DoorError) as error:
        _log.error("%s", error)
        return NOT_BOUND


class Supervisor:
    """One fleet on one set of sockets. `announce` is told of them when the first generation is ready."""

    def __init__(
        self, app: str, settings: Settings, count: int, sockets: list[socket.socket],
        announce: Callable[[Sequence[socket.socket]], None],
    ) -> None:  # fmt: skip
        self._settings = settings
        self._sockets = sockets
        self._watcher = reload.watcher_of(settings) if settings.reload else None
        self._post = {"app": app, "settings": asdict(settings), "path": list(map(str, sys.path)), "argv": sys.argv}
        self._workers: dict[int, Worker] = {}
        self._balance = Balance(self._workers)
        self._generation = Generation()
        self._wanted = wanted(settings, count)
        self._started = 0
        self._announce = announce
        self._is_announced = False
        self._loop = asyncio.get_running_loop()
        self._looked_at = self._loop.time()
        self._end: asyncio.Future[int] = self._loop.create_future()
        self._has_terminal = os.isatty(0)
        self._folder = os.curdir
        with suppress(FileNotFoundError):
            self._folder = os.getcwd()
        self._install()

    async def run(self) -> int:
        """Start, and see to the fleet until it is to end and has; the exit code."""
        self._tick()
        if self._watcher is not None:
            # Kept here: asyncio keeps no task alive. It ends with the loop.
            self._watching = self._loop.create_task(reload.watch(self._watcher, self._settings.reload_delay, self.renew))
        return await self._end

    def close(self) -> None:
        """Leave nothing: no worker, no socket. The signals are given back when the loop is closed."""
        for worker in list(self._workers.values()):
            self._drop(worker)
        for sock in self._sockets:
            sock.close()

    def status(self) -> dict[str, Any]:
        """How the fleet fares."""
        return status_of(self._workers.values(), self._generation, self._wanted, self._loop.time())

    def stop(self) -> None:
        """The first time drain and end; the second time end at once."""
        if self._wanted.exit_code is None:
            _log.info("Shutting down")
            self._stop(0)
        elif not self._end.done():
            _log.warning("Forced to end")
            self._end.set_result(FORCED)

    def scale(self, count: int) -> None:
        """Want so many workers."""
        self._wanted = replace(self._wanted, count=count, step=count if self._watcher else 1)
        _log.info("%d workers are wanted", count)
        self._act()

    def renew(self, cause: str) -> None:
        """Ask for a new generation, unless all is to end."""
        if self._wanted.exit_code is None:
            _log.info("%s: starting anew", cause)
            self._generation = Generation(self._generation.number + 1)
            self._act()

    # ── what happens ──

    def _tick(self) -> None:
        # First, so that nothing that goes wrong stops the clock.
        if not self._end.done():
            self._loop.call_later(TICK, self._tick)
        for worker in self._workers.values():
            worker.words = 0
        self._act()

    def _on_word(self, worker: Worker) -> None:
        """Something came on a worker's line."""
        self._listen(worker)
        self._act()

    def _listen(self, worker: Worker) -> bool:
        """Take what a worker has said; False when there is nothing, or nothing more to come."""
        now, messages = self._loop.time(), worker.control.hear()
        worker.words += len(messages or ())
        if worker.words > _MOST_WORDS:
            worker.control.fault, messages = "it never stops talking", None
        if messages is None and not worker.is_gone:
            self._loop.remove_reader(worker.control.fileno())
            worker.is_gone = True
            if worker.control.fault:
                _log.error("The %s is replaced, for its control line is of no use: %s", worker, worker.control.fault)
            if worker.member.phase in (Phase.STARTING, Phase.READY):
                # Mostly it is ending; one that only broke the line is of no use either.
                self._loop.call_later(1.0, worker.kill)
        for message in messages or ():
            worker.note_life(now, message)
            self._take(worker, message, now)
        return bool(messages)

    def _take(self, worker: Worker, message: dict[str, Any], now: float) -> None:
        word, is_ready = message["word"], worker.member.phase is Phase.READY
        if word == "ready" and worker.member.phase is Phase.STARTING:
            self._on_ready(worker, now)
        elif word == "leaving" and is_ready:
            worker.enter(Phase.RETIRING, now, self._wanted.retire_limit)
        elif word == "failed":
            self._on_failed(worker, str(message.get("message")), now)
        elif word == "files" and self._watcher is not None and isinstance(message.get("paths"), list):
            self._watcher.note_loaded(each for each in message["paths"] if isinstance(each, str))
        elif word == "worn" and is_ready:
            self._wear(worker, str(message.get("because")))
        elif word in ("beat", "busy") and is_ready:
            if because := too_large(self._settings, worker.memory, now - worker.member.since):
                self._wear(worker, because)
            self._balance.note()

    def _wear(self, worker: Worker, because: str) -> None:
        if not worker.member.is_worn:
            _log.info("The %s %s: another takes its place", worker, because)
            worker.member = replace(worker.member, is_worn=True)

    def _on_ready(self, worker: Worker, now: float) -> None:
        worker.enter(Phase.READY, now)
        worker.member = replace(worker.member, expires_at=expiry(self._settings, now))
        self._balance.note()
        self._generation = after_look(self._generation, self._members(), self._wanted, now)
        _log.info("Ready: %s", worker)
        # Who is to end has closed its sockets.
        if self._generation.is_proven and not self._is_announced and self._wanted.exit_code is None:
            self._is_announced = True
            self._announce(self._sockets)

    def _on_failed(self, worker: Worker, message: str, now: float) -> None:
        """It says itself that it does not start, or did not end well; it is about to end."""
        if worker.member.phase is Phase.STARTING:
            self._note_failure(worker, message, now)
            worker.enter(Phase.RETIRING, now, self._wanted.retire_limit)
        elif worker.was_ready:
            _log.error("%s", message)

    def _on_end(self, worker: Worker, now: float) -> None:
        """Its process is no more."""
        if worker.member.phase is Phase.STARTING:
            self._note_failure(worker, f"The {worker} ended before it was ready: {worker.describe_end()}", now)
        elif worker.member.phase is Phase.READY and self._wanted.exit_code is None:
            # An application that ends its process without a mistake has not crashed; but it is paced like one that has.
            level, how = (logging.ERROR, "died") if worker.process.returncode else (logging.WARNING, "has ended")
            _log.log(level, "The %s %s: %s. Another takes its place.", worker, how, worker.describe_end())
            self._generation = after_crash(self._generation, worker.member, now, by_others=worker.is_ended_by_others)
        self._let_go(worker)

    def _note_failure(self, worker: Worker, what: str, now: float) -> None:
        """A worker did not start. That is said with what goes on all the same; once for each generation, while others serve."""
        generation, is_first = self._generation, self._generation.number == FIRST and not self._generation.is_proven
        serve_on = is_first or any(each.phase is Phase.READY for each in self._members())
        is_news = generation.is_proven or not generation.has_failed or not serve_on
        if worker.member.generation == generation.number and is_news:
            _log.error("%s%s", what, "" if is_first else _SERVES_ON if serve_on else _NOBODY_SERVES)
        self._generation = after_failure(generation, worker.member, now, by_others=worker.is_ended_by_others)

    def _note_refusal(self, error: Exception, member: Member, now: float) -> None:
        """The system has no process: said once for all that are wanted at this moment. It is no fault of the code."""
        if now >= self._generation.not_before:
            _log.error("No process for a worker: %s", error)
            self._generation = after_failure(self._generation, member, now, by_others=True)

    def _on_hangup(self) -> None:
        """SIGHUP: a rolling restart; but when it was the terminal that went away, the end. The shell may say it again."""
        if not self._has_terminal or os.isatty(0):
            self.renew("SIGHUP")
        elif self._wanted.exit_code is None:
            self.stop()

    # ── what is done ──

    def _act(self) -> None:
        """Look who has ended, and do what the plan says."""
        if self._end.done():
            return
        now = self._loop.time()
        asleep, self._looked_at = now - self._looked_at, now
        for worker in self._workers.values() if asleep > _ASLEEP else ():
            worker.excuse(asleep, now)
        reap_strangers({each.process.pid for each in self._workers.values()})
        for worker in list(self._workers.values()):
            if worker.has_ended():
                # Its last words may wait yet.
                while self._listen(worker):
                    pass
                self._on_end(worker, now)
        self._generation = after_look(self._generation, self._members(), self._wanted, now)
        for action in plan(self._members(), self._wanted, self._generation, now):
            self._do(action, now)

    def _members(self) -> list[Member]:
        return [each.member for each in self._workers.values()]

    def _do(self, action: Action, now: float) -> None:
        worker = self._workers.get(action.number)
        if action.verb is Verb.START:
            self._start(action.number, now)
        elif action.verb is Verb.GIVE_UP:
            if action.number == GIVEN_UP:
                _log.error("Giving up: the workers end as soon as they start")
            self._stop(action.number)
        elif action.verb is Verb.END and not self._end.done():
            self._end.set_result(action.number)
        elif worker is not None and action.verb is Verb.RETIRE:
            worker.retire(has_successor=self._wanted.exit_code is None)
            worker.enter(Phase.RETIRING, now, action.patience)
        elif worker is not None and action.verb is Verb.KILL:
            self._kill(worker, now)
        elif worker is not None and action.verb is Verb.QUESTION:
            silence, phase = now - worker.member.heard, worker.member.phase
            what = f"was not heard for {silence:.0f} s" if phase is Phase.READY else f"is still {phase.value}"
            _log.warning("The %s %s. It stands here:", worker, what)
            worker.question()

    def _start(self, generation: int, now: float) -> None:
        self._started += 1
        # One that was removed and made anew is another, though it has the same name.
        with suppress(OSError):
            os.chdir(self._folder)
        try:
            worker = self._workers[self._started] = Worker(self._started, generation, self._sockets, now)
            self._loop.add_reader(worker.control.fileno(), self._on_word, worker)
            self._loop.run_in_executor(None, worker.give, self._post)
        except (OSError, RuntimeError) as error:
            self._note_refusal(error, Member(self._started, generation, now), now)
            # A process is there, but no thread to speak to it (RuntimeError).
            if self._started in self._workers:
                self._drop(self._workers[self._started])

    def _kill(self, worker: Worker, now: float) -> None:
        if worker.member.phase is Phase.STARTING:
            self._note_failure(worker, f"The {worker} is still starting after {now - worker.member.since:.0f} s", now)
        else:
            _log.warning("Killing %s, which does not end", worker)
        worker.kill()
        worker.enter(Phase.KILLED, now)

    def _stop(self, code: int) -> None:
        """Wind the fleet up, and end with `code`."""
        limit = retire_limit(self._settings, self._settings.timeout_graceful_shutdown)
        self._wanted = replace(self._wanted, exit_code=code, retire_limit=limit)
        self._loop.call_soon(self._act)
        for sock in self._sockets:
            # The workers close theirs, too: later clients are refused at once instead of waiting for nobody.
            sock.close()

    def _drop(self, worker: Worker) -> None:
        worker.kill()
        worker.process.wait()
        self._let_go(worker)

    def _let_go(self, worker: Worker) -> None:
        self._loop.remove_reader(worker.control.fileno())
        worker.close()
        self._workers.pop(worker.member.number, None)

    # ── where it comes from ──

    def _install(self) -> None:
        """Take the signals that exist here; in another thread than the main one there are none."""
        handlers: dict[str, Callable[[], None]] = {
            **dict.fromkeys(("SIGINT", "SIGTERM", "SIGBREAK"), self.stop), "SIGHUP": self._on_hangup,
            "SIGTTIN": lambda: self.scale(self._wanted.count + 1), "SIGCHLD": self._act,
            "SIGTTOU": lambda: self.scale(max(1, self._wanted.count - 1)),
        }  # fmt: skip
        if threading.current_thread() is threading.main_thread():
            for name, handler in handlers.items():
                if hasattr(signal, name):
                    self._loop.add_signal_handler(getattr(signal, name), handler)
            on_close(lambda: self._loop.call_soon_threadsafe(self.stop))
