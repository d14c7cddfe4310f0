"""The end of a child process: noticed, reaped, told to the loop once.

Where Linux offers a pidfd, the poller watches it like any descriptor. Elsewhere a thread waits. Neither needs SIGCHLD
or the main thread, so children may be started from any loop in any thread and there is no child watcher to configure.
The waiting thread only waits and leaves the reaping to the loop where the system can do that (waitid with WNOWAIT):
until it is reaped the pid cannot be another process's, so a signal sent from the loop never hits a stranger. Windows
holds a handle, which has the same effect.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from asyncio.log import logger
from collections.abc import Callable

from .contract import ReactorLoop

OnExit = Callable[[int], None]
# What asyncio reports for a child that somebody else has reaped.
UNKNOWN_RETURNCODE = 255


class PidfdWatch:
    """Waits through the poller; OSError or AttributeError when there are no pidfds here."""

    def __init__(self, loop: ReactorLoop, popen: subprocess.Popen[bytes], on_exit: OnExit) -> None:
        self._loop = loop
        self._popen = popen
        self._on_exit = on_exit
        self._pidfd = os.pidfd_open(popen.pid)
        try:
            loop._poller.watch_reader(self._pidfd, self._on_readable)
        except BaseException:
            os.close(self._pidfd)
            raise

    def close(self) -> None:
        """Stop watching."""
        if self._pidfd >= 0:
            self._loop._poller.unwatch_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def _on_readable(self) -> None:
        self.close()
        self._on_exit(reap(self._popen))


class ThreadWatch:
    """Waits in a thread of its own."""

    def __init__(self, loop: ReactorLoop, popen: subprocess.Popen[bytes], on_exit: OnExit) -> None:
        self._loop = loop
        self._popen = popen
        self._on_exit = on_exit
        threading.Thread(target=self._wait, name=f"penstock-child-{popen.pid}", daemon=True).start()

    def close(self) -> None:
        """Nothing to stop: the thread ends with the child."""

    def _wait(self) -> None:
        wait_for_end(self._popen)
        try:
            self._loop.call_soon_threadsafe(self._on_ended)
        except RuntimeError:  # the loop is closed
            reap(self._popen)

    def _on_ended(self) -> None:
        self._on_exit(reap(self._popen))


Watch = PidfdWatch | ThreadWatch


def watch_exit(loop: ReactorLoop, popen: subprocess.Popen[bytes], on_exit: OnExit) -> Watch:
    """Have `on_exit(returncode)` called on the loop, once, when the child has ended."""
    if hasattr(os, "pidfd_open"):
        try:
            return PidfdWatch(loop, popen, on_exit)
        except OSError:
            # An old kernel, a sandbox that forbids the call, or no descriptors left.
            pass
    return ThreadWatch(loop, popen, on_exit)


def wait_for_end(popen: subprocess.Popen[bytes]) -> None:
    """Block until the child has ended, without reaping it where the system can do that."""
    if sys.platform != "win32" and hasattr(os, "waitid"):
        try:
            os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            pass  # reaped by somebody else: it has ended
    else:
        popen.wait()


def reap(popen: subprocess.Popen[bytes]) -> int:
    """The return code of a child that has ended; negative is the signal that ended it."""
    if popen.returncode is None:
        if sys.platform == "win32":
            return popen.wait()
        # Not Popen.wait(): it reports 0 for a child that somebody else has reaped.
        try:
            _, status = os.waitpid(popen.pid, 0)
        except ChildProcessError:
            if popen.returncode is None:
                popen.returncode = UNKNOWN_RETURNCODE
                logger.warning("Unknown child process pid %d, will report returncode 255", popen.pid)
        else:
            popen.returncode = os.waitstatus_to_exitcode(status)
    return popen.returncode
