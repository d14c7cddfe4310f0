"""The supervisor with workers that are no processes: what it makes of what happens. Real ones are in tests/whole."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from penstock_reactor import new_event_loop
from support.clock import Clock
from support.hangs import bounded

from penstock.settings import Settings
from penstock.supervisor import fleet, supervisor
from penstock.supervisor.control import Control
from penstock.supervisor.fleet import Phase
from penstock.supervisor.supervisor import Supervisor, supervise
from penstock.supervisor.worker import Worker, reap_strangers

pytestmark = pytest.mark.skipif(os.name == "nt", reason="it has other signals")


class FakeWorker(Worker):
    """A worker without a process: the test speaks for it and ends it."""

    made: list["FakeWorker"] = []
    pid = 0
    refused = 0

    def __init__(self, number: int, generation: int, sockets: Any, now: float) -> None:
        if FakeWorker.refused:
            FakeWorker.refused -= 1
            raise OSError("no more processes")
        self.member = fleet.Member(number, generation, now)
        near, far = socket.socketpair()
        self.control, self.far = Control(near), Control(far)
        self.pid = 10_000_000 + number
        self.process = self  # type: ignore[assignment]  # as far as anybody looks
        self.was_ready = self.is_gone = self.is_killed = False
        self.born, self.running, self.answered, self.words, self.memory = now, 0, 0, 0, None
        self.code: int | None = None
        self.heard: list[str] = []
        self.shares: list[float | None] = []
        FakeWorker.made.append(self)

    def give(self, rest: dict[str, Any]) -> None:
        self.rest = rest

    def question(self) -> None:
        self.heard.append("question")
        self.member = replace(self.member, is_questioned=True)

    def retire(self, *, has_successor: bool) -> None:
        self.heard.append("drain" if has_successor else "stop")

    def kill(self) -> None:
        self.is_killed = True
        self.end(-9)

    def share(self, running: float | None) -> None:
        self.shares.append(running)

    @property
    def returncode(self) -> int | None:
        return self.code

    def poll(self) -> int | None:
        return self.code

    def wait(self) -> None:
        pass

    def describe_end(self) -> str:
        return f"code {self.code}"

    def close(self) -> None:
        self.control.close()
        self.far.close()

    # what it does

    def end(self, code: int = 0) -> None:
        if self.code is None:
            self.code = code
            self.far.close()


class Bench:
    """A supervisor on a loop whose clock the test moves."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, listener: socket.socket) -> None:
        self.loop, self.clock, self.listener = loop, clock, listener
        self.announced: list[Any] = []
        self.supervisor: Any = None
        self.running: asyncio.Task[int] | None = None

    async def start(self, count: int = 1, **options: Any) -> list[FakeWorker]:
        self.supervisor = Supervisor("main:app", Settings(**options), count, [self.listener], self.announced.append)
        self.running = self.loop.create_task(self.supervisor.run())
        await self.turns()
        return list(FakeWorker.made)

    async def turns(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    async def say(self, worker: FakeWorker, word: str, **more: Any) -> None:
        worker.far.say(word, **more)
        await self.turns()

    async def pour(self, worker: FakeWorker, octets: bytes) -> None:
        """Let it say so much, however long that takes, as long as anybody listens."""
        while octets and not worker.is_gone:
            with contextlib.suppress(BlockingIOError):
                octets = octets[worker.far._socket.send(octets) :]
            await asyncio.sleep(0)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, a second at a time."""
        while seconds > 0:
            self.clock.advance(min(1.0, seconds))
            seconds -= 1.0
            self.supervisor._act()
            await self.turns()

    async def end(self, worker: FakeWorker, code: int = 0) -> None:
        worker.end(code)
        await self.turns()
        self.supervisor._act()
        await self.turns()

    def phases(self) -> list[tuple[int, Phase]]:
        return [(each.member.number, each.member.phase) for each in self.supervisor._workers.values()]


Scene = Callable[[Bench], Coroutine[Any, Any, None]]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Scene], None]]:
    """Plays a scene on a bench of its own."""
    monkeypatch.setattr(supervisor, "Worker", FakeWorker)
    monkeypatch.setattr(FakeWorker, "made", [])
    monkeypatch.setattr(FakeWorker, "refused", 0)
    loop = new_event_loop()
    clock = Clock()
    monkeypatch.setattr(loop, "time", clock)
    before = signal.getsignal(signal.SIGTERM)

    def play(scene: Scene) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            bench = Bench(loop, clock, listener)
            try:
                loop.run_until_complete(scene(bench))
            finally:
                bench.supervisor.close()
                if bench.running is not None:
                    bench.running.cancel()
            assert bench.supervisor._workers == {}

    with bounded():
        yield play
    for task in asyncio.all_tasks(loop):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
    loop.close()
    assert signal.getsignal(signal.SIGTERM) == before


Play = Callable[[Scene], None]


def test_it_starts_as_many_as_are_wanted_and_says_where_they_serve(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        one, two = await bench.start(2)
        assert one.rest["app"] == "main:app" and one.rest["path"] == sys.path
        await bench.say(one, "ready")
        assert bench.announced == []
        await bench.say(two, "ready")
        assert bench.announced == [[bench.listener]]
        assert bench.phases() == [(1, Phase.READY), (2, Phase.READY)]

    play(scene)


def test_a_first_start_that_fails_is_said_once_and_ends_with_3(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(bench: Bench) -> None:
        one, two, three = await bench.start(3)
        one.far.say("failed", message="it is broken")
        await bench.say(two, "failed", message="it is broken")
        assert three.heard == ["stop"]
        for worker in (one, two, three):
            await bench.end(worker, 3)
        assert bench.running is not None and await bench.running == 3
        assert caplog.text.count("it is broken") == 1 and "serves on" not in caplog.text

    play(scene)


def test_the_last_words_of_a_process_count_though_it_has_ended(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(bench: Bench) -> None:
        (one,) = await bench.start()
        one.far.say("failed", message="last words")
        one.end(3)
        bench.supervisor._act()
        await bench.turns()
        assert bench.running is not None and await bench.running == 3
        assert "last words" in caplog.text and "ended before" not in caplog.text

    play(scene)


def test_a_reload_retires_the_old_one_when_the_new_one_is_ready(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        (one,) = await bench.start(reload=True)
        await bench.say(one, "ready")
        bench.supervisor.renew("main.py changed")
        await bench.turns()
        two = FakeWorker.made[1]
        assert (two.member.generation, one.heard) == (2, [])
        await bench.say(two, "ready")
        assert one.heard == ["drain"] and two.heard == []
        await bench.end(one)
        assert bench.phases() == [(2, Phase.READY)]

    play(scene)


def test_a_new_generation_that_fails_says_what_goes_on(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(bench: Bench) -> None:
        (one,) = await bench.start(reload=True)
        await bench.say(one, "ready")
        for number, fails in enumerate(("said", "died"), 1):
            bench.supervisor.renew("main.py changed")
            await bench.turns()
            new = FakeWorker.made[number]
            if fails == "said":
                await bench.say(new, "failed", message="broken")
            await bench.end(new, 3)
            assert "The code from before serves on. Save again" in caplog.text
            assert ("broken" if fails == "said" else "ended before it was ready: code 3") in caplog.text
            caplog.clear()
            await bench.pass_time(10)
            assert len(FakeWorker.made) == number + 1 and one.heard == []

    play(scene)


def test_when_the_old_ones_die_too_it_says_each_time_that_nobody_serves(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    nobody = "broken\nNobody serves. It is tried again soon; save again (or send SIGHUP) to try at once."

    async def scene(bench: Bench) -> None:
        (one,) = await bench.start(reload=True)
        await bench.say(one, "ready")
        bench.supervisor.renew("main.py changed")
        await bench.turns()
        await bench.say(FakeWorker.made[1], "failed", message="broken")
        await bench.end(FakeWorker.made[1], 3)
        assert bench.supervisor.status()["state"] == "failed" and "Nobody serves" not in caplog.text
        await bench.end(one, 1)
        for number in (2, 3):
            assert bench.supervisor.status()["state"] == "down"
            caplog.clear()
            await bench.pass_time(5)
            await bench.say(FakeWorker.made[number], "failed", message="broken")
            await bench.end(FakeWorker.made[number], 3)
            assert [record.getMessage() for record in caplog.records] == [nobody]

    play(scene)


def test_at_the_first_start_nothing_goes_on_though_one_is_ready(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(bench: Bench) -> None:
        one, two = await bench.start(2)
        await bench.say(one, "ready")
        await bench.say(two, "failed", message="broken")
        assert [record.getMessage() for record in caplog.records] == ["broken"] and one.heard == ["stop"]

    play(scene)


def test_what_a_stale_start_says_is_of_no_interest(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(bench: Bench) -> None:
        (one,) = await bench.start(reload=True)
        await bench.say(one, "ready")
        for _ in range(2):
            bench.supervisor.renew("main.py changed")
            await bench.turns()
        _, stale, new = FakeWorker.made
        assert stale.heard == ["drain"] and stale.member.phase is Phase.RETIRING
        await bench.say(stale, "failed", message="stale news")
        await bench.say(stale, "ready")
        assert "stale news" not in caplog.text and stale.member.phase is Phase.RETIRING
        await bench.say(new, "ready")
        assert one.heard == ["drain"]

    play(scene)


def test_one_that_dies_by_itself_is_replaced_at_once_and_then_more_and_more_slowly(
    play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(bench: Bench) -> None:
        (one,) = await bench.start()
        await bench.say(one, "ready")
        await bench.end(one, -signal.SIGSEGV)
        assert f"died: code {-signal.SIGSEGV}. Another takes its place." in caplog.text
        two = FakeWorker.made[1]
        await bench.say(two, "ready")
        await bench.end(two, 1)
        assert len(FakeWorker.made) == 2
        await bench.pass_time(1.5)
        assert len(FakeWorker.made) == 3

    play(scene)


def test_one_that_ends_in_peace_has_not_died(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(bench: Bench) -> None:
        (one,) = await bench.start()
        await bench.say(one, "ready")
        await bench.end(one)
        (record,) = caplog.records
        assert record.getMessage() == "The worker 1 (process 10000001) has ended: code 0. Another takes its place."
        assert record.levelname == "WARNING" and len(FakeWorker.made) == 2

    play(scene)


def test_those_that_are_killed_by_others_are_replaced_at_once_every_time(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        await bench.start(2)
        for number in range(20):
            for worker in FakeWorker.made:
                if worker.code is None:
                    await bench.say(worker, "ready")
            await bench.end(FakeWorker.made[-1], -9)
            assert len(FakeWorker.made) == 3 + number

    play(scene)


def test_one_that_we_had_to_kill_does_not_count_as_killed_by_others(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        await bench.start()
        for made in (2, 2):
            worker = FakeWorker.made[-1]
            await bench.say(worker, "ready")
            worker.far._socket.sendall(b"nonsense\n")
            await bench.turns()
            bench.clock.advance(1.1)
            await bench.turns()
            await bench.end(worker)
            assert len(FakeWorker.made) == made

    play(scene)


def test_a_crash_loop_is_given_up_with_1(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(bench: Bench) -> None:
        workers = await bench.start()
        await bench.say(workers[0], "ready")
        for _ in range(11):
            await bench.end(FakeWorker.made[-1], 1)
            await bench.pass_time(31)
        assert bench.running is not None and await bench.running == 1
        assert "Giving up" in caplog.text

    play(scene)


@pytest.mark.parametrize("octets, told", [
    (b"nonsense\n", "it talks nonsense"), (b'{"word": "beat"}\nmore nonsense\n', "it talks nonsense"), (b"", ""),
    (b'{"word": "beat"}\n' * 10_010, "it never stops talking"),
])  # fmt: skip
def test_a_worker_that_talks_nonsense_or_breaks_its_line_is_replaced(
    octets: bytes, told: str, play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(bench: Bench) -> None:
        (one,) = await bench.start()
        await bench.say(one, "ready")
        await bench.pour(one, octets)
        if not octets:
            one.far.close()
        await bench.turns()
        assert not one.is_killed
        assert ("of no use: " + told in caplog.text) == bool(told)
        bench.clock.advance(1.1)
        await bench.turns()
        assert one.is_killed
        bench.supervisor._act()
        assert len(FakeWorker.made) == 2

    play(scene)


def test_a_silent_one_is_asked_and_at_last_replaced(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(bench: Bench) -> None:
        (one,) = await bench.start()
        await bench.say(one, "ready")
        await bench.pass_time(8)
        assert one.heard == ["question"] and "The worker 1 (process 10000001) was not heard for" in caplog.text
        await bench.pass_time(60)
        await bench.say(FakeWorker.made[1], "ready")
        assert one.heard == ["question", "drain"]
        await bench.pass_time(30)
        assert one.is_killed and "which does not end" in caplog.text

    play(scene)


def test_time_in_which_all_slept_is_no_silence(play: Play) -> None:
    """A machine that was suspended, or a whole group of processes that was stopped and goes on."""

    async def scene(bench: Bench) -> None:
        (one,) = await bench.start(timeout_startup=60)
        bench.clock.advance(10_000)
        await bench.turns()
        assert not one.is_killed
        await bench.say(one, "ready")
        bench.clock.advance(10_000)
        await bench.turns()
        assert one.heard == [] and len(FakeWorker.made) == 1

    play(scene)


def test_the_silence_that_is_asked_about_is_an_option(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        (one,) = await bench.start(timeout_worker_healthcheck=2)
        await bench.say(one, "ready")
        await bench.pass_time(3)
        assert one.heard == ["question"]
        await bench.pass_time(22)
        assert len(FakeWorker.made) == 2

    play(scene)


def test_what_holds_a_worker_is_asked_before_it_is_killed(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(bench: Bench) -> None:
        (one,) = await bench.start(timeout_graceful_shutdown=5, timeout_shutdown=1)
        await bench.say(one, "ready")
        bench.supervisor.renew("SIGHUP")
        await bench.turns()
        await bench.say(FakeWorker.made[1], "ready")
        await bench.pass_time(8)
        assert one.heard == ["drain"]
        await bench.say(one, "leaving")
        await bench.pass_time(1)
        await bench.say(one, "leaving")
        assert one.heard == ["drain", "question"] and "is still retiring. It stands here" in caplog.text
        await bench.pass_time(2)
        assert one.heard == ["drain", "question"] and one.is_killed

    play(scene)


def test_at_the_end_it_is_asked_too_whatever_it_was_asked_before(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(bench: Bench) -> None:
        (one,) = await bench.start(timeout_graceful_shutdown=5, timeout_shutdown=1)
        await bench.say(one, "ready")
        await bench.pass_time(6)
        assert one.heard == ["question"]
        bench.supervisor.stop()
        await bench.turns()
        await bench.pass_time(9)
        assert one.heard == ["question", "stop", "question"] and "is still retiring. It stands here" in caplog.text
        await bench.pass_time(2)
        assert one.is_killed

    play(scene)


@pytest.mark.parametrize("word, more, because", [
    ("worn", {"because": "has given 7 answers"}, "has given 7 answers"),
    ("beat", {"memory": 300 << 20}, "has 300 MiB resident after 16 s (is --limit-worker-memory 200 too little?)"),
])  # fmt: skip
def test_a_worn_one_serves_until_another_does(
    word: str, more: dict[str, Any], because: str, play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async def scene(bench: Bench) -> None:
        (one,) = await bench.start(limit_worker_memory=200)
        await bench.say(one, "ready")
        # At first its memory does not count.
        for memory in (300, 300, 300, 190):
            await bench.say(one, "beat", memory=memory << 20)
            await bench.pass_time(4)
        assert len(FakeWorker.made) == 1
        for _ in range(2):
            await bench.say(one, word, **more)
        assert caplog.text.count(f"The worker 1 (process 10000001) {because}: another takes its place") == 1
        assert one.heard == [] and len(FakeWorker.made) == 2
        await bench.say(FakeWorker.made[1], "ready")
        assert one.heard == ["drain"]

    play(scene)


def test_a_worker_that_has_lived_its_time_is_replaced(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        (one,) = await bench.start(worker_lifetime=100)
        await bench.say(one, "ready")
        for _ in range(33):
            await bench.say(one, "beat")
            await bench.pass_time(3)
        assert len(FakeWorker.made) == 1
        await bench.pass_time(15)
        assert len(FakeWorker.made) == 2 and one.heard in ([], ["question"])
        await bench.say(FakeWorker.made[1], "ready")
        assert one.heard[-1] == "drain"

    play(scene)


def test_where_code_cannot_live_twice_the_old_is_gone_before_the_new_starts(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        (one,) = await bench.start(reload=True, reload_mode="restart")
        await bench.say(one, "ready")
        bench.supervisor.renew("main.py changed")
        await bench.turns()
        assert one.heard == ["drain"] and len(FakeWorker.made) == 1
        await bench.end(one)
        assert bench.phases() == [(2, Phase.STARTING)]

    play(scene)


def test_all_are_told_their_share_of_what_runs(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        one, two = await bench.start(2)
        for worker in (one, two):
            await bench.say(worker, "ready")
        await bench.say(one, "busy", running=20)
        await bench.say(two, "beat", running=4)
        bench.clock.advance(0.1)
        await bench.turns()
        assert one.shares == two.shares == [12 * 1.25 + 2]
        assert (one.running, two.running) == (20, 4)

    play(scene)


def test_a_start_that_somebody_kills_is_tried_again_without_blame(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        (one,) = await bench.start(reload=True)
        await bench.say(one, "ready")
        bench.supervisor.renew("main.py changed")
        await bench.turns()
        await bench.end(FakeWorker.made[1], -9)
        assert len(FakeWorker.made) == 2
        await bench.pass_time(1.5)
        await bench.say(FakeWorker.made[2], "ready")
        assert one.heard == ["drain"]

    play(scene)


def test_when_all_have_served_for_a_while_earlier_crashes_are_forgotten(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        await bench.start()
        for _ in range(3):
            await bench.say(FakeWorker.made[-1], "ready")
            await bench.end(FakeWorker.made[-1], 1)
            await bench.pass_time(3)
        await bench.say(FakeWorker.made[-1], "ready")
        await bench.pass_time(4)
        assert bench.supervisor._generation.strikes == 0

    play(scene)


def test_one_that_leaves_by_itself_has_a_successor_at_once(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        (one,) = await bench.start()
        await bench.say(one, "ready")
        await bench.say(one, "leaving")
        assert bench.phases() == [(1, Phase.RETIRING), (2, Phase.STARTING)]

    play(scene)


def test_a_start_that_hangs_is_ended(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(bench: Bench) -> None:
        (one,) = await bench.start(timeout_startup=5)
        await bench.pass_time(11)
        assert one.is_killed and "is still starting after" in caplog.text
        await bench.turns()
        assert bench.running is not None and await bench.running == 3

    play(scene)


def test_when_the_system_has_no_process_it_tries_again(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(bench: Bench) -> None:
        workers = await bench.start(3)
        for worker in workers:
            await bench.say(worker, "ready")
        FakeWorker.refused = 4
        for worker in workers[:2]:
            worker.end(-9)
        # Two at once, and after a second the same.
        await bench.pass_time(2.5)
        assert caplog.text.count("No process for a worker: no more processes") == 2
        assert FakeWorker.refused == 0 and len(FakeWorker.made) == 3
        await bench.pass_time(2)
        assert len(FakeWorker.made) == 5

    play(scene)


def test_new_code_for_which_there_is_no_process_is_not_blamed(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        (one,) = await bench.start(reload=True)
        await bench.say(one, "ready")
        FakeWorker.refused = 1
        bench.supervisor.renew("main.py changed")
        await bench.pass_time(1.5)
        await bench.say(FakeWorker.made[1], "ready")
        assert one.heard == ["drain"]

    play(scene)


def test_a_first_start_for_which_there_is_no_process_ends_with_3(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(bench: Bench) -> None:
        FakeWorker.refused = 2
        assert await bench.start(2) == []
        await bench.pass_time(1)
        assert bench.running is not None and await bench.running == 3
        assert caplog.text.count("No process for a worker: no more processes") == 1

    play(scene)


def test_where_there_is_no_thread_to_speak_to_a_process_none_is_left_and_it_tries_again(
    play: Play, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*words: Any) -> None:
        raise RuntimeError("can't start new thread")

    async def scene(bench: Bench) -> None:
        (one,) = await bench.start()
        await bench.say(one, "ready")
        with monkeypatch.context() as patch:
            patch.setattr(bench.loop, "run_in_executor", refuse)
            one.end(-9)
            await bench.pass_time(0.5)
        two = FakeWorker.made[1]
        assert two.is_killed and two.control.fileno() == -1 and bench.phases() == []
        assert "No process for a worker: can't start new thread" in caplog.text
        await bench.pass_time(1.5)
        assert bench.phases() == [(3, Phase.STARTING)]

    play(scene)


def test_the_clock_is_looked_at_again_whatever_goes_wrong(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise MemoryError

    async def scene(bench: Bench) -> None:
        (one,) = await bench.start(timeout_startup=5)
        bench.loop.set_exception_handler(lambda loop, context: None)
        with monkeypatch.context() as patch:
            patch.setattr(bench.supervisor, "_act", fail)
            bench.clock.advance(1)
            await bench.turns()
        for _ in range(10):
            bench.clock.advance(1)
            await bench.turns()
        assert one.is_killed

    play(scene)


def test_who_is_ready_when_all_is_to_end_is_announced_no_more(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        (one,) = await bench.start()
        bench.supervisor.stop()
        # Before anything is done about it.
        one.far.say("ready")
        bench.supervisor._listen(one)
        assert one.member.phase is Phase.READY and bench.announced == []

    play(scene)


def test_nothing_starts_anew_when_all_is_to_end(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def scene(bench: Bench) -> None:
        (one,) = await bench.start()
        await bench.say(one, "ready")
        bench.supervisor.stop()
        bench.supervisor.renew("penstock ctl")
        await bench.turns()
        assert "starting anew" not in caplog.text and bench.supervisor.status()["generation"] == 1

    play(scene)


def test_signals_stop_restart_and_scale(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        workers = await bench.start()
        await bench.say(workers[0], "ready")
        for number, made in ((signal.SIGTTIN, 2), (signal.SIGTTOU, 2), (signal.SIGHUP, 3)):
            os.kill(os.getpid(), number)
            await asyncio.sleep(0)
            await bench.turns()
            assert len(FakeWorker.made) == made
        assert FakeWorker.made[1].heard == ["drain"]
        os.kill(os.getpid(), signal.SIGTERM)
        await bench.turns()
        assert workers[0].heard == ["stop"] and bench.listener.fileno() == -1
        os.kill(os.getpid(), signal.SIGTERM)
        await bench.turns()
        assert bench.running is not None and await bench.running == 1

    play(scene)


def test_there_is_always_one_worker_wanted(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        workers = await bench.start()
        await bench.say(workers[0], "ready")
        bench.supervisor.scale(1)
        assert workers[0].heard == []

    play(scene)


def test_a_terminal_that_goes_away_ends_it(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(bench: Bench) -> None:
        monkeypatch.setattr(os, "isatty", lambda number: True)
        workers = await bench.start()
        await bench.say(workers[0], "ready")
        bench.supervisor._on_hangup()
        assert len(FakeWorker.made) == 2
        monkeypatch.setattr(os, "isatty", lambda number: False)
        # Kernel and shell say so, both.
        for _ in range(2):
            bench.supervisor._on_hangup()
            await bench.turns()
        assert workers[0].heard == ["stop"] and bench.running is not None and not bench.running.done()

    play(scene)


def test_a_save_is_seen_and_named(play: Play, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    elsewhere = tmp_path / "elsewhere" / "lib.py"
    elsewhere.parent.mkdir()
    elsewhere.write_text("1")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.py").write_text("1")

    async def changed(bench: Bench, made: int) -> None:
        while len(FakeWorker.made) < made:
            bench.clock.advance(0.1)
            await asyncio.sleep(0)

    async def scene(bench: Bench) -> None:
        (one,) = await bench.start(reload=True, reload_dirs=(str(tmp_path / "src"),))
        await bench.say(one, "files", paths=[str(elsewhere)])
        await bench.say(one, "ready")
        (tmp_path / "src" / "main.py").write_text("22")
        (tmp_path / "src" / "new.py").write_text("22")
        await changed(bench, 2)
        assert f"{os.path.relpath(tmp_path / 'src' / 'main.py')} changed" in caplog.text
        await bench.say(FakeWorker.made[1], "ready")
        elsewhere.write_text("22")
        await changed(bench, 3)
        assert f"{os.path.relpath(elsewhere)} changed: starting anew" in caplog.text

    play(scene)


def test_as_the_first_process_it_buries_strangers_and_not_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    own = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    stranger = os.posix_spawn(sys.executable, [sys.executable, "-c", "pass"], os.environ)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with bounded():
        # Until it has ended, this waits; it is not taken away.
        os.waitid(os.P_PID, own.pid, os.WEXITED | os.WNOWAIT)
        os.waitid(os.P_PID, stranger, os.WEXITED | os.WNOWAIT)
    reap_strangers({own.pid})
    assert own.wait() == 3
    reap_strangers(set())
    with pytest.raises(ChildProcessError):
        os.waitpid(stranger, os.WNOHANG)


@pytest.mark.parametrize("options, told", [
    ({"reload_dirs": ("no-such-folder",)}, "there is no such folder (--reload-dir)"),
    ({"host": "no-such-host.invalid"}, "the host name"),
])
def test_what_cannot_be_had_is_one_message_and_1(
    options: dict[str, Any], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    loop = new_event_loop()
    assert loop.run_until_complete(supervise("main:app", Settings(port=0, reload=True, **options), 1)) == 1
    loop.close()
    assert told in caplog.text and len(caplog.records) == 1


def test_supervise_leaves_nothing_open(play: Play) -> None:
    loop = new_event_loop()

    async def ends() -> int:
        running = asyncio.ensure_future(supervise("main:app", Settings(port=0), 1))
        while not FakeWorker.made:
            await asyncio.sleep(0)
        FakeWorker.made[0].end(3)
        return await running

    assert loop.run_until_complete(ends()) == 3
    loop.close()
    FakeWorker.made[0].close()
