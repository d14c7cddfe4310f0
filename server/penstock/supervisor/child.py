"""A worker process: `python -m penstock.supervisor.child EAR VOICE`, started by a supervisor and by nobody else.

It takes what `handover.py` gives it and lives the same life as a process on its own (`runner.serve`), except that it
is told on its control line when to end, and tells there how it fares:

    hears   drain (has_successor)       says   ready, failed (message), files (paths), worn (because)
            share (running)                    beat and leaving (running, answered, memory), busy (running)

Ctrl+C is the supervisor's. The end of the line means that the supervisor is gone: what is open is finished, then the
worker ends; a thread that waits for the end of the lifeline sees to that if nothing else does.
"""

import asyncio
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from traceback import walk_stack

from .. import log, runner
from ..settings import Settings, from_options
from .control import Control
from .handover import EARLY, Post, take
from .memory import resident

BEAT = 1.0
"""Seconds between two signs of life, where they are not looked for more often."""

BUSY_AFTER = 0.05
"""Seconds after a new connection in which the supervisor is told how much runs, if that has changed."""

_IGNORED = ("SIGINT", "SIGHUP")
_LAST_GRACE = 5.0
_FOR_EVER = 60.0
"""Seconds that a worker without a supervisor waits for what may take for ever."""

_MOST_FRAMES = 100
"""Of one thread that are shown."""

_log = logging.getLogger("penstock.error")


def main() -> int:
    """The life of the process; its exit code, which nobody reads but people."""
    post = take(*map(int, sys.argv[1:3]))
    if post is None:
        return runner.FORCED
    settings = from_options(post.rest["settings"])
    sys.path[:] = post.rest["path"]
    sys.argv[:] = post.rest["argv"]
    # A function, because what is ignored (SIG_IGN) would be so in the application's own children, too.
    for number in (getattr(signal, name) for name in _IGNORED if hasattr(signal, name)):
        signal.signal(number, lambda number, frame: None)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, EARLY)
    threading.Thread(target=_end_with_supervisor, args=(post.lifeline, settings), daemon=True).start()
    log.configure(settings)
    code = runner.run_to_end(lambda: _live(post, settings))
    return runner.leave(code, settings.timeout_graceful_shutdown)


async def _live(post: Post, settings: Settings) -> int:
    line = _Line(Control(post.control), runner.Stopping(("SIGTERM", "SIGBREAK")), settings)
    try:
        app, sockets = post.rest["app"], post.sockets
        return await runner.serve(app, settings, lambda: sockets, line.stopping, line.tell_ready)
    except runner.CannotStart as error:
        message, code = error.args
        line.tell_files(message)
        line.control.say("failed", message=message)
        return int(code)
    finally:
        line.close()


class _Line:
    """The control line on the child's loop."""

    def __init__(self, control: Control, stopping: runner.Stopping, settings: Settings) -> None:
        self.control = control
        self.stopping = stopping
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(control.fileno(), self._on_readable)
        self._beat: asyncio.TimerHandle | None = None
        self._busy: asyncio.TimerHandle | None = None
        self._tells_files = settings.reload
        self._pause = min(BEAT, settings.timeout_worker_healthcheck / 3)
        self._told = self._told_running = 0

    def tell_ready(self, server: runner.Server) -> None:
        """Requests are taken. From now on there are signs of life."""
        self._server = server
        server.balance(on_accepted=self._on_accepted)
        server.worn.add_done_callback(lambda worn: self.control.say("worn", because=worn.result()))
        runner.freeze()
        # First, so that who saves a file as soon as requests are taken is not overheard.
        self.tell_files()
        self.control.say("ready")
        self._tell_beat()
        # Kept here: asyncio keeps no task alive. It ends with the loop.
        self._leaving = self._loop.create_task(self._tell_leaving())

    def tell_files(self, failure: str = "") -> None:
        """Which files the application is made of, as far as they are loaded or `failure` names them, if more are loaded than were told."""
        if self._tells_files and len(sys.modules) != self._told:
            self._told = len(sys.modules)
            self.control.say("files", paths=_users_files(failure))

    def close(self) -> None:
        """No word more; what was said last arrives."""
        for timer in filter(None, (self._beat, self._busy)):
            timer.cancel()
        self._loop.remove_reader(self.control.fileno())
        self.control.close()

    async def _tell_leaving(self) -> None:
        """Who was told to end by somebody else says so at once: by the next beat one that is idle is gone."""
        await self.stopping.first.wait()
        self.control.say("leaving")

    def _tell_beat(self) -> None:
        self.tell_files()
        # Again, lest it take this for a sign that all is well.
        word, server = "leaving" if self.stopping.first.is_set() else "beat", self._server
        self._told_running = server.running
        self.control.mention(word, running=server.running, answered=server.answered, memory=resident())
        self._beat = self._loop.call_later(self._pause, self._tell_beat)

    def _on_accepted(self) -> None:
        """More may run soon, and the others should know before the next beat."""
        if self._busy is None:
            self._busy = self._loop.call_later(BUSY_AFTER, self._tell_busy)

    def _tell_busy(self) -> None:
        self._busy = None
        if self._server.running != self._told_running:
            self._told_running = self._server.running
            self.control.mention("busy", running=self._told_running)

    def _on_readable(self) -> None:
        messages = self.control.hear()
        if messages is None:
            self._loop.remove_reader(self.control.fileno())
            _log.warning("The supervisor is gone")
            self.stopping.ask(has_successor=False)
        for message in messages or ():
            if message["word"] == "share":
                self._server.balance(fair_share=message["running"])
            else:
                self.stopping.ask(has_successor=message["has_successor"])


def _users_files(failure: str) -> list[str]:
    """The files of all modules, and those that `failure` names, that do not belong to the Python installation or its packages."""
    foreign = tuple(os.path.join(folder, "") for folder in (sys.prefix, sys.base_prefix, sys.exec_prefix))
    loaded = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    # Of a module that has failed to be imported nothing is left but its place in the traceback.
    named = re.findall(r'File "([^<].*)", line \d', failure)
    paths = {os.path.abspath(path) for path in (*loaded, *named) if isinstance(path, str)}
    return sorted(path for path in paths if not path.startswith(foreign) and "site-packages" not in path)


def _end_with_supervisor(lifeline: int, settings: Settings) -> None:
    """Wait until the supervisor is gone, then see to it that this process does not outlive it for long."""
    while os.read(lifeline, 1):
        # It has heard nothing from us for a while, and wonders where we stand.
        if sys.__stderr__ is not None:
            # In one piece, for others may be asked at this moment, and not by the log, whose lock may be what holds us.
            text = "".join(_where_threads_stand()).encode(errors="backslashreplace")
            # By another thread: perhaps nobody reads it, and the supervisor's end is to be seen all the same.
            with suppress(RuntimeError):
                threading.Thread(target=os.write, args=(2, text), daemon=True).start()
    for limit in (settings.timeout_graceful_shutdown, settings.timeout_shutdown, _LAST_GRACE):
        time.sleep(_FOR_EVER if limit is None else limit)
    os._exit(runner.FORCED)


def _where_threads_stand() -> Iterator[str]:
    """In lines, the innermost call first, for every thread but the one that asks."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for number, frame in sys._current_frames().items():
        if number != threading.get_ident():
            yield f"Process {os.getpid()}, thread {names.get(number, number)} (most recent call first):\n"
            for each, line in islice(walk_stack(frame), _MOST_FRAMES):
                yield f'  File "{each.f_code.co_filename}", line {line} in {each.f_code.co_name}\n'


if __name__ == "__main__":
    sys.exit(main())
