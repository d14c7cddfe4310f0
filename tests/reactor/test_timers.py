"""Timers alone: no loop, no clock; times are just numbers."""

from collections import deque
from typing import Any

import pytest
from penstock_reactor.handles import ReadyQueue, TimerHandle
from penstock_reactor.timers import LONGEST_WAIT, SWEEP_FROM, Timers


class FakeLoop:
    """Passes a cancelled handle on to the timers, as the loop does."""

    def __init__(self, timers: Timers) -> None:
        self._timer_handle_cancelled = timers.note_cancelled


def handle_for(timers: Timers, name: str = "") -> Any:
    handle = TimerHandle()
    handle._callback = name
    handle._args = ()
    handle._loop = FakeLoop(timers)
    return handle


def add(timers: Timers, when: float, name: str = "") -> Any:
    handle = handle_for(timers, name)
    timers.add(when, handle)
    return handle


def names(ready: ReadyQueue) -> list[str]:
    return [handle._callback for handle in ready]


def test_timers_become_due_in_the_order_of_their_times() -> None:
    timers, ready = Timers(), deque[Any]()
    for when, name in [(3.0, "c"), (-1.0, "a"), (2.0, "b"), (9.0, "later")]:
        add(timers, when, name)
    timers.move_due(3.0, ready)
    assert names(ready) == ["a", "b", "c"]
    assert len(timers) == 1


def test_timers_of_one_moment_keep_the_order_they_were_asked_for() -> None:
    timers, ready = Timers(), deque[Any]()
    expected = [str(number) for number in range(50)]
    for name in expected:
        add(timers, 1.0, name)
    timers.move_due(1.0, ready)
    assert names(ready) == expected


def test_a_cancelled_timer_never_becomes_due() -> None:
    timers, ready = Timers(), deque[Any]()
    add(timers, 1.0, "kept")
    add(timers, 1.0, "cancelled").cancel()
    timers.move_due(5.0, ready)
    assert names(ready) == ["kept"]
    assert len(timers) == 0


def test_the_wait_is_until_the_first_live_timer() -> None:
    timers = Timers()
    first = add(timers, 11.0)
    add(timers, 15.0)
    assert timers.wait_from(10.0) == 1.0
    first.cancel()
    assert timers.wait_from(10.0) == 5.0


def test_the_wait_is_never_negative() -> None:
    timers = Timers()
    add(timers, 1.0)
    assert timers.wait_from(10.0) == 0.0


@pytest.mark.parametrize("when", [float("inf"), 1e300])
def test_the_wait_is_capped_so_that_no_selector_overflows(when: float) -> None:
    timers = Timers()
    add(timers, when)
    assert timers.wait_from(0.0) == LONGEST_WAIT


def test_the_wait_is_capped_when_every_timer_was_cancelled() -> None:
    timers = Timers()
    add(timers, 1.0).cancel()
    assert timers.wait_from(0.0) == LONGEST_WAIT
    assert len(timers) == 0


def test_a_hundred_thousand_timers_mostly_cancelled_leave_little_behind() -> None:
    timers = Timers()
    handles = [add(timers, float(number)) for number in range(100_000)]
    for number, handle in enumerate(handles):
        if number % 10:
            handle.cancel()
    assert len(timers) <= 2 * 10_000 + SWEEP_FROM


def test_timers_that_come_and_go_do_not_pile_up() -> None:
    timers = Timers()
    most = 0
    for number in range(10_000):
        add(timers, 60.0 + number).cancel()
        most = max(most, len(timers))
    assert most <= 2 * (SWEEP_FROM + 1)


def test_sweeping_keeps_order_and_everything_alive() -> None:
    timers, ready = Timers(), deque[Any]()
    handles = [add(timers, float(number % 7), str(number)) for number in range(1000)]
    kept = [handle for number, handle in enumerate(handles) if number % 5 == 0]
    for number, handle in enumerate(handles):
        if number % 5:
            handle.cancel()
    timers.move_due(100.0, ready)
    assert list(ready) == sorted(kept, key=lambda handle: int(handle._callback) % 7)


def test_cancelling_a_handle_that_is_already_due_is_not_counted() -> None:
    timers, ready = Timers(), deque[Any]()
    due = [add(timers, 1.0) for _ in range(SWEEP_FROM * 2)]
    add(timers, 9.0, "live")
    timers.move_due(1.0, ready)
    for handle in due:
        handle.cancel()
    timers.move_due(9.0, ready)
    assert names(ready)[-1] == "live"


def test_cancelling_twice_counts_once() -> None:
    timers = Timers()
    handle = add(timers, 1.0)
    for _ in range(3):
        handle.cancel()
    for number in range(SWEEP_FROM):
        add(timers, 2.0 + number)
    # One cancelled among a hundred: nothing to sweep, and the count is right when it leaves at the top.
    assert timers.wait_from(0.0) == 2.0
    assert len(timers) == SWEEP_FROM


def test_clear_forgets_everything() -> None:
    timers = Timers()
    add(timers, 1.0)
    timers.clear()
    assert len(timers) == 0
    assert timers.wait_from(0.0) == LONGEST_WAIT
