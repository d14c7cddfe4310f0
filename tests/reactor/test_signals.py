"""Signals as callbacks: real signals, sent to this very process."""

import asyncio
import contextvars
import itertools
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from typing import Any

import penstock_reactor
import pytest
from penstock_reactor import EventLoop
from penstock_reactor.signals import Signals
from support.forks import forked

# Two signals to play with, on each platform.
FIRST: int = getattr(signal, "SIGUSR1", signal.SIGINT)
SECOND: int = getattr(signal, "SIGUSR2", None) or getattr(signal, "SIGBREAK")
UNCATCHABLE = [number for name in ("SIGKILL", "SIGSTOP") if (number := getattr(signal, name, None))]
on_posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

Pair = tuple[socket.socket, socket.socket]
Reports = list[dict[str, Any]]


def wakeup_fd() -> int:
    fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(fd)
    return fd


def send(number: int) -> None:
    """Send this process a signal, as another process would where that is possible."""
    if sys.platform == "win32":
        signal.raise_signal(number)
    else:
        os.kill(os.getpid(), number)


def send_soon(number: int, delay: float = 0.05) -> threading.Timer:
    timer = threading.Timer(delay, send, args=(number,))
    timer.start()
    return timer


def test_a_signal_becomes_a_callback_with_its_arguments(loop: EventLoop) -> None:
    seen: list[Any] = []

    def handler(*args: Any) -> None:
        seen.append(args)
        loop.stop()

    loop.add_signal_handler(FIRST, handler, "a", 2)
    timer = send_soon(FIRST)
    loop.run_forever()
    timer.join()
    assert seen == [("a", 2)]


def test_a_signal_that_came_before_the_run_is_not_lost(loop: EventLoop) -> None:
    loop.add_signal_handler(FIRST, loop.stop)
    send(FIRST)
    loop.run_forever()


def test_a_signal_is_not_lost_when_the_bell_is_full(loop: EventLoop) -> None:
    loop.add_signal_handler(FIRST, loop.stop)
    try:
        while True:
            loop._poller._clapper.send(b"\0" * 4096)
    except BlockingIOError:
        pass
    send(FIRST)
    loop.run_forever()


def test_the_callback_runs_in_the_context_it_was_added_in(loop: EventLoop) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    seen: list[str] = []

    def look() -> None:
        seen.append(variable.get())
        loop.stop()

    def add() -> None:
        variable.set("added")
        loop.add_signal_handler(FIRST, look)

    contextvars.copy_context().run(add)
    send(FIRST)
    loop.run_forever()
    assert seen == ["added"]


def test_a_handler_that_raises_is_reported_and_stays(loop: EventLoop, reports: Reports) -> None:
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        loop.stop()
        raise ValueError

    loop.add_signal_handler(FIRST, fail)
    for _ in range(2):
        send(FIRST)
        loop.run_forever()
    assert len(calls) == 2
    assert len(reports) == 2


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_systemexit_and_keyboardinterrupt_leave_a_signal_handler(loop: EventLoop, error: type[BaseException]) -> None:
    def leave() -> None:
        raise error

    loop.add_signal_handler(FIRST, leave)
    send(FIRST)
    with pytest.raises(error):
        loop.run_forever()


def test_a_removed_handler_is_not_called_even_if_the_signal_had_come(loop: EventLoop) -> None:
    loop.add_signal_handler(FIRST, pytest.fail, "called")
    send(FIRST)
    assert loop.remove_signal_handler(FIRST) is True
    assert loop.remove_signal_handler(FIRST) is False
    loop.stop()
    loop.run_forever()


def test_a_second_handler_replaces_the_first(loop: EventLoop) -> None:
    loop.add_signal_handler(FIRST, pytest.fail, "called")
    loop.add_signal_handler(FIRST, loop.stop)
    send(FIRST)
    loop.run_forever()


def test_a_signal_that_came_before_its_handler_was_replaced_goes_to_the_new_one(loop: EventLoop) -> None:
    loop.add_signal_handler(FIRST, pytest.fail, "called")
    send(FIRST)
    loop.add_signal_handler(FIRST, loop.stop)
    loop.run_forever()


@on_posix
def test_a_signal_that_comes_while_its_handler_is_added_is_not_lost(
    loop: EventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "siginterrupt", lambda number, _: send(number))
    loop.add_signal_handler(FIRST, loop.stop)
    loop.run_forever()


def test_removal_brings_the_default_handling_back(loop: EventLoop) -> None:
    former = signal.getsignal(signal.SIGINT)
    try:
        for number in (SECOND, signal.SIGINT):
            loop.add_signal_handler(number, int)
            loop.remove_signal_handler(number)
        assert signal.getsignal(SECOND) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, former)


def test_closing_the_loop_removes_its_handlers(loop: EventLoop) -> None:
    loop.add_signal_handler(SECOND, int)
    loop.close()
    assert signal.getsignal(SECOND) is signal.SIG_DFL
    assert wakeup_fd() == -1


@on_posix
def test_the_wakeup_descriptor_is_taken_with_the_first_handler_and_given_back_with_the_last(loop: EventLoop) -> None:
    assert wakeup_fd() == -1
    loop.add_signal_handler(FIRST, int)
    loop.add_signal_handler(SECOND, int)
    assert wakeup_fd() == loop._poller.bell_fd
    loop.remove_signal_handler(FIRST)
    assert wakeup_fd() == loop._poller.bell_fd
    loop.remove_signal_handler(SECOND)
    assert wakeup_fd() == -1


@on_posix
def test_a_loop_without_handlers_leaves_the_wakeup_descriptor_alone(loop: EventLoop) -> None:
    other = EventLoop()
    other.add_signal_handler(FIRST, int)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert wakeup_fd() == other._poller.bell_fd
    other.close()


@on_posix
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_loops_give_the_wakeup_descriptor_back_in_any_order(loop: EventLoop, order: tuple[int, ...]) -> None:
    loops = [loop, EventLoop(), EventLoop()]
    open_fds = [each._poller.bell_fd for each in loops]
    for number, each in zip((FIRST, SECOND, signal.SIGTERM), loops):
        each.add_signal_handler(number, int)
    for index in order:
        open_fds.remove(loops[index]._poller.bell_fd)
        loops[index].close()
        # It is that of the last one who came and is still there.
        assert wakeup_fd() == (open_fds[-1] if open_fds else -1)


@on_posix
def test_who_has_taken_the_wakeup_descriptor_since_keeps_it(loop: EventLoop, pair: Pair) -> None:
    loop.add_signal_handler(FIRST, int)
    signal.set_wakeup_fd(pair[0].fileno())
    loop.remove_signal_handler(FIRST)
    assert wakeup_fd() == pair[0].fileno()
    signal.set_wakeup_fd(-1)


@on_posix
@pytest.mark.parametrize("needs_bell", [False, True])
def test_a_displaced_wakeup_descriptor_that_was_closed_since_is_not_set_again(
    loop: EventLoop, pair: Pair, needs_bell: bool
) -> None:
    loop._signals = Signals(loop, loop._poller, needs_bell)
    signal.set_wakeup_fd(pair[0].fileno())

    async def main() -> str:
        loop.add_signal_handler(FIRST, int)
        pair[0].close()
        if needs_bell:
            # Then it is given back when the run ends.
            loop.remove_signal_handler(FIRST)
        return "result"

    assert loop.run_until_complete(main()) == "result"
    loop.remove_signal_handler(FIRST)
    assert wakeup_fd() == -1


@pytest.mark.parametrize("number, error", [
    ("SIGINT", TypeError), (1.5, TypeError), (0, ValueError), (-1, ValueError), (signal.NSIG, ValueError),
    (10**6, ValueError), *[(number, RuntimeError) for number in UNCATCHABLE],
])
def test_what_is_no_catchable_signal_is_refused(loop: EventLoop, number: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        loop.add_signal_handler(number, int)
    assert wakeup_fd() == -1
    if error is not RuntimeError:
        with pytest.raises(error):
            loop.remove_signal_handler(number)


def test_coroutines_are_refused_as_handlers(loop: EventLoop) -> None:
    async def handler() -> None:
        pass

    coro = handler()
    for wrong in (handler, coro, "text"):
        with pytest.raises(TypeError):
            loop.add_signal_handler(FIRST, wrong)  # type: ignore[arg-type]
    coro.close()


def test_outside_the_main_thread_handlers_are_refused(loop: EventLoop) -> None:
    errors: list[BaseException] = []

    def add() -> None:
        try:
            loop.add_signal_handler(FIRST, int)
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=add)
    thread.start()
    thread.join()
    assert len(errors) == 1


def test_a_loop_with_handlers_is_not_closed_outside_the_main_thread(loop: EventLoop) -> None:
    loop.add_signal_handler(FIRST, loop.stop)
    errors: list[BaseException] = []

    def close() -> None:
        try:
            loop.close()
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=close)
    thread.start()
    thread.join()
    assert "main thread" in str(errors[0])
    assert not loop.is_closed()
    send(FIRST)
    loop.run_forever()


def not_yet(came: "queue.SimpleQueue[int]") -> bool:
    try:
        came.get(timeout=0.1)
    except queue.Empty:
        return True
    return False


def test_an_interrupted_wait_goes_on(loop: EventLoop) -> None:
    # A plain handler of somebody else: its signal interrupts the wait (EINTR) and must not end the run.
    came: queue.SimpleQueue[int] = queue.SimpleQueue()

    def interrupt_thrice() -> None:
        # One by one: for several that come together the handler is called once. And again, if it came just before the wait.
        for _ in range(3):
            send(FIRST)
            while not_yet(came):
                send(FIRST)

    former = signal.signal(FIRST, lambda number, frame: came.put(number))
    try:
        loop.run_until_complete(loop.run_in_executor(None, interrupt_thrice))
    finally:
        signal.signal(FIRST, former)


def test_a_plain_handler_may_call_the_loop(loop: EventLoop) -> None:
    # As asyncio.Runner does it: no add_signal_handler, a handler that calls call_soon_threadsafe in the loop's thread.
    former = signal.signal(FIRST, lambda number, frame: loop.call_soon_threadsafe(loop.stop))
    try:
        timer = send_soon(FIRST)
        loop.run_forever()
        timer.join()
    finally:
        signal.signal(FIRST, former)


@pytest.mark.parametrize("program", ["p.run(main())", "p.new_event_loop().run_until_complete(main())"])
def test_ctrl_c_ends_a_waiting_loop_at_once(program: str) -> None:
    # The child sends itself the signal from a thread, while the loop sleeps for a minute.
    code = "import asyncio, os, signal, sys, threading, penstock_reactor as p\n" \
           "send = signal.raise_signal if sys.platform == 'win32' else lambda n: os.kill(os.getpid(), n)\n" \
           "async def main():\n" \
           "    threading.Timer(0.1, send, args=(signal.SIGINT,)).start()\n" \
           "    await asyncio.sleep(60)\n" \
           f"try:\n    {program}\nexcept KeyboardInterrupt:\n    print('interrupted')\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.stdout == "interrupted\n"
    assert done.returncode == 0


@on_posix
def test_where_only_the_bell_ends_a_wait_it_is_set_while_the_loop_runs(loop: EventLoop) -> None:
    # As on Windows: no handler was added, and still Ctrl+C must end the wait.
    loop._signals = Signals(loop, loop._poller, needs_bell=True)
    seen: list[int] = []
    loop.call_soon(lambda: seen.append(wakeup_fd()))
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == [loop._poller.bell_fd]
    assert wakeup_fd() == -1


@on_posix
def test_where_the_bell_is_set_while_running_a_handler_keeps_it_set_afterwards(loop: EventLoop) -> None:
    loop._signals = Signals(loop, loop._poller, needs_bell=True)

    async def add_and_remove(number: int) -> None:
        loop.add_signal_handler(number, int)
        loop.add_signal_handler(SECOND, int)
        loop.remove_signal_handler(number)

    loop.run_until_complete(add_and_remove(FIRST))
    assert wakeup_fd() == loop._poller.bell_fd
    loop.remove_signal_handler(SECOND)
    assert wakeup_fd() == -1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_can_handle_signals_and_its_parent_hears_none_of_it(loop: EventLoop) -> None:
    loop.add_signal_handler(FIRST, pytest.fail, "called in the parent")

    async def child() -> int:
        own = asyncio.get_running_loop()
        came = own.create_future()
        own.add_signal_handler(FIRST, came.set_result, 7)
        send(FIRST)
        return int(await asyncio.wait_for(came, 10))

    assert forked(lambda: penstock_reactor.run(child())) == 7
    loop.run_until_complete(asyncio.sleep(0.01))
