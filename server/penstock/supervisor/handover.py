"""How a new worker process comes into its sockets, and how the two processes stay tied to each other.

    supervisor                                         child
    two pipes, a socket pair; start   ──────────────▶
                                      ◀──────────────  its real process id
    the post: which sockets, which application  ─────▶
                                      ◀──────────────  a line: it has them
    holds its pipe open               ──────────────▶  whose end therefore means: the supervisor is gone

The child speaks first, because on Windows a socket is given to a process id (`socket.share`), and with a virtual
environment's launcher between them the id that `Popen` knows is not the interpreter's. Elsewhere the descriptors are
inherited and only their numbers are told. Either way the child's standard input stays the application's.
"""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

_MODULE = "penstock.supervisor.child"
_OF_ARCHIVE = "import sys; sys.path.insert(0, {!r}); from {} import main; sys.exit(main())"

EARLY = {getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)}
"""Signals of the terminal, which the child holds back until it has handlers: they would end its start with a traceback."""

# Socket or number, as the post has it: WSADuplicateSocket's blob where there is `share`, else a descriptor.
_CAN_SHARE = hasattr(socket.socket, "share")


class Post(NamedTuple):
    """What a child is given. `rest` is JSON: the application, its settings, the import path."""

    control: socket.socket
    sockets: list[socket.socket]
    rest: dict[str, Any]
    lifeline: int
    """A descriptor whose end of file means that the supervisor is gone. An octet asks where the child stands."""


class Handover:
    """The supervisor's side, for one child. OSError from the constructor when the system refuses a process."""

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self.control, self._childs_control = socket.socketpair()
        self._given: list[Any] = [self._childs_control, *sockets]
        # Inherited now, under numbers that hold even when ours are closed meanwhile.
        self._inherited = [] if _CAN_SHARE else [each.fileno() for each in self._given]
        ends: list[int] = []
        try:
            ends += os.pipe()
            ends += os.pipe()
            # A number of its own: when a child has died early, the lifeline's may be another child's by the time of `give`.
            ends.append(os.dup(ends[3]))
            self._hears, childs_voice, childs_ear, self.lifeline, self._tells = ends
            """The lifeline is ours to hold open as long as the child is to live."""
            self.process = _start(childs_ear, childs_voice, self._inherited)
        except BaseException:
            for end in ends:
                os.close(end)
            for sock in (self.control, self._childs_control):
                sock.close()
            raise
        os.close(childs_ear)
        os.close(childs_voice)
        self.pid = self.process.pid
        """The interpreter's, once it has spoken and before it can do anything; with a launcher between, `process` has another."""

    def give(self, rest: dict[str, Any]) -> int:
        """Hear the child, answer, and wait until it has all; its process id. For a thread of its own: it blocks.

        OSError or ValueError when the child ends before; whoever waits for the process sees that, too.
        """
        try:
            with open(self._hears, "rb") as voice, open(self._tells, "wb") as ear:
                self.pid = pid = int(voice.readline())
                tokens = self._inherited or [base64.b64encode(each.share(pid)).decode() for each in self._given]
                ear.write(json.dumps({"sockets": tokens, "rest": rest}).encode() + b"\n")
                ear.flush()
                voice.readline()
            return pid
        finally:
            # Only now: a shared socket must not be closed before the other side has it.
            self._childs_control.close()


def take(ear: int, voice: int) -> Post | None:
    """The child's side; the arguments are its command line's. None when the supervisor is gone already."""
    if sys.platform == "win32":
        import msvcrt

        try:
            ear, voice = msvcrt.open_osfhandle(ear, os.O_RDONLY), msvcrt.open_osfhandle(voice, 0)
        except OSError:
            return None
    os.set_inheritable(ear, False)
    try:
        os.write(voice, b"%d\n" % os.getpid())
        with open(ear, "rb", closefd=False) as post:
            words = json.loads(post.readline())
        control, *sockets = map(_unwrap, words["sockets"])
        # A line, for an end of file a launcher that has the pipe, too, would keep from coming.
        os.write(voice, b"\n")
    except (OSError, ValueError):
        return None
    finally:
        os.close(voice)
    return Post(control, sockets, words["rest"], ear)


def _start(ear: int, voice: int, inherited: Sequence[int]) -> "subprocess.Popen[bytes]":
    # -X, -W and -O hold for the workers, too.
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing does
    # The current folder is not to shadow the standard library, unless penstock itself is found through it.
    home = os.path.abspath(os.path.join(__file__, "../../.."))
    safe = [] if os.path.samefile(os.curdir, home) else ["-P"]
    # Out of an archive (.pyz), which no child would find by itself.
    way = ["-c", _OF_ARCHIVE.format(home, _MODULE)] if os.path.isfile(home) else ["-m", _MODULE]
    command = [sys.executable, *flags, *safe, *way]
    if sys.platform == "win32":
        import msvcrt

        for end in (ear, voice):
            os.set_inheritable(end, True)
        handles = [msvcrt.get_osfhandle(end) for end in (ear, voice)]
        startup = subprocess.STARTUPINFO(lpAttributeList={"handle_list": handles})
        # Without a handle each of its own the child would have no standard streams beside our two.
        streams = [None if stream is None else end for end, stream in enumerate((sys.stdin, sys.stdout, sys.stderr))]
        # A group of its own: Ctrl+C reaches the supervisor alone, also while a worker still imports.
        return subprocess.Popen(
            [*command, *map(str, handles)], stdin=streams[0], stdout=streams[1], stderr=streams[2],
            startupinfo=startup, creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
        )  # fmt: skip
    # A new process begins with what its parent holds back.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, EARLY)
    try:
        return subprocess.Popen([*command, str(ear), str(voice)], pass_fds=(ear, voice, *inherited))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _unwrap(token: Any) -> socket.socket:
    windows: Any = socket  # type checkers know `fromshare` there only
    sock: socket.socket = windows.fromshare(base64.b64decode(token)) if _CAN_SHARE else socket.socket(fileno=token)
    # The application's own children have no business with it.
    sock.set_inheritable(False)
    sock.setblocking(False)
    return sock
