import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from penstock.asgi import bridge
from penstock.asgi.bridge import MOST_UNDER_WAY, Bridge, Pool
from penstock.connection.exchange import ClientDisconnected

PATIENCE = 15.0
Message = dict[str, Any]


def body(octets: bytes = b"x", more: bool = True) -> Message:
    return {"type": "http.response.body", "body": octets, "more_body": more}


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(2)
    yield pool
    pool.stop()


class Jobs:
    """Jobs that run until they are let go."""

    def __init__(self) -> None:
        self.running = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)
        self.threads: set[threading.Thread] = set()

    def __call__(self) -> None:
        self.threads.add(threading.current_thread())
        self.running.release()
        self.may_end.acquire(timeout=PATIENCE)

    def wait_running(self, count: int) -> None:
        for _ in range(count):
            assert self.running.acquire(timeout=PATIENCE)


def submit(pool: Pool, job: Callable[[], None]) -> None:
    if pool.submit(job):
        pool.wake()


def wait_sleeping(pool: Pool, count: int) -> None:
    """A job is done a moment before its thread is free."""
    end = time.monotonic() + PATIENCE
    while len(pool._sleeping) < count:
        assert time.monotonic() < end
        time.sleep(0)


def test_no_more_jobs_run_at_once_than_there_are_threads_and_the_others_follow(pool: Pool) -> None:
    jobs = Jobs()
    for _ in range(3):
        submit(pool, jobs)
    jobs.wait_running(2)
    assert not jobs.running.acquire(timeout=0.05)
    jobs.may_end.release()
    jobs.wait_running(1)
    jobs.may_end.release(2)
    assert len(jobs.threads) == 2


def test_a_thread_that_nobody_needs_ends_and_another_takes_its_place(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "IDLE", 0.01)
    done = threading.Semaphore(0)
    for _ in range(3):
        submit(pool, done.release)
        assert done.acquire(timeout=PATIENCE)
        end = time.monotonic() + PATIENCE
        while pool._started:
            assert time.monotonic() < end
            time.sleep(0)
    assert not pool._sleeping


def test_one_call_to_wake_is_enough_for_many_jobs(pool: Pool) -> None:
    jobs = Jobs()
    assert [pool.submit(jobs) for _ in range(3)] == [True, False, False]
    pool.wake()
    jobs.wait_running(2)
    jobs.may_end.release(3)
    jobs.wait_running(1)
    assert pool.submit(jobs)


def test_a_thread_that_sleeps_is_woken_before_another_is_started(pool: Pool) -> None:
    jobs = Jobs()
    for _ in range(5):
        jobs.may_end.release()
        submit(pool, jobs)
        jobs.wait_running(1)
        wait_sleeping(pool, 1)
    assert len(jobs.threads) == 1


def test_a_job_that_waits_for_the_next_one_gets_it(pool: Pool) -> None:
    """However the threads are woken, one that blocks never keeps the others asleep."""
    for _ in range(200):
        met = threading.Barrier(2)
        for _ in range(2):
            submit(pool, lambda barrier=met: barrier.wait(PATIENCE) and None)  # type: ignore[misc]
        wait_sleeping(pool, 2)


def test_jobs_from_a_busy_loop_are_all_done(pool: Pool) -> None:
    done: list[int] = []
    for number in range(5000):
        submit(pool, lambda number=number: done.append(number))  # type: ignore[misc]
        if number % 7 == 0:
            time.sleep(0)
    wait_sleeping(pool, 1)
    end = time.monotonic() + PATIENCE
    while len(done) < 5000 and time.monotonic() < end:
        time.sleep(0)
    assert sorted(done) == list(range(5000))


def test_where_no_further_thread_is_to_be_had_those_that_are_there_do_it(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    may_start, start = iter([True]), threading.Thread.start

    def start_perhaps(thread: threading.Thread) -> None:
        if not next(may_start, False):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_perhaps)
    jobs = Jobs()
    submit(pool, jobs)
    jobs.wait_running(1)
    submit(pool, jobs)
    jobs.may_end.release(2)
    jobs.wait_running(1)
    assert len(jobs.threads) == 1


def test_where_no_thread_is_to_be_had_at_all_one_is_asked_for_again(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    may_start, start = iter([False, False, True]), threading.Thread.start

    def start_perhaps(thread: threading.Thread) -> None:
        if not next(may_start, False):
            raise RuntimeError("can't start new thread")
        start(thread)

    async def main() -> None:
        done: list[int] = []
        for number in range(3):
            submit(pool, lambda number=number: done.append(number))  # type: ignore[misc]
        while len(done) < 3:
            await asyncio.sleep(0)

    monkeypatch.setattr(bridge, "PATIENCE", 0.01)
    monkeypatch.setattr(threading.Thread, "start", start_perhaps)
    asyncio.run(asyncio.wait_for(main(), PATIENCE))
    # However many requests wait, one asks for all of them.
    assert [record.getMessage() for record in caplog.records] == ["The system has no thread for a request; the next try is in 0.01 s"] * 2


def test_threads_end_when_the_pool_is_stopped_and_a_busy_one_after_its_job(pool: Pool) -> None:
    jobs = Jobs()
    for _ in range(2):
        submit(pool, jobs)
    jobs.wait_running(2)
    jobs.may_end.release()
    wait_sleeping(pool, 1)
    pool.stop()
    jobs.may_end.release()
    for thread in jobs.threads:
        thread.join(PATIENCE)
        assert not thread.is_alive() and thread.daemon


def test_a_pool_that_was_stopped_takes_jobs_again(pool: Pool) -> None:
    jobs = Jobs()
    jobs.may_end.release(4)
    for _ in range(4):
        submit(pool, jobs)
        jobs.wait_running(1)
        pool.stop()


class Talk:
    """A bridge whose thread does `work(bridge)`, and what its coroutine was told to send."""

    def __init__(self, work: Callable[[Bridge], None], received: list[Message] | None = None) -> None:
        self.sent: list[Message] = []
        self.fails_after: int | None = None
        self.error: BaseException | None = None
        self.received = received or []
        self.work = work
        self.gate: asyncio.Event | None = None
        self.thread = threading.Thread(target=self._work, daemon=True)

    def run(self) -> None:
        asyncio.run(asyncio.wait_for(self.serve(), PATIENCE))

    async def serve(self) -> None:
        self.bridge = Bridge(asyncio.get_running_loop())
        self.thread.start()
        try:
            await self.bridge.serve(self._receive, self._send)
        finally:
            await asyncio.to_thread(self.thread.join, PATIENCE)

    async def _receive(self) -> Message:
        return self.received.pop(0)

    async def _send(self, message: Message) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if len(self.sent) == self.fails_after:
            raise ClientDisconnected("gone")
        self.sent.append(message)

    def _work(self) -> None:
        try:
            self.work(self.bridge)
        except BaseException as error:
            self.error = error
        self.bridge.finish(self.error)


def test_messages_are_sent_in_their_order_and_the_end_comes_last() -> None:
    messages = [body(b"%d" % number) for number in range(100)]

    def work(bridge: Bridge) -> None:
        for message in messages:
            bridge.send(message)

    talk = Talk(work)
    talk.run()
    assert talk.sent == messages


def test_what_the_thread_raises_is_raised_by_the_coroutine() -> None:
    def work(bridge: Bridge) -> None:
        raise ValueError("of the application")

    with pytest.raises(ValueError, match="of the application"):
        Talk(work).run()


def test_the_request_comes_as_it_is_fetched_and_a_client_that_leaves_is_an_error() -> None:
    got: list[tuple[bytes, bool]] = []

    def work(bridge: Bridge) -> None:
        while True:
            got.append(bridge.fetch())

    talk = Talk(work, [{"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.disconnect"}])
    with pytest.raises(ClientDisconnected):
        talk.run()
    assert got == [(b"a", True)]


def test_a_thread_that_is_ahead_of_the_client_waits() -> None:
    sent_by_thread = []

    def work(bridge: Bridge) -> None:
        for _ in range(8):
            bridge.send(body(b"x" * (MOST_UNDER_WAY // 2)))
            sent_by_thread.append(1)

    async def main() -> None:
        talk = Talk(work)
        talk.gate = asyncio.Event()
        serving = asyncio.create_task(talk.serve())
        while len(sent_by_thread) < 1:
            await asyncio.sleep(0)
        await asyncio.to_thread(talk.thread.join, 0.1)
        assert talk.thread.is_alive() and len(sent_by_thread) <= 2
        talk.gate.set()
        await serving
        assert len(talk.sent) == 8

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_small_blocks_without_end_make_the_thread_wait_too() -> None:
    def work(bridge: Bridge) -> None:
        for _ in range(10_000):
            bridge.send(body())

    most = 0

    async def main() -> None:
        nonlocal most
        talk = Talk(work)
        serving = asyncio.create_task(talk.serve())
        while not serving.done():
            most = max(most, len(talk.bridge._orders) if hasattr(talk, "bridge") else 0)
            await asyncio.sleep(0)
        await serving

    asyncio.run(asyncio.wait_for(main(), PATIENCE))
    assert most < 1000


def test_when_the_client_leaves_the_thread_is_told_at_its_next_step_and_its_end_is_waited_for() -> None:
    ended = []

    def work(bridge: Bridge) -> None:
        try:
            while True:
                bridge.send(body())
        finally:
            ended.append(True)

    talk = Talk(work)
    talk.fails_after = 3
    with pytest.raises(ClientDisconnected):
        talk.run()
    assert ended == [True] and isinstance(talk.error, ClientDisconnected) and len(talk.sent) == 3


@pytest.mark.parametrize("waits", [lambda bridge: bridge.sync(), lambda bridge: bridge.fetch()])
def test_a_cancelled_coroutine_frees_the_thread_whatever_it_waits_for(waits: Any) -> None:
    async def main() -> None:
        stuck = asyncio.Event()

        async def never(*_: Any) -> Any:
            stuck.set()
            await asyncio.get_running_loop().create_future()

        def work(bridge: Bridge) -> None:
            bridge.send(body())
            waits(bridge)

        talk = Talk(work)
        talk._send = talk._receive = never  # type: ignore[method-assign, assignment]
        serving = asyncio.create_task(talk.serve())
        await stuck.wait()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert isinstance(talk.error, ClientDisconnected)

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_a_thread_that_outlives_the_loop_is_told_that_nobody_is_there() -> None:
    async def main() -> Bridge:
        return Bridge(asyncio.get_running_loop())

    bridge = asyncio.run(main())
    bridge.send(body())
    with pytest.raises(ClientDisconnected):
        bridge.send(body())
    bridge.finish(None)


def test_what_the_thread_raises_of_its_own_when_the_client_has_left_is_raised_too() -> None:
    def work(bridge: Bridge) -> None:
        with suppress(ClientDisconnected):
            while True:
                bridge.send(body())
        raise ValueError("of the application")

    talk = Talk(work)
    talk.fails_after = 3
    with pytest.raises(ValueError, match="of the application") as caught:
        talk.run()
    # Else it would pass for one that the client's leaving has led to.
    assert caught.value.__context__ is None
