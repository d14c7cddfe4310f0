"""Debug mode: what is refused, remembered and warned of."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from penstock_reactor import EventLoop


@pytest.fixture
def debug_loop(loop: EventLoop) -> EventLoop:
    loop.set_debug(True)
    return loop


async def coroutine() -> None:
    pass


@pytest.mark.parametrize("options, variables, expected", [
    ([], {}, "False"), (["-X", "dev"], {}, "True"), ([], {"PYTHONASYNCIODEBUG": "1"}, "True"),
    ([], {"PYTHONASYNCIODEBUG": ""}, "False"),
])
def test_debug_mode_starts_as_the_interpreter_was_told(options: list[str], variables: Any, expected: str) -> None:
    code = "import penstock_reactor as p; loop = p.new_event_loop(); print(loop.get_debug()); loop.close()"
    inherited = {key: value for key, value in os.environ.items() if key not in ("PYTHONASYNCIODEBUG", "PYTHONDEVMODE")}
    done = subprocess.run([sys.executable, *options, "-c", code], text=True, capture_output=True, timeout=30, check=True,
                          env={**inherited, "PYTHONPATH": os.pathsep.join(sys.path), **variables})
    assert done.stdout.strip() == expected


def test_the_environment_does_not_count_when_python_ignores_it() -> None:
    root = next(path for path in sys.path if os.path.isdir(os.path.join(path, "penstock_reactor")))
    code = f"import sys; sys.path.insert(0, {root!r}); import penstock_reactor as p; " \
           "loop = p.new_event_loop(); print(loop.get_debug()); loop.close()"
    done = subprocess.run([sys.executable, "-E", "-c", code], text=True, capture_output=True, timeout=30, check=True,
                          env={**os.environ, "PYTHONASYNCIODEBUG": "1"})
    assert done.stdout.strip() == "False"


def test_debug_mode_refuses_what_cannot_be_called(debug_loop: EventLoop) -> None:
    coro = coroutine()
    wrong: Any
    for wrong in (coroutine, coro, "text", None):
        calls: list[Any] = [
            lambda: debug_loop.call_soon(wrong), lambda: debug_loop.call_soon_threadsafe(wrong),
            lambda: debug_loop.call_later(1, wrong), lambda: debug_loop.call_at(1, wrong),
            lambda: debug_loop.run_in_executor(None, wrong),
        ]
        for call in calls:
            with pytest.raises(TypeError):
                call()
    coro.close()


def test_debug_mode_refuses_calls_from_a_foreign_thread(debug_loop: EventLoop) -> None:
    errors: list[BaseException] = []

    def call() -> None:
        calls: list[Any] = [
            lambda: debug_loop.call_soon(int), lambda: debug_loop.call_later(1, int), lambda: debug_loop.call_at(1, int)
        ]
        for attempt in calls:
            try:
                attempt()
            except RuntimeError as error:
                errors.append(error)
        debug_loop.call_soon_threadsafe(debug_loop.stop)

    thread = threading.Thread(target=call)
    debug_loop.call_soon(thread.start)
    debug_loop.run_forever()
    thread.join()
    assert [str(error).split()[0] for error in errors] == ["Non-thread-safe"] * 3


def test_a_loop_that_does_not_run_takes_calls_from_any_thread(debug_loop: EventLoop) -> None:
    thread = threading.Thread(target=debug_loop.call_soon, args=(debug_loop.stop,))
    thread.start()
    thread.join()
    debug_loop.run_forever()


def test_a_slow_callback_is_named(debug_loop: EventLoop, caplog: pytest.LogCaptureFixture) -> None:
    debug_loop.slow_callback_duration = 0.01
    debug_loop.call_soon(time.sleep, 0.02)
    debug_loop.call_soon(int)
    debug_loop.call_soon(debug_loop.stop)
    debug_loop.run_forever()
    [record] = caplog.records
    assert record.getMessage().startswith("Executing <Handle sleep(0.02)")
    assert " seconds" in record.getMessage()


def test_a_slow_step_is_named_after_its_task(debug_loop: EventLoop, caplog: pytest.LogCaptureFixture) -> None:
    debug_loop.slow_callback_duration = 0.01

    async def slow() -> None:
        time.sleep(0.02)

    async def main() -> None:
        await asyncio.create_task(slow(), name="slow task")

    debug_loop.run_until_complete(main())
    assert "slow task" in caplog.text


def test_a_slow_reader_is_named(debug_loop: EventLoop, caplog: pytest.LogCaptureFixture) -> None:
    debug_loop.slow_callback_duration = 0.01
    first, second = socket.socketpair()
    debug_loop.add_writer(first, time.sleep, 0.02)
    debug_loop.stop()
    debug_loop.run_forever()
    debug_loop.remove_writer(first)
    first.close()
    second.close()
    assert "Executing <Handle" in caplog.text


def test_a_cancelled_callback_does_not_run_in_debug_mode(debug_loop: EventLoop) -> None:
    debug_loop.call_soon(pytest.fail, "ran").cancel()
    timer = debug_loop.call_later(0, pytest.fail, "ran")
    timer.cancel()
    debug_loop.stop()
    debug_loop.run_forever()


def test_coroutines_remember_their_origin_while_a_debugging_loop_runs(debug_loop: EventLoop) -> None:
    depths: list[int] = []

    def look() -> None:
        depths.append(sys.get_coroutine_origin_tracking_depth())

    async def main() -> None:
        look()
        debug_loop.set_debug(False)
        await asyncio.sleep(0)
        look()
        debug_loop.set_debug(True)
        await asyncio.sleep(0)
        look()

    before = sys.get_coroutine_origin_tracking_depth()
    debug_loop.run_until_complete(main())
    assert depths[0] > 0 and depths[1] == before and depths[2] > 0
    assert sys.get_coroutine_origin_tracking_depth() == before


def test_debug_mode_can_be_left_with_its_handles_still_waiting(debug_loop: EventLoop) -> None:
    seen: list[str] = []
    debug_loop.call_soon(seen.append, "made in debug mode")
    debug_loop.call_later(0, seen.append, "timer made in debug mode")
    debug_loop.set_debug(False)
    debug_loop.call_soon(seen.append, "lean")
    debug_loop.set_debug(True)
    debug_loop.call_later(0.01, debug_loop.stop)
    debug_loop.run_forever()
    assert sorted(seen) == ["lean", "made in debug mode", "timer made in debug mode"]


def test_timers_cancelled_in_debug_mode_are_swept(debug_loop: EventLoop) -> None:
    for _ in range(500):
        debug_loop.call_later(60, int).cancel()
    assert len(debug_loop._timers) < 210


def test_ordinary_programs_run_in_debug_mode(debug_loop: EventLoop) -> None:
    async def main() -> str:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(asyncio.sleep(0.001, number)) for number in range(5)]
        await asyncio.to_thread(int)
        return "".join(str(task.result()) for task in tasks)

    assert debug_loop.run_until_complete(main()) == "01234"
