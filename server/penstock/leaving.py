"""The end of a process: what its threads are up to when all else has ended, and how long they are waited for.

The interpreter waits for every thread that is no daemon, for ever and without a word. Here they are named, waited for as
long as the settings say, and then the process ends without them.
"""

import logging
import math
import os
import sys
import threading
import time
from contextlib import suppress

from .asgi.bridge import THREAD_NAME

FORCED = 1
"""Exit code of a process that did not end in peace."""

_SHORTLY = 0.2
"""Seconds in which a thread that was told to end does."""

_SLICE = 0.5
"""Seconds after which a wait for a thread looks whether a signal has come."""

# Where a thread of a pool waits for work: one of an executor, or of our own.
_WAITING = (("_worker", "thread.py"), ("work", "bridge.py"))

_log = logging.getLogger("penstock.error")


def leave(code: int, patience: float | None) -> int:
    """The exit code of a process that is to end, when nothing keeps it.

    Threads do: they are named, and when they still run after `patience` seconds the process ends without them.
    """
    try:
        threads = _join(_busy_threads(), _SHORTLY)
        for thread in threads:
            _log.warning("The process waits for a thread to end: %s", _describe(thread))
        threads = _join(threads, patience if code != FORCED else 0)
    except KeyboardInterrupt:
        code = FORCED
    if threads:
        logging.shutdown()
        # What the application has printed leaves, too; but one of the threads may hang in there.
        last = threading.Thread(target=_flush_streams, daemon=True)
        last.start()
        last.join(_SHORTLY)
        os._exit(code)
    return code


def _busy_threads() -> list[threading.Thread]:
    """Threads that the interpreter would wait for, or that run a WSGI application; not those of pools that only wait."""
    frames = sys._current_frames()
    found = []
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        is_idle = frame is None or (frame.f_code.co_name, os.path.basename(frame.f_code.co_filename)) in _WAITING
        is_ours = not thread.daemon or thread.name.startswith(THREAD_NAME)
        if is_ours and thread is not threading.main_thread() and not is_idle:
            found.append(thread)
    return found


def _join(threads: list[threading.Thread], patience: float | None) -> list[threading.Thread]:
    """Wait for them, `patience` seconds in all (None: for ever); those that still run."""
    end = math.inf if patience is None else time.monotonic() + patience
    for thread in threads:
        # In slices: a signal that comes at the moment when a wait begins does not end it, and on Windows none does.
        while thread.is_alive() and (left := end - time.monotonic()) > 0:
            thread.join(min(left, _SLICE))
    return [thread for thread in threads if thread.is_alive()]


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()


def _describe(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)
    return f"{thread.name}, in {frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else thread.name
