"""Child processes: `subprocess.Popen` as an asyncio transport.

The standard library starts the child; this file joins its pipes (`pipe_ends.py`) and its end (`child.py`) to one
protocol. The protocol hears in this order: connection_made; then pipe data, lost pipes and process_exited as they
happen; connection_lost when the child has ended and every pipe is closed. `Process.wait()` ends with the child alone,
because a grandchild may hold the pipes open for ever.

Closing the transport kills a child that still runs; so does cancelling the call that starts it. Every child is
reaped.
"""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import warnings
from asyncio.log import logger
from collections.abc import Callable
from typing import Any, NamedTuple

from . import child, pipe_ends
from .contract import ReactorLoop
from .starting import start

PIPE = subprocess.PIPE
# A killed child is gone in a moment, unless the system will not let it go.
REAP_TIMEOUT = 1.0
# Transports carry bytes, unbuffered: what would make Popen's files anything else is refused.
BYTES_ONLY = {"universal_newlines": False, "text": False, "encoding": None, "errors": None, "bufsize": 0}
ProtocolFactory = Callable[[], asyncio.SubprocessProtocol]


class Ways(NamedTuple):
    """How pipes are driven and how a child's end is noticed."""

    ends: pipe_ends.PipeEnds
    watch_exit: Callable[[ReactorLoop, "subprocess.Popen[bytes]", child.OnExit], child.Watch]


def native_ways() -> Ways:
    """What works on this system."""
    return Ways(pipe_ends.NATIVE, child.watch_exit)


async def subprocess_exec(
    loop: ReactorLoop, protocol_factory: ProtocolFactory, program: Any, *args: Any, shell: bool = False, **options: Any
) -> tuple[ChildTransport, asyncio.SubprocessProtocol]:
    """loop.subprocess_exec: start `program` with `args`; further options are Popen's."""
    if shell:
        raise ValueError("shell must be False")
    return await start_child(loop, native_ways(), protocol_factory, (program, *args), shell=False, **options)


async def subprocess_shell(
    loop: ReactorLoop, protocol_factory: ProtocolFactory, cmd: bytes | str, *, shell: bool = True, **options: Any
) -> tuple[ChildTransport, asyncio.SubprocessProtocol]:
    """loop.subprocess_shell: start the shell with the command line `cmd`; further options are Popen's."""
    if not isinstance(cmd, (bytes, str)):
        raise ValueError("cmd must be a string")
    if not shell:
        raise ValueError("shell must be True")
    return await start_child(loop, native_ways(), protocol_factory, cmd, shell=True, **options)


async def start_child(
    loop: ReactorLoop,
    ways: Ways,
    protocol_factory: ProtocolFactory,
    command: Any,
    *,
    stdin: Any = PIPE,
    stdout: Any = PIPE,
    stderr: Any = PIPE,
    **options: Any,
) -> tuple[ChildTransport, asyncio.SubprocessProtocol]:
    """Start a child in the given ways; returns when its protocol was told."""
    for name, only in BYTES_ONLY.items():
        if options.pop(name, only) not in (only, None):
            raise ValueError(f"{name} must be {only}")
    protocol = protocol_factory()
    popen = subprocess.Popen(
        command, stdin=stdin, stdout=stdout, stderr=stderr, universal_newlines=False, bufsize=0, **options
    )
    transport = ChildTransport(loop, protocol, popen, ways)
    try:
        await start(loop, transport, protocol, transport.begin, transport._context)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException:
        await transport._wait()
        raise
    return transport, protocol


class ChildTransport(asyncio.SubprocessTransport):
    """A running child with its pipes."""

    # What a half-made transport shows to __del__.
    _is_closed = True
    _returncode: int | None = 0
    _watch: child.Watch | None = None

    def __init__(
        self, loop: ReactorLoop, protocol: asyncio.SubprocessProtocol, popen: subprocess.Popen[bytes], ways: Ways
    ) -> None:
        super().__init__({"subprocess": popen})
        self._loop = loop
        self._context = contextvars.copy_context()
        self._protocol: Any = protocol
        self._popen = popen
        self._watch_exit = ways.watch_exit
        self._sees_hangup = ways.ends.sees_hangup
        self._returncode = None
        self._is_closed = False
        self._exit_waiters: list[asyncio.Future[int]] = []
        self._pipes: dict[int, Any] = {}
        self._lost_pipes: set[int] = set()
        try:
            self._join_pipes(ways.ends)
        except BaseException:
            self.close()
            child.reap(popen)
            raise

    def __repr__(self) -> str:
        state = "running" if self._returncode is None else f"returncode={self._returncode}"
        return f"<{type(self).__name__} pid={self._popen.pid} {state}>"

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        if not self._is_closed:
            _warn(f"unclosed transport {self!r}", ResourceWarning, source=self)
            self._kill_if_running()
        if self._watch is not None:
            self._watch.close()
        if self._returncode is None:
            # The loop was closed before it could see the end.
            try:
                self._popen.wait(REAP_TIMEOUT)
            except subprocess.TimeoutExpired:
                pass

    def begin(self) -> None:
        """Watch the child and let the pipes run. Called once, when the protocol knows that it is connected."""
        try:
            self._watch = self._watch_exit(self._loop, self._popen, self._note_exit)
        except BaseException:
            self._kill_if_running()
            self._on_exit(child.reap(self._popen))
            raise
        for pipe in self._pipes.values():
            pipe.begin()

    # The documented methods.

    def get_pid(self) -> int:
        return self._popen.pid

    def get_returncode(self) -> int | None:
        return self._returncode

    def get_pipe_transport(self, fd: int) -> Any:
        return self._pipes.get(fd)

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_protocol(self) -> Any:
        return self._protocol

    def is_closing(self) -> bool:
        return self._is_closed

    def send_signal(self, signal: int) -> None:
        """ProcessLookupError when the child has ended; so with the next two."""
        self._check_running()
        self._popen.send_signal(signal)

    def terminate(self) -> None:
        self._check_running()
        self._popen.terminate()

    def kill(self) -> None:
        self._check_running()
        self._popen.kill()

    def _check_running(self) -> None:
        if self._returncode is not None or self._popen.returncode is not None:
            raise ProcessLookupError()

    def close(self) -> None:
        """Kill the child if it still runs, and close the pipes."""
        if self._is_closed:
            return
        self._is_closed = True
        # In this order: a child whose input ends might end well before it is killed, or might not.
        self._kill_if_running()
        for pipe in self._pipes.values():
            pipe.close()

    async def _wait(self) -> int:
        """The return code, once the child has ended. asyncio.subprocess.Process.wait() calls this very name."""
        if self._returncode is not None:
            return self._returncode
        waiter = self._loop.create_future()
        self._exit_waiters.append(waiter)
        return await waiter  # type: ignore[no-any-return]

    def _kill_if_running(self) -> None:
        if self._returncode is None and self._popen.poll() is None:
            if self._loop.get_debug():
                logger.warning("Close running child process: kill %r", self)
            try:
                self._popen.kill()
            except (ProcessLookupError, PermissionError):
                pass  # it ended just now, or became another user's

    # What happens to the child.

    def _join_pipes(self, ends: pipe_ends.PipeEnds) -> None:
        files = (self._popen.stdin, self._popen.stdout, self._popen.stderr)
        for fd, file in enumerate(files):
            if file is not None:
                kind = ends.write if fd == 0 else ends.read
                self._pipes[fd] = kind(self._loop, file, _ChildPipe(self, fd), self._context)

    def _on_pipe_data(self, fd: int, data: bytes) -> None:
        self._protocol.pipe_data_received(fd, data)

    def _on_pipe_lost(self, fd: int, exc: Exception | None) -> None:
        self._lost_pipes.add(fd)
        try:
            self._protocol.pipe_connection_lost(fd, exc)
        finally:
            self._finish_if_done()

    def _note_exit(self, returncode: int) -> None:
        self._context.run(self._on_exit, returncode)

    def _on_exit(self, returncode: int) -> None:
        self._returncode = returncode
        self._watch = None
        if self._loop.get_debug():
            logger.info("%r exited with return code %r", self, returncode)
        for waiter in self._exit_waiters:
            if not waiter.done():
                waiter.set_result(returncode)
        self._exit_waiters.clear()
        if not self._sees_hangup and 0 in self._pipes:
            self._pipes[0].close()
        try:
            self._protocol.process_exited()
        finally:
            self._finish_if_done()

    def _finish_if_done(self) -> None:
        if self._returncode is not None and len(self._lost_pipes) == len(self._pipes):
            self._loop.call_soon(self._tell_lost, context=self._context)

    def _tell_lost(self) -> None:
        protocol = self._protocol
        try:
            protocol.connection_lost(None)
        finally:
            # Break the cycle transport <-> protocol.
            self._protocol = None
            self._is_closed = True


class _ChildPipe(asyncio.Protocol):
    """The protocol of one of the child's pipes: passes everything on, with the descriptor's number."""

    def __init__(self, child: ChildTransport, fd: int) -> None:
        self._child = child
        self._fd = fd

    def data_received(self, data: bytes) -> None:
        self._child._on_pipe_data(self._fd, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._child._on_pipe_lost(self._fd, exc)

    def pause_writing(self) -> None:
        self._child._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._child._protocol.resume_writing()
