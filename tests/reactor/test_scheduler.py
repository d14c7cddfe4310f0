"""The turn of the loop: what runs when, what stops it, and what is left for the next turn."""

import asyncio
import gc
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from penstock_reactor import EventLoop

Pair = tuple[socket.socket, socket.socket]
Reports = list[dict[str, Any]]


def turn(loop: EventLoop) -> None:
    """One turn that does not wait."""
    loop.stop()
    loop.run_forever()


def test_callbacks_run_in_the_order_they_were_asked_for(loop: EventLoop) -> None:
    seen: list[int] = []
    for number in range(10):
        loop.call_soon(seen.append, number)
    turn(loop)
    assert seen == list(range(10))


def test_a_callback_scheduled_by_a_callback_runs_in_the_next_turn(loop: EventLoop) -> None:
    seen: list[str] = []
    loop.call_soon(lambda: loop.call_soon(seen.append, "second"))
    turn(loop)
    assert seen == []
    turn(loop)
    assert seen == ["second"]


def test_what_a_reader_schedules_runs_in_the_same_turn(loop: EventLoop, pair: Pair) -> None:
    seen: list[str] = []
    first, second = pair

    def on_readable() -> None:
        seen.append("read")
        first.recv(1)
        loop.call_soon(seen.append, "scheduled")

    loop.add_reader(first, on_readable)
    second.send(b"x")
    turn(loop)
    assert seen == ["read", "scheduled"]


def test_who_asked_before_the_wait_comes_before_what_the_wait_found(loop: EventLoop, pair: Pair) -> None:
    seen: list[str] = []
    first, second = pair
    loop.add_reader(first, seen.append, "reader")
    second.send(b"x")
    loop.call_soon(seen.append, "callback")
    turn(loop)
    assert seen == ["callback", "reader"]


def test_descriptors_come_before_timers(loop: EventLoop, pair: Pair) -> None:
    seen: list[str] = []
    first, second = pair
    loop.call_at(loop.time() - 1, seen.append, "timer")
    loop.add_reader(first, seen.append, "reader")
    second.send(b"x")
    turn(loop)
    assert seen == ["reader", "timer"]


def test_busy_callbacks_do_not_starve_descriptors(loop: EventLoop, pair: Pair) -> None:
    first, second = pair

    def again() -> None:
        loop.call_soon(again)

    loop.call_soon(again)
    loop.add_reader(first, loop.stop)
    second.send(b"x")
    loop.run_forever()


def test_a_cancelled_callback_does_not_run(loop: EventLoop) -> None:
    handle = loop.call_soon(pytest.fail, "ran")
    timer = loop.call_later(0, pytest.fail, "ran")
    loop.call_soon(timer.cancel)
    handle.cancel()
    turn(loop)
    turn(loop)


def test_a_callback_can_cancel_one_that_is_due_in_the_same_turn(loop: EventLoop) -> None:
    later: list[Any] = []
    loop.call_soon(lambda: later[0].cancel())
    later.append(loop.call_soon(pytest.fail, "ran"))
    turn(loop)


def test_a_reader_can_remove_another_ready_reader(loop: EventLoop) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    seen: list[int] = []

    def on_readable(own: int) -> None:
        seen.append(own)
        loop.remove_reader(pairs[1 - own][0])

    for number, (first, second) in enumerate(pairs):
        loop.add_reader(first, on_readable, number)
        second.send(b"x")
    turn(loop)
    assert len(seen) == 1
    loop.remove_reader(pairs[seen[0]][0])
    for first, second in pairs:
        first.close()
        second.close()


def test_a_reader_can_remove_the_writer_of_its_own_descriptor(loop: EventLoop, pair: Pair) -> None:
    first, second = pair
    loop.add_writer(first, pytest.fail, "written")
    loop.add_reader(first, lambda: loop.remove_writer(first))
    second.send(b"x")
    turn(loop)
    loop.remove_reader(first)


@pytest.mark.skipif(sys.platform == "win32", reason="there a number cannot be chosen")
def test_a_number_closed_and_used_again_in_one_turn_calls_nothing_stale(loop: EventLoop) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    fresh: list[socket.socket] = []
    seen: list[str] = []

    def on_readable(own: int) -> None:
        if fresh:
            return
        seen.append("old")
        other = pairs[1 - own][0]
        number = other.fileno()
        loop.remove_reader(other)
        other.close()
        reused, peer = socket.socketpair()
        fresh.extend((reused, peer))
        if reused.fileno() != number:
            os.dup2(reused.fileno(), number)
            fresh.append(socket.socket(fileno=number))
        # The selector reported this number in this turn, but for the socket that is gone.
        loop.add_reader(number, seen.append, "new")

    for number, (first, second) in enumerate(pairs):
        loop.add_reader(first, on_readable, number)
        second.send(b"x")
    turn(loop)
    assert seen == ["old"]
    fresh[1].send(b"x")
    turn(loop)
    assert "new" in seen
    for one in [*fresh, *pairs[0], *pairs[1]]:
        if one.fileno() >= 0:
            loop.remove_reader(one)
        one.close()


def test_a_callback_that_stops_the_loop_lets_the_turn_end(loop: EventLoop) -> None:
    seen: list[str] = []
    loop.call_soon(loop.stop)
    loop.call_soon(seen.append, "same turn")
    loop.call_soon(lambda: loop.call_soon(seen.append, "next turn"))
    loop.run_forever()
    assert seen == ["same turn"]
    turn(loop)
    assert seen == ["same turn", "next turn"]


def by_call_soon(loop: EventLoop, pair: Pair, callback: Callable[[], object]) -> None:
    loop.call_soon(callback)


def by_timer(loop: EventLoop, pair: Pair, callback: Callable[[], object]) -> None:
    loop.call_at(loop.time() - 1, callback)


def by_reader(loop: EventLoop, pair: Pair, callback: Callable[[], object]) -> None:
    def on_readable() -> None:
        loop.remove_reader(pair[0])
        callback()

    loop.add_reader(pair[0], on_readable)
    pair[1].send(b"x")


def by_writer(loop: EventLoop, pair: Pair, callback: Callable[[], object]) -> None:
    def on_writable() -> None:
        loop.remove_writer(pair[0])
        callback()

    loop.add_writer(pair[0], on_writable)


def by_thread(loop: EventLoop, pair: Pair, callback: Callable[[], object]) -> None:
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(callback,))
    thread.start()
    thread.join()


def by_partial(loop: EventLoop, pair: Pair, callback: Callable[[], object]) -> None:
    # As a transport does it: past add_reader, straight to the poller.
    def on_writable() -> None:
        loop._poller.unwatch_writer(pair[0].fileno())
        callback()

    loop._poller.watch_writer(pair[0].fileno(), on_writable)


EVERY_KIND = [by_call_soon, by_timer, by_reader, by_writer, by_thread, by_partial]


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("schedule", EVERY_KIND)
@pytest.mark.parametrize("error", [ValueError, GeneratorExit])
def test_an_exception_from_any_kind_of_callback_is_reported_and_the_loop_goes_on(
    loop: EventLoop, reports: Reports, pair: Pair, schedule: Any, debug: bool, error: type[BaseException]
) -> None:
    loop.set_debug(debug)
    after: list[str] = []

    def callback() -> None:
        loop.call_soon(after.append, "alive")
        loop.call_soon(loop.stop)
        raise error("broken")

    schedule(loop, pair, callback)
    loop.run_forever()
    [report] = reports
    assert isinstance(report["exception"], error)
    assert report["message"].startswith("Exception in callback ")
    assert report["handle"] is not None
    assert after == ["alive"]


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("schedule", EVERY_KIND)
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_systemexit_and_keyboardinterrupt_leave_from_any_kind_of_callback(
    loop: EventLoop, reports: Reports, pair: Pair, schedule: Any, debug: bool, error: type[BaseException]
) -> None:
    loop.set_debug(debug)

    def callback() -> None:
        raise error

    schedule(loop, pair, callback)
    with pytest.raises(error):
        loop.run_forever()
    assert reports == []
    assert not loop.is_running()
    loop.call_soon(loop.stop)
    loop.run_forever()


def test_what_keyboardinterrupt_left_unrun_runs_in_the_next_run(loop: EventLoop) -> None:
    seen: list[str] = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    loop.call_soon(interrupt)
    loop.call_soon(seen.append, "kept")
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    turn(loop)
    assert seen == ["kept"]


def test_a_timer_wakes_a_loop_that_waits_and_never_too_early(loop: EventLoop) -> None:
    due = loop.time() + 0.02
    fired: list[float] = []
    loop.call_at(due, lambda: fired.append(loop.time()))
    loop.call_at(due, loop.stop)
    loop.run_forever()
    assert fired[0] >= due - time.get_clock_info("monotonic").resolution


def test_a_waiting_loop_takes_few_turns(loop: EventLoop) -> None:
    turns = 0
    poll = loop._poller.poll

    def counted(timeout: float | None) -> Any:
        nonlocal turns
        turns += 1
        return poll(timeout)

    loop._poller.poll = counted
    for delay in (0.011, 0.0205, 0.0301):
        loop.call_later(delay, int)
    loop.call_later(0.04, loop.stop)
    loop.run_forever()
    # Two for each timer where the selector's milliseconds and the clock's disagree.
    assert turns <= 9


def test_a_clock_that_jumps_forward_fires_what_is_due(loop: EventLoop) -> None:
    now = loop.time()
    seen: list[str] = []
    loop.call_later(3600, seen.append, "in an hour")
    loop.call_later(7200, seen.append, "in two hours")
    loop.time = lambda: now + 5000
    turn(loop)
    assert seen == ["in an hour"]


def test_a_clock_that_jumps_back_neither_fires_early_nor_breaks(loop: EventLoop) -> None:
    now = loop.time()
    seen: list[str] = []
    loop.call_later(0, seen.append, "timer")
    loop.time = lambda: now - 5000
    turn(loop)
    assert seen == []
    loop.time = lambda: now + 1
    turn(loop)
    assert seen == ["timer"]


def test_a_hundred_thousand_timers_mostly_cancelled_fire_right(loop: EventLoop) -> None:
    fired: list[int] = []
    due = loop.time() - 1
    handles = [loop.call_at(due, fired.append, number) for number in range(100_000)]
    for number, handle in enumerate(handles):
        if number % 10:
            handle.cancel()
    assert len(loop._timers) < 25_000
    turn(loop)
    assert fired == list(range(0, 100_000, 10))
    assert len(loop._timers) == 0


@pytest.mark.parametrize("debug", [False, True])
def test_a_failed_task_is_gone_at_once_and_not_when_the_collector_comes(
    loop: EventLoop, reports: Reports, debug: bool
) -> None:
    loop.set_debug(debug)

    async def fail() -> None:
        raise ValueError("nobody asks")

    async def main() -> int:
        loop.create_task(fail())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return len(reports)

    gc.disable()
    try:
        assert loop.run_until_complete(main()) == 1
    finally:
        gc.enable()
