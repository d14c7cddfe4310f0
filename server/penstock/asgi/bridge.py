"""Between a request's coroutine and the thread in which its application runs.

    Pool     a bounded number of threads, started as they are needed
    Bridge   one request: the thread gives orders (ASGI messages to send, or to fetch the next one received), and the
             coroutine carries them out in their order

A thread waits only where it must: for octets of the request, or when more of the answer is under way than should be.
What it waits in is a queue of its own, so a thread always gets free: `abandon` answers whatever it waits for. Orders
cost one wake-up of the loop for all that are given before the loop looks.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, NoReturn

from ..connection.exchange import ClientDisconnected

THREAD_NAME = "penstock-wsgi"

IDLE = 30.0
"""Seconds after which a thread that found nothing to do ends: no pool outlives its use, stopped or not."""

PATIENCE = 0.5
"""Seconds until a thread is asked for again, where the system had none."""

MOST_UNDER_WAY = 65536
"""Octets that a thread may be ahead of the loop."""

_COST_OF_ORDER = 512

_log = logging.getLogger("penstock.error")

Message = dict[str, Any]

_FETCH, _SYNC, _DONE, _GONE = object(), object(), object(), object()


class Pool:
    """At most `most` threads. They are daemons: a process that ends does not wait for those that have nothing to do.

    Python runs one thread at a time, and to wake one costs as much as a small request. So one is woken at a time, and
    wakes the next only if it finds more to do: where no request waits for anything, one thread does them all; where they
    do, the next thread is ready as soon as this one waits.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._jobs: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        self._sleeping: list[threading.Lock] = []
        self._started = 0
        self._leaving = 0
        self._is_waking = False
        self._is_announced = False

    def submit(self, job: Callable[[], None]) -> bool:
        """Have `job()`, which raises nothing, run in a thread; True when the caller must see to it that `wake` is called."""
        self._jobs.append(job)
        is_first, self._is_announced = not self._is_announced, True
        return is_first

    def wake(self) -> None:
        """Let a thread look for what was submitted. Once for many jobs is enough. On the loop: there it tries again."""
        with self._lock:
            self._wake_one()
            self._is_announced = not self._started and bool(self._jobs)
        if self._is_announced:
            _log.warning("The system has no thread for a request; the next try is in %s s", PATIENCE)
            asyncio.get_running_loop().call_later(PATIENCE, self.wake)

    def stop(self) -> None:
        """Let the threads end, each when it has nothing more to do."""
        with self._lock:
            self._leaving = self._started
            while self._sleeping:
                self._sleeping.pop().release()

    def work(self) -> None:
        """What a thread does. The runner knows by it one that only waits."""
        gate = threading.Lock()
        gate.acquire()
        is_woken = True
        while True:
            with self._lock:
                self._is_waking &= not is_woken
                job = self._jobs.popleft() if self._jobs else None
                if job is not None:
                    self._wake_one()
                elif self._leaving:
                    self._leaving -= 1
                    self._started -= 1
                    return
                else:
                    self._sleeping.append(gate)
            is_woken = job is None
            if job is not None:
                job()
            elif not gate.acquire(timeout=IDLE) and self._leave(gate):
                return

    def _leave(self, gate: threading.Lock) -> bool:
        """End a thread that nobody needed for long, unless it is woken in this moment."""
        with self._lock:
            if gate in self._sleeping:
                self._sleeping.remove(gate)
                self._started -= 1
                return True
        gate.acquire()
        return False

    def _wake_one(self) -> None:
        """With the lock held: have another thread look, if there is something to find and none is on its way."""
        if not self._jobs or self._is_waking:
            return
        if self._sleeping:
            self._is_waking = True
            self._sleeping.pop().release()
        elif self._started < self._most:
            thread = threading.Thread(target=self.work, name=f"{THREAD_NAME}-{self._started + 1}", daemon=True)
            # Where the system has no more of them, those that are there do it.
            with suppress(RuntimeError):
                thread.start()
                self._is_waking = True
                self._started += 1


class Bridge:
    """One request. What is made on the loop is `serve` and `abandon`; all else belongs to the thread."""

    __slots__ = ("is_gone", "_loop", "_orders", "_answers", "_is_announced", "_news", "_under_way")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.is_gone = False
        """Nobody waits for the answer any more."""
        self._loop = loop
        self._orders: deque[Any] = deque()
        self._answers: SimpleQueue[Any] = SimpleQueue()
        self._is_announced = False
        self._news: asyncio.Future[None] | None = None
        self._under_way = 0

    # ── in the thread ──

    def send(self, *messages: Message) -> None:
        """Have messages sent, and wait when too much is under way. ClientDisconnected when nobody is there."""
        self._order(*messages)
        self._under_way += len(messages[-1].get("body", b"")) + _COST_OF_ORDER
        if self._under_way > MOST_UNDER_WAY:
            self.sync()

    def sync(self) -> None:
        """Wait until all that was sent has left, or is the socket's."""
        self._under_way = 0
        self._ask(_SYNC)

    def fetch(self) -> tuple[bytes, bool]:
        """The next piece of the request's body, and whether more follows. ClientDisconnected when none will come."""
        message = self._ask(_FETCH)
        if message["type"] != "http.request":
            _refuse()
        return message["body"], message["more_body"]

    def finish(self, error: BaseException | None) -> None:
        """The application has ended; `error` is what it raised."""
        self._announce(_DONE if error is None else error)

    def _ask(self, order: object) -> Any:
        self._order(order)
        answer = self._answers.get()
        if answer is _GONE:
            _refuse()
        return answer

    def _order(self, *orders: object) -> None:
        if self.is_gone:
            _refuse()
        self._announce(*orders)

    def _announce(self, *orders: object) -> None:
        self._orders.extend(orders)
        if not self._is_announced:
            self._is_announced = True
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:
                # The loop has been closed: the server gave up this application.
                self.abandon()

    # ── on the loop ──

    async def serve(self, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]) -> None:
        """Do what the thread orders, until the application has ended; raises what it raised, or what `send` did."""
        try:
            while (order := await self._next_order()) is not _DONE:
                if type(order) is dict:
                    await send(order)
                elif order is _FETCH:
                    self._answers.put(await receive())
                elif order is _SYNC:
                    self._answers.put(None)
                else:
                    break
        except ClientDisconnected as gone:
            # The thread learns it at its next step; as long as it is busy the request counts as running.
            self.abandon()
            while order is not _DONE and not isinstance(order, BaseException):
                order = await self._next_order()
            order = gone if order is _DONE else order
        finally:
            self.abandon()
        # Not within the `except`: with the client's leaving for its context, it would pass for a farewell.
        if order is not _DONE:
            raise order

    def abandon(self) -> None:
        """Nobody waits for the answer: what the thread waits for will not come."""
        self.is_gone = True
        self._answers.put(_GONE)

    async def _next_order(self) -> Any:
        while not self._orders:
            self._is_announced = False
            # The thread may have given one just before it could see that.
            if not self._orders:
                self._news = self._loop.create_future()
                await self._news
        return self._orders.popleft()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


def _refuse() -> NoReturn:
    raise ClientDisconnected("the client is gone")
