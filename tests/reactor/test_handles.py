"""Handles: lean, but asyncio's in every way a caller can see."""

import asyncio
import contextvars
import weakref
from typing import Any

from penstock_reactor import EventLoop


def nothing(*_: Any) -> None:
    pass


def test_handles_are_asyncios(loop: EventLoop) -> None:
    assert isinstance(loop.call_soon(nothing), asyncio.Handle)
    assert isinstance(loop.call_soon_threadsafe(nothing), asyncio.Handle)
    assert isinstance(loop.call_later(5, nothing), asyncio.TimerHandle)


def test_a_handle_says_whether_it_was_cancelled(loop: EventLoop) -> None:
    for handle in (loop.call_soon(nothing), loop.call_later(5, nothing)):
        assert not handle.cancelled()
        handle.cancel()
        handle.cancel()
        assert handle.cancelled()


def test_a_cancelled_handle_lets_go_of_callback_and_arguments(loop: EventLoop) -> None:
    class Thing:
        pass

    thing = Thing()
    gone = weakref.ref(thing)
    handles = [loop.call_soon(nothing, thing), loop.call_later(60, nothing, thing)]
    del thing
    for handle in handles:
        handle.cancel()
    assert gone() is None


def test_a_handle_knows_its_context(loop: EventLoop) -> None:
    loop.set_debug(False)
    context = contextvars.copy_context()
    handle: Any = loop.call_soon(nothing, context=context)
    assert handle.get_context() is context
    timer: Any = loop.call_later(1, nothing, context=context)
    assert timer.get_context() is context


def test_a_timer_handle_says_when(loop: EventLoop) -> None:
    assert loop.call_at(12345.5, nothing).when() == 12345.5


def test_timer_handles_compare_by_time(loop: EventLoop) -> None:
    early, late = loop.call_at(1, nothing), loop.call_at(2, nothing)
    assert early < late
    assert late > early
    assert early <= early
    assert early != late
    assert hash(early) != hash(late)


def test_handles_can_be_printed_in_every_state(loop: EventLoop) -> None:
    for handle in (loop.call_soon(nothing, 1), loop.call_later(60, nothing, 1)):
        assert "nothing" in repr(handle)
        handle.cancel()
        assert "cancelled" in repr(handle)


def test_a_handle_can_be_run_by_hand(loop: EventLoop, reports: list[dict[str, Any]]) -> None:
    seen: list[int] = []
    handle: Any = loop.call_soon(seen.append, 1)
    handle._run()
    assert seen == [1]
    failing: Any = loop.call_soon(lambda: 1 / 0)
    failing._run()
    assert isinstance(reports[0]["exception"], ZeroDivisionError)


def test_handles_can_be_referred_to_weakly(loop: EventLoop) -> None:
    handle = loop.call_later(1, nothing)
    assert weakref.ref(handle)() is handle
