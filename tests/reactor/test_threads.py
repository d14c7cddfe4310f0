"""Calls across threads, executors and names."""

import asyncio
import concurrent.futures
import socket
import threading
from typing import Any

import pytest
from penstock_reactor import EventLoop

Reports = list[dict[str, Any]]


def test_nothing_is_lost_when_eight_threads_call_at_once(loop: EventLoop) -> None:
    per_thread, threads = 2_000, 8
    counts = [0] * threads
    order_kept = True

    def note(thread: int, number: int) -> None:
        nonlocal order_kept
        order_kept = order_kept and counts[thread] == number
        counts[thread] += 1
        if sum(counts) == per_thread * threads:
            loop.stop()

    def call(thread: int) -> None:
        for number in range(per_thread):
            loop.call_soon_threadsafe(note, thread, number)

    workers = [threading.Thread(target=call, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    loop.run_forever()
    for worker in workers:
        worker.join()
    assert counts == [per_thread] * threads
    assert order_kept


def test_a_call_from_a_thread_wakes_a_waiting_loop_every_time(loop: EventLoop) -> None:
    rounds = 200

    async def main() -> None:
        for _ in range(rounds):
            future = loop.create_future()
            await loop.run_in_executor(None, loop.call_soon_threadsafe, future.set_result, None)
            await future

    loop.run_until_complete(main())


def test_a_full_bell_does_not_stop_calls_from_threads(loop: EventLoop) -> None:
    try:
        while True:
            loop._poller._clapper.send(b"\0" * 4096)
    except BlockingIOError:
        pass
    seen: list[int] = []
    for number in range(100):
        loop.call_soon_threadsafe(seen.append, number)
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(loop.stop,))
    thread.start()
    loop.run_forever()
    thread.join()
    assert seen == list(range(100))


def test_cancelling_from_another_thread_never_breaks_a_turn(loop: EventLoop, reports: Reports) -> None:
    handles: list[Any] = []
    done = threading.Event()

    def cancel() -> None:
        while not done.is_set() or handles:
            if handles:
                handles.pop().cancel()

    def schedule(rounds: int) -> None:
        for _ in range(20):
            handles.append(loop.call_soon(lambda one, two: None, 1, 2))
        if rounds:
            loop.call_soon(schedule, rounds - 1)
        else:
            loop.stop()

    thread = threading.Thread(target=cancel)
    thread.start()
    loop.call_soon(schedule, 200)
    loop.run_forever()
    done.set()
    thread.join()
    assert reports == []


def test_work_in_the_default_executor_brings_results_and_errors(loop: EventLoop) -> None:
    async def main() -> None:
        assert await loop.run_in_executor(None, threading.get_ident) != threading.get_ident()
        assert await loop.run_in_executor(None, pow, 2, 5) == 32
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, divmod, 1, 0)

    loop.run_until_complete(main())


def test_work_runs_in_the_executor_that_is_given(loop: EventLoop) -> None:
    def name() -> str:
        return threading.current_thread().name

    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="mine") as executor:
        assert loop.run_until_complete(loop.run_in_executor(executor, name)).startswith("mine")
        loop.set_default_executor(executor)
        assert loop.run_until_complete(loop.run_in_executor(None, name)).startswith("mine")


def test_only_a_thread_pool_can_be_the_default_executor(loop: EventLoop) -> None:
    with pytest.raises(TypeError, match="ThreadPoolExecutor"):
        loop.set_default_executor(object())  # type: ignore[arg-type]


def test_after_the_executor_is_shut_down_no_work_is_taken(loop: EventLoop) -> None:
    loop.run_until_complete(loop.run_in_executor(None, int))
    loop.run_until_complete(loop.shutdown_default_executor())
    with pytest.raises(RuntimeError):
        loop.run_in_executor(None, int)


def test_shutting_down_an_executor_that_was_never_needed_also_ends_it(loop: EventLoop) -> None:
    loop.run_until_complete(loop.shutdown_default_executor())
    with pytest.raises(RuntimeError, match="Executor shutdown"):
        loop.run_in_executor(None, int)


def test_shutdown_waits_for_threads_up_to_its_timeout(loop: EventLoop) -> None:
    release = threading.Event()
    future = loop.run_in_executor(None, release.wait, 20)
    with pytest.warns(RuntimeWarning, match="within 0.01 seconds"):
        loop.run_until_complete(loop.shutdown_default_executor(timeout=0.01))
    release.set()
    assert loop.run_until_complete(future) is True


def test_a_cancelled_wait_for_a_thread_leaves_the_loop_in_order(loop: EventLoop, reports: Reports) -> None:
    release = threading.Event()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await loop.run_in_executor(None, release.wait, 20)
        release.set()

    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())
    assert reports == []


@pytest.mark.parametrize("host, port", [("127.0.0.1", 80), ("127.0.0.1", "80"), ("127.0.0.1", None), (b"::1", b"80")])
def test_numeric_addresses_need_no_thread(
    loop: EventLoop, monkeypatch: pytest.MonkeyPatch, host: Any, port: Any
) -> None:
    monkeypatch.setattr(loop, "run_in_executor", None)
    found = loop.run_until_complete(loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    assert found == socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


@pytest.mark.parametrize("host, port", [("localhost", 80), (None, 80), ("127.0.0.1", "http"), ("bad\0name", 1)])
def test_names_are_looked_up_in_a_thread(
    loop: EventLoop, monkeypatch: pytest.MonkeyPatch, host: Any, port: Any
) -> None:
    asked: list[Any] = []

    def run_in_executor(executor: Any, function: Any, *args: Any) -> asyncio.Future[Any]:
        asked.append((executor, function, args))
        future = loop.create_future()
        future.set_result("found")
        return future

    monkeypatch.setattr(loop, "run_in_executor", run_in_executor)
    assert loop.run_until_complete(loop.getaddrinfo(host, port, flags=1)) == "found"
    assert asked == [(None, socket.getaddrinfo, (host, port, 0, 0, 0, 1))]


def test_a_name_that_does_not_exist_raises_as_in_socket(loop: EventLoop) -> None:
    with pytest.raises(socket.gaierror):
        loop.run_until_complete(loop.getaddrinfo("name.invalid", 80, flags=socket.AI_NUMERICHOST))


def test_getnameinfo_gives_numbers_at_once_and_names_from_a_thread(loop: EventLoop) -> None:
    numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    assert loop.run_until_complete(loop.getnameinfo(("127.0.0.1", 80), numeric)) == ("127.0.0.1", "80")
    found = loop.run_until_complete(loop.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICSERV))
    assert found[1] == "80"
