"""The loop's lifetime and hooks: running, stopping, closing, nesting, forking; callbacks and tasks at the front."""

import asyncio
import contextvars
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import warnings
from typing import Any

import penstock_reactor
import pytest
from penstock_reactor import EventLoop
from support.forks import forked

Reports = list[dict[str, Any]]


async def answer() -> int:
    await asyncio.sleep(0)
    return 42


def test_run_runs_a_coroutine_and_closes_everything() -> None:
    seen: list[Any] = []

    async def main() -> int:
        seen.append(asyncio.get_running_loop())
        return await answer()

    assert penstock_reactor.run(main()) == 42
    assert isinstance(seen[0], EventLoop)
    assert seen[0].is_closed()


def test_run_sets_debug_mode() -> None:
    async def main() -> bool:
        return asyncio.get_running_loop().get_debug()

    assert penstock_reactor.run(main(), debug=True) is True
    assert penstock_reactor.run(main(), debug=False) is False


def test_a_runner_takes_the_loop_factory() -> None:
    with asyncio.Runner(loop_factory=penstock_reactor.new_event_loop) as runner:
        assert runner.run(answer()) == 42
        assert isinstance(runner.get_loop(), EventLoop)


def test_the_loop_does_not_derive_from_asyncios(loop: EventLoop) -> None:
    assert isinstance(loop, asyncio.AbstractEventLoop)
    assert not isinstance(loop, asyncio.BaseEventLoop)


def test_every_method_of_the_interface_is_there(loop: EventLoop) -> None:
    for name in vars(asyncio.AbstractEventLoop):
        if not name.startswith("_"):
            own = getattr(type(loop), name)
            assert own is not getattr(asyncio.AbstractEventLoop, name), name


def test_run_until_complete_gives_the_result_or_raises(loop: EventLoop) -> None:
    async def fail() -> None:
        raise LookupError("x")

    assert loop.run_until_complete(answer()) == 42
    with pytest.raises(LookupError):
        loop.run_until_complete(fail())


def test_run_until_complete_takes_a_future_and_leaves_no_callback_on_it(loop: EventLoop) -> None:
    future = loop.create_future()
    loop.call_soon(loop.stop)
    with pytest.raises(RuntimeError, match="stopped before Future completed"):
        loop.run_until_complete(future)
    assert not future._callbacks
    loop.call_soon(future.set_result, "later")
    assert loop.run_until_complete(future) == "later"


def test_run_until_complete_refuses_what_cannot_be_awaited(loop: EventLoop) -> None:
    with pytest.raises(TypeError):
        loop.run_until_complete("a string")


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_leaves_a_task_leaves_the_run_and_is_not_logged_again(
    loop: EventLoop, reports: Reports, error: type[BaseException]
) -> None:
    async def leave() -> None:
        raise error

    with pytest.raises(error):
        loop.run_until_complete(leave())
    loop.run_until_complete(asyncio.sleep(0))
    gc.collect()
    assert reports == []


def test_stop_before_the_run_gives_exactly_one_turn(loop: EventLoop) -> None:
    seen: list[int] = []

    def again(number: int) -> None:
        seen.append(number)
        loop.call_soon(again, number + 1)

    loop.call_soon(again, 0)
    loop.stop()
    loop.run_forever()
    assert seen == [0]


def test_stop_from_another_thread_ends_the_wait(loop: EventLoop) -> None:
    timer = threading.Timer(0.05, loop.stop)
    timer.start()
    loop.run_forever()
    timer.join()


def test_the_loop_knows_whether_it_runs(loop: EventLoop) -> None:
    seen: list[Any] = []
    assert not loop.is_running()
    loop.call_soon(lambda: seen.append((loop.is_running(), asyncio.get_running_loop() is loop)))
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == [(True, True)]
    assert not loop.is_running()
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


def test_a_run_that_cannot_begin_leaves_nothing_behind(loop: EventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise RuntimeError("not now")

    hooks = sys.get_asyncgen_hooks()
    for part, method in ((loop._generators, "install"), (loop._signals, "enter")):
        with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="not now"):
            patched.setattr(part, method, refuse)
            loop.run_forever()
        assert not loop.is_running()
        assert sys.get_asyncgen_hooks() == hooks
        assert loop.run_until_complete(answer()) == 42
    assert sys.get_asyncgen_hooks() == hooks


def test_a_running_loop_cannot_be_run_again(loop: EventLoop) -> None:
    errors: list[BaseException] = []

    def nested() -> None:
        coro = answer()
        for attempt in (loop.run_forever, lambda: loop.run_until_complete(coro)):
            try:
                attempt()
            except RuntimeError as error:
                errors.append(error)
        coro.close()
        loop.stop()

    loop.call_soon(nested)
    loop.run_forever()
    assert [str(error) for error in errors] == ["This event loop is already running"] * 2


def test_another_loop_cannot_run_inside_a_running_one(loop: EventLoop) -> None:
    other = EventLoop()
    errors: list[BaseException] = []

    def nested() -> None:
        try:
            other.run_forever()
        except RuntimeError as error:
            errors.append(error)
        loop.stop()

    loop.call_soon(nested)
    loop.run_forever()
    other.close()
    assert "another loop is running" in str(errors[0])


def test_a_running_loop_cannot_be_closed(loop: EventLoop) -> None:
    async def close() -> None:
        with pytest.raises(RuntimeError, match="running"):
            loop.close()

    loop.run_until_complete(close())
    assert not loop.is_closed()


def test_a_closed_loop_refuses_everything(loop: EventLoop) -> None:
    loop.close()
    loop.close()
    assert loop.is_closed()
    coro = answer()
    calls: list[Any] = [
        lambda: loop.call_soon(int), lambda: loop.call_soon_threadsafe(int), lambda: loop.call_later(1, int),
        lambda: loop.call_at(1, int), loop.run_forever, lambda: loop.run_until_complete(coro),
        lambda: loop.create_task(coro), lambda: loop.run_in_executor(None, int),
        lambda: loop.add_reader(0, int), lambda: loop.add_writer(0, int),
        lambda: loop.add_signal_handler(signal.SIGINT, int),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            call()
    coro.close()
    assert loop.remove_reader(0) is False
    assert loop.remove_writer(0) is False


def test_a_loop_can_be_closed_with_work_pending(loop: EventLoop, reports: Reports) -> None:
    first, second = socket.socketpair()
    loop.call_soon(pytest.fail, "ran")
    timer = loop.call_later(0, pytest.fail, "ran")
    loop.add_reader(first, pytest.fail, "ran")
    second.send(b"x")
    started = threading.Event()
    release = threading.Event()

    def work() -> None:
        started.set()
        release.wait(10)

    future = loop.run_in_executor(None, work)
    started.wait(10)
    loop.close()
    timer.cancel()
    release.set()
    assert not future.done()
    first.close()
    second.close()
    assert reports == []


def test_an_unclosed_loop_warns_and_closes_itself() -> None:
    loop = EventLoop()
    poller = loop._poller
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        del loop
        gc.collect()
    assert poller._bell.fileno() == -1


def test_a_closed_loop_goes_quietly() -> None:
    loop = EventLoop()
    loop.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del loop
        gc.collect()


def test_a_loop_that_could_not_be_made_goes_quietly() -> None:
    loop = EventLoop.__new__(EventLoop)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del loop
        gc.collect()


def test_call_later_and_call_at_refuse_none(loop: EventLoop) -> None:
    with pytest.raises(TypeError):
        loop.call_later(None, int)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        loop.call_at(None, int)  # type: ignore[arg-type]


def test_callbacks_run_in_the_callers_context_or_the_one_given(loop: EventLoop) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    given = contextvars.copy_context()
    given.run(variable.set, "given")
    seen: list[str] = []

    def look() -> None:
        seen.append(variable.get())

    def schedule() -> None:
        variable.set("caller")
        loop.call_soon(look)
        loop.call_soon(look, context=given)
        loop.call_soon_threadsafe(look)
        loop.call_soon_threadsafe(look, context=given)
        loop.call_later(0, look)
        loop.call_later(0, look, context=given)
        loop.call_at(0, look)
        loop.call_at(0, look, context=given)

    contextvars.copy_context().run(schedule)
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    assert sorted(seen) == ["caller"] * 4 + ["given"] * 4


def test_negative_and_huge_delays_are_taken(loop: EventLoop) -> None:
    seen: list[str] = []
    loop.call_later(1e300, seen.append, "never")
    loop.call_later(float("inf"), seen.append, "never")
    loop.call_later(-1, seen.append, "b")
    loop.call_later(-5, seen.append, "a")
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    assert seen == ["a", "b"]


def test_futures_belong_to_the_loop(loop: EventLoop) -> None:
    assert loop.create_future().get_loop() is loop


def test_methods_can_be_replaced_on_an_instance(loop: EventLoop) -> None:
    seen: list[Any] = []
    original = loop.call_soon

    def call_soon(*args: Any, **options: Any) -> Any:
        seen.append(args[0])
        return original(*args, **options)

    loop.call_soon = call_soon  # type: ignore[method-assign]
    assert loop.run_until_complete(answer()) == 42
    assert seen


def test_a_handler_that_raises_does_not_end_the_loop(
    loop: EventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(_loop: Any, _report: Any) -> None:
        raise ValueError("handler is broken")

    loop.set_exception_handler(handler)
    assert loop.get_exception_handler() is handler
    loop.call_soon(lambda: 1 / 0)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert "Unhandled error in exception handler" in caplog.text


def test_hooks_refuse_what_cannot_be_called(loop: EventLoop) -> None:
    with pytest.raises(TypeError):
        loop.set_exception_handler("no")
    with pytest.raises(TypeError):
        loop.set_task_factory("no")
    loop.set_exception_handler(None)
    loop.set_task_factory(None)
    assert loop.get_exception_handler() is None
    assert loop.get_task_factory() is None


def test_the_loop_can_be_printed(loop: EventLoop) -> None:
    loop.set_debug(False)
    assert repr(loop) == "<EventLoop running=False closed=False debug=False>"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_refuses_to_run_its_parents_loop_and_can_run_its_own(loop: EventLoop) -> None:
    def child() -> bool:
        try:
            loop.run_forever()
        except RuntimeError as error:
            return "forked" in str(error) and penstock_reactor.run(answer()) == 42
        return False

    codes = [forked(child)]
    # And in the middle of a run, where the child still believes itself inside the loop.
    loop.call_soon(lambda: codes.append(forked(child)))
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert codes == [0, 0]
    assert loop.run_until_complete(answer()) == 42


def test_importing_the_package_brings_no_heavy_modules() -> None:
    heavy = ["ssl", "multiprocessing", "http.client", "email", "concurrent.futures.process", "unittest"]
    code = f"import sys, asyncio; a = set(sys.modules); import penstock_reactor; n = set(sys.modules) - a; " \
           f"print([m for m in {heavy} if m in n], [m for m in n if m.startswith('penstock_reactor.tls')])"
    path = os.pathsep.join(sys.path)
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path},
                          capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[] []"
