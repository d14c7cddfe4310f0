"""A child's end: noticed by a pidfd or by a thread, reaped once, and told to the loop."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from penstock_reactor import EventLoop, child
from penstock_reactor.child import PidfdWatch, ThreadWatch, reap, wait_for_end, watch_exit

PATIENCE = 20
Kind = Callable[..., child.Watch]


def can_pidfd() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


needs_pidfd = pytest.mark.skipif(not can_pidfd(), reason="no pidfds here")
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows reaps by handle")
each_kind = pytest.mark.parametrize("kind", [pytest.param(PidfdWatch, marks=needs_pidfd), ThreadWatch])


def run(loop: EventLoop, coro: Coroutine[Any, Any, Any]) -> Any:
    return loop.run_until_complete(asyncio.wait_for(coro, PATIENCE))


@pytest.fixture
def blocked() -> Iterator["subprocess.Popen[bytes]"]:
    """A child that waits for its standard input to end, and then exits with 7."""
    code = "import sys; sys.stdin.read(); sys.exit(7)"
    popen = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, bufsize=0)
    yield popen
    if popen.poll() is None:
        popen.kill()
    popen.wait(PATIENCE)
    if popen.stdin is not None:
        popen.stdin.close()


def release(popen: "subprocess.Popen[bytes]") -> None:
    assert popen.stdin is not None
    popen.stdin.close()


@each_kind
def test_the_end_is_told_once_on_the_loops_thread(
    loop: EventLoop, blocked: "subprocess.Popen[bytes]", kind: Kind
) -> None:
    ends: list[tuple[int, threading.Thread]] = []

    async def main() -> None:
        ended = loop.create_future()

        def on_exit(returncode: int) -> None:
            ends.append((returncode, threading.current_thread()))
            ended.set_result(None)

        kind(loop, blocked, on_exit)
        await asyncio.sleep(0)
        assert not ends
        release(blocked)
        await ended

    run(loop, main())
    run(loop, asyncio.sleep(0))
    assert ends == [(7, threading.current_thread())]
    assert blocked.returncode == 7


@posix
@each_kind
def test_a_signal_is_a_negative_return_code(loop: EventLoop, blocked: "subprocess.Popen[bytes]", kind: Kind) -> None:
    async def main() -> int:
        ended = loop.create_future()
        kind(loop, blocked, ended.set_result)
        blocked.kill()
        return int(await ended)

    assert run(loop, main()) == -signal.SIGKILL


@each_kind
def test_a_child_that_ended_before_is_noticed(loop: EventLoop, blocked: "subprocess.Popen[bytes]", kind: Kind) -> None:
    async def main() -> int:
        ended = loop.create_future()
        release(blocked)
        wait_for_end(blocked)
        kind(loop, blocked, ended.set_result)
        return int(await ended)

    assert run(loop, main()) == 7


@each_kind
def test_a_child_that_the_program_waited_for_itself_keeps_its_code(
    loop: EventLoop, blocked: "subprocess.Popen[bytes]", kind: Kind
) -> None:
    async def main() -> int:
        ended = loop.create_future()
        kind(loop, blocked, ended.set_result)
        release(blocked)
        blocked.wait(PATIENCE)
        return int(await ended)

    assert run(loop, main()) == 7


@posix
def test_a_child_that_somebody_else_reaped_is_255_with_a_warning(
    loop: EventLoop, blocked: "subprocess.Popen[bytes]", caplog: pytest.LogCaptureFixture
) -> None:
    release(blocked)
    os.waitpid(blocked.pid, 0)
    wait_for_end(blocked)
    assert reap(blocked) == 255
    assert f"Unknown child process pid {blocked.pid}" in caplog.text
    assert reap(blocked) == 255


@posix
@pytest.mark.skipif(not hasattr(os, "waitid"), reason="no waitid here")
def test_waiting_does_not_reap(blocked: "subprocess.Popen[bytes]") -> None:
    release(blocked)
    wait_for_end(blocked)
    assert os.waitpid(blocked.pid, os.WNOHANG)[0] == blocked.pid
    blocked.returncode = 7


@posix
def test_without_waitid_the_wait_reaps_and_the_code_is_kept(
    loop: EventLoop, blocked: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "waitid", raising=False)

    async def main() -> int:
        ended = loop.create_future()
        ThreadWatch(loop, blocked, ended.set_result)
        release(blocked)
        return int(await ended)

    assert run(loop, main()) == 7


@needs_pidfd
def test_a_closed_watch_tells_nothing_and_keeps_no_descriptor(
    loop: EventLoop, blocked: "subprocess.Popen[bytes]"
) -> None:
    ends: list[int] = []
    watch = PidfdWatch(loop, blocked, ends.append)
    fd = watch._pidfd
    watch.close()
    watch.close()
    with pytest.raises(OSError):
        os.fstat(fd)
    release(blocked)
    wait_for_end(blocked)
    run(loop, asyncio.sleep(0))
    assert ends == []
    assert blocked.poll() == 7


@needs_pidfd
def test_the_pidfd_is_closed_when_the_poller_has_no_room(
    loop: EventLoop, blocked: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    open_it = os.pidfd_open

    def noting(pid: int, flags: int = 0) -> int:
        opened.append(open_it(pid, flags))
        return opened[-1]

    def full(fd: int, callback: object) -> None:
        raise OSError("all are in use")

    monkeypatch.setattr(os, "pidfd_open", noting)
    monkeypatch.setattr(loop._poller, "watch_reader", full)
    watch = watch_exit(loop, blocked, print)
    assert isinstance(watch, ThreadWatch)
    with pytest.raises(OSError):
        os.fstat(opened[0])
    monkeypatch.undo()
    release(blocked)
    loop.run_until_complete(asyncio.sleep(0))


@needs_pidfd
def test_a_pidfd_is_used_where_there_is_one(loop: EventLoop, blocked: "subprocess.Popen[bytes]") -> None:
    watch = watch_exit(loop, blocked, print)
    assert isinstance(watch, PidfdWatch)
    watch.close()


def test_a_system_without_pidfds_or_that_forbids_them_gets_a_thread(
    loop: EventLoop, blocked: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(pid: int, flags: int = 0) -> int:
        raise PermissionError("seccomp")

    async def main(remove: bool) -> int:
        ended = loop.create_future()
        if remove:
            monkeypatch.delattr(os, "pidfd_open", raising=False)
        else:
            monkeypatch.setattr(os, "pidfd_open", forbidden, raising=False)
        assert isinstance(watch_exit(loop, blocked, ended.set_result), ThreadWatch)
        if not remove:
            release(blocked)
        return int(await ended)

    assert run(loop, main(remove=False)) == 7
    assert run(loop, main(remove=True)) == 7


def test_a_thread_reaps_the_child_of_a_closed_loop(blocked: "subprocess.Popen[bytes]") -> None:
    loop = EventLoop()
    ThreadWatch(loop, blocked, print)
    loop.close()
    release(blocked)
    for thread in threading.enumerate():
        if thread.name == f"penstock-child-{blocked.pid}":
            thread.join(PATIENCE)
    assert blocked.returncode == 7
