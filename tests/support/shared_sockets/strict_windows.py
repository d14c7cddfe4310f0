"""A Linux process that lacks what Windows lacks: who leans on it fails here, on every push.

Taken away: fork and its kin, Unix sockets, signals that Windows has no name for, POSIX's modules. Changed: a signal to
another process ends it, whatever it is; `select()` takes 512 sockets and nothing else; the clock ticks in 15.6 ms; a
child inherits the two pipes of its handover and no more. What this cannot show is told by `make test-windows`.
"""

import asyncio  # first, because it imports some of what is taken away
import os
import select
import selectors
import signal
import socket
import stat
import subprocess
import sys
import time
from typing import Any

from penstock_reactor import poller, signals

MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog")
OS_NAMES = (
    "fork", "forkpty", "setsid", "setpgid", "killpg", "getuid", "geteuid", "getgid", "getegid", "setuid", "setgid", "chown", "fchown",
    "waitid", "pidfd_open", "mkfifo", "sendfile", "uname", "getpgid", "posix_spawn",
)  # fmt: skip
SOCKET_NAMES = ("AF_UNIX", "SO_REUSEPORT", "send_fds", "recv_fds", "SCM_RIGHTS")
SIGNALS = ("SIGINT", "SIGTERM", "SIGABRT", "SIGFPE", "SIGILL", "SIGSEGV")
MOST = 512
TICK = 1 / 64


class WindowsSelector(selectors.SelectSelector):
    """Sockets only, so many of them, and never none."""

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        number = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        if not stat.S_ISSOCK(os.fstat(number).st_mode):
            raise OSError(10038, "not a socket")
        return super().register(fileobj, events, data)

    def select(self, timeout: float | None = None) -> Any:
        if not self.get_map():
            raise OSError(10022, "nothing to wait for")
        if len(self.get_map()) > MOST:
            raise ValueError("too many file descriptors in select()")
        return super().select(timeout)


class WindowsPopen(subprocess.Popen[Any]):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        wrong = {"preexec_fn", "start_new_session", "process_group", "user", "group", "umask"} & options.keys()
        if wrong or len(options.get("pass_fds", ())) > 2:
            raise ValueError(f"Windows does not know {wrong or 'inherited sockets'}")
        super().__init__(*arguments, **options)

    def send_signal(self, number: int) -> None:
        self.kill()

    def terminate(self) -> None:
        self.kill()

    def kill(self) -> None:
        super().send_signal(9)


def take_away() -> None:
    """From now on this process is as one on Windows."""
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]  # as the import system has it for what is not to be found
    for module, names in ((os, OS_NAMES), (socket, SOCKET_NAMES), (select, ("epoll", "poll"))):
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    for name in [name for name in dir(signal) if name.startswith("SIG") and name.isupper() and "_" not in name]:
        if name not in SIGNALS:
            delattr(signal, name)
    changed: Any = (os, time, socket, signal, selectors, subprocess, poller.Poller, signals.Signals)
    changed[0].kill, changed[1].monotonic, changed[2].socketpair, changed[3].signal = _kill, _monotonic, _socketpair, _signal
    changed[4].DefaultSelector, changed[5].Popen = WindowsSelector, WindowsPopen
    changed[6].__init__.__defaults__, changed[7].__init__.__defaults__ = (None, MOST), (True,)
    asyncio.BaseEventLoop.time = staticmethod(_monotonic)  # type: ignore[method-assign,assignment]


_real_kill, _real_monotonic, _real_signal = os.kill, time.monotonic, signal.signal


def _kill(pid: int, number: int) -> None:
    if number == 0:
        raise AssertionError("on Windows this is Ctrl+C, and no question whether the process lives")
    _real_kill(pid, 9)


def _monotonic() -> float:
    return _real_monotonic() // TICK * TICK


def _signal(number: int, handler: Any) -> Any:
    if number not in {getattr(signal, name) for name in SIGNALS}:
        raise ValueError("invalid signal value")
    return _real_signal(number, handler)


def _socketpair(*_options: int) -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    return near, far
