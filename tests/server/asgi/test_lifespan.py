import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest

from penstock.asgi import lifespan as module
from penstock.asgi.lifespan import Lifespan, LifespanFailed

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LOG = logging.getLogger("test.lifespan")


def make(
    app: Callable[..., Awaitable[Any]], mode: str = "auto", start: float | None = 5, stop: float | None = 5
) -> Lifespan:
    return Lifespan(app, mode, LOG, start, stop)


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run it within a bound, and see that no task is left behind."""

    async def bounded() -> set[Any]:
        await asyncio.wait_for(work, 10)
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(bounded()) == set()


@pytest.fixture(autouse=True)
def all_messages(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, LOG.name)


@pytest.fixture
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.02)
    monkeypatch.setattr(module, "_LAST_GRACE", 0.2)


class WellBehaved:
    """Does all that the specification asks for, and notes what it was told."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.heard.append({key: value for key, value in scope.items() if key != "state"})
        self.heard.append(await receive())
        scope["state"]["pool"] = "ready"
        await send({"type": "lifespan.startup.complete"})
        self.heard.append(await receive())
        await send({"type": "lifespan.shutdown.complete"})


def test_an_application_is_told_of_start_and_stop() -> None:
    app = WellBehaved()

    async def live() -> None:
        lifespan = make(app)
        assert lifespan.state is None
        await lifespan.startup()
        assert lifespan.state == {"pool": "ready"}
        assert app.heard == [
            {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}}, {"type": "lifespan.startup"},
        ]
        await lifespan.shutdown()
        assert app.heard[2:] == [{"type": "lifespan.shutdown"}]

    run(live())


def test_switched_off_the_application_is_not_asked(caplog: pytest.LogCaptureFixture) -> None:
    app = WellBehaved()

    async def live() -> None:
        lifespan = make(app, "off")
        await lifespan.startup()
        await lifespan.shutdown()
        assert lifespan.state is None

    run(live())
    assert app.heard == [] and caplog.messages == []


async def refuses(scope: Message, receive: Receive, send: Send) -> None:
    raise ValueError(f"knows nothing of {scope['type']}")


async def returns(scope: Message, receive: Receive, send: Send) -> None:
    pass


async def listens_and_fails(scope: Message, receive: Receive, send: Send) -> None:
    await receive()
    raise ValueError("no database")


@pytest.mark.parametrize("app, level, told", [
    (refuses, logging.INFO, "does not use lifespan"),
    (returns, logging.INFO, "does not use lifespan"),
    (listens_and_fails, logging.WARNING, "ValueError: no database"),
])
def test_an_application_without_lifespan_is_served_without_state(
    app: Any, level: int, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def live() -> None:
        lifespan = make(app)
        await lifespan.startup()
        assert lifespan.state is None
        await lifespan.shutdown()

    run(live())
    record = next(each for each in caplog.records if told in each.getMessage())
    assert record.levelno == level


@pytest.mark.parametrize("app, told", [
    (refuses, "ValueError: knows nothing of lifespan"), (returns, "no lifespan"), (listens_and_fails, "no database"),
])
def test_asked_for_lifespan_an_application_without_it_does_not_start(app: Any, told: str) -> None:
    async def live() -> None:
        with pytest.raises(LifespanFailed, match=told) as caught:
            await make(app, "on").startup()
        assert "penstock/asgi" not in str(caught.value)

    run(live())


async def announces_failure(scope: Message, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database\n"})


async def announces_and_raises(scope: Message, receive: Receive, send: Send) -> None:
    await receive()
    try:
        raise ConnectionError("no database")
    except ConnectionError:
        await send({"type": "lifespan.startup.failed"})
        raise


async def announces_and_waits(scope: Message, receive: Receive, send: Send) -> None:
    await announces_failure(scope, receive, send)
    await receive()


async def ends_the_program(scope: Message, receive: Receive, send: Send) -> None:
    raise SystemExit("no database")


@pytest.mark.parametrize("app", [announces_failure, announces_and_raises, announces_and_waits, ends_the_program])
def test_a_failed_start_is_one_in_every_mode(app: Any) -> None:
    async def live() -> None:
        for mode in ("auto", "on"):
            lifespan = make(app, mode)
            with pytest.raises(LifespanFailed, match="no database"):
                await lifespan.startup()
            assert lifespan.state is None
            await lifespan.shutdown()

    run(live())


async def hangs(scope: Message, receive: Receive, send: Send) -> None:
    await receive()
    async with connecting():
        pass


@contextlib.asynccontextmanager
async def connecting() -> AsyncIterator[None]:
    await asyncio.sleep(60)  # the line at which it hangs
    yield


@pytest.mark.usefixtures("little_patience")
def test_a_start_that_takes_long_is_shown_and_then_given_up(caplog: pytest.LogCaptureFixture) -> None:
    async def live() -> None:
        with pytest.raises(LifespanFailed, match=r"still starting after 0\.1 s \(--timeout-startup\)") as caught:
            await make(hangs, start=0.1).startup()
        assert "the line at which it hangs" in str(caught.value)

    run(live())
    warnings = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "still starting after 0.02 s" in warnings[0] and "the line at which it hangs" in warnings[0]


@pytest.mark.usefixtures("little_patience")
@pytest.mark.parametrize("limit", [5, None])
def test_a_start_that_takes_long_may_still_succeed(limit: float | None, caplog: pytest.LogCaptureFixture) -> None:
    async def slow(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        while not caplog.records[-1].levelno == logging.WARNING:
            await asyncio.sleep(0.01)
        await send({"type": "lifespan.startup.complete"})
        await receive()

    async def live() -> None:
        lifespan = make(slow, start=limit)
        await lifespan.startup()
        assert lifespan.state == {}
        await lifespan.shutdown()

    run(live())


def test_a_start_that_blocks_the_loop_over_its_limit_is_late_but_done() -> None:
    async def blocks(scope: Message, receive: Receive, send: Send) -> None:
        import time

        time.sleep(0.05)
        await send({"type": "lifespan.startup.complete"})
        await receive()

    async def live() -> None:
        lifespan = make(blocks, start=0.01)
        await lifespan.startup()
        assert lifespan.state == {}
        await lifespan.shutdown()

    run(live())


@pytest.mark.usefixtures("little_patience")
def test_whoever_cancels_the_start_cancels_the_application() -> None:
    async def live() -> None:
        starting = asyncio.ensure_future(make(hangs, start=None).startup())
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting

    run(live())


@pytest.mark.usefixtures("little_patience")
def test_whoever_cancels_the_stop_cancels_the_application() -> None:
    async def live() -> None:
        lifespan = make(starts_then(asyncio.Event().wait), stop=None)
        await lifespan.startup()
        stopping = asyncio.ensure_future(lifespan.shutdown())
        await asyncio.sleep(0)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping

    run(live())


def starts_then(stop: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[None]]:
    """An application that starts well and, when told to stop, awaits stop()."""

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await stop()

    return app


@pytest.mark.usefixtures("little_patience")
def test_a_stop_that_takes_too_long_is_given_up() -> None:
    async def live() -> None:
        lifespan = make(starts_then(asyncio.Event().wait), stop=0.05)
        await lifespan.startup()
        with pytest.raises(LifespanFailed, match=r"still stopping after 0\.05 s \(--timeout-shutdown\)"):
            await lifespan.shutdown()

    run(live())


def test_a_stop_that_fails_is_told() -> None:
    async def fail() -> None:
        raise ConnectionError("pool is gone")

    async def live() -> None:
        lifespan = make(starts_then(fail))
        await lifespan.startup()
        with pytest.raises(LifespanFailed, match="failed while stopping.\n(?s:.*)ConnectionError: pool is gone"):
            await lifespan.shutdown()

    run(live())


def test_a_stop_that_is_announced_as_failed_is_told() -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "pool is gone"})

    async def live() -> None:
        lifespan = make(app)
        await lifespan.startup()
        with pytest.raises(LifespanFailed, match="failed while stopping.\npool is gone"):
            await lifespan.shutdown()

    run(live())


def test_an_application_that_just_returns_when_told_to_stop_has_stopped() -> None:
    async def live() -> None:
        lifespan = make(starts_then(_nothing))
        await lifespan.startup()
        await lifespan.shutdown()
        await lifespan.shutdown()

    run(live())


async def _nothing() -> None:
    pass


def test_an_application_that_waits_for_a_third_message_is_not_waited_for() -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        while True:
            await send({"type": (await receive())["type"] + ".complete"})

    async def live() -> None:
        lifespan = make(app)
        await lifespan.startup()
        begin = asyncio.get_running_loop().time()
        await lifespan.shutdown()
        # A second is what an application gets that is busy; this one is known to wait in vain.
        assert asyncio.get_running_loop().time() - begin < module._LAST_GRACE

    run(live())


@pytest.mark.usefixtures("little_patience")
def test_an_application_that_cannot_be_cancelled_is_named(caplog: pytest.LogCaptureFixture) -> None:
    free = asyncio.Event()

    async def stubborn() -> None:
        while not free.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await free.wait()  # here it sits

    async def live() -> None:
        lifespan = make(starts_then(stubborn), stop=0.01)
        await lifespan.startup()
        with pytest.raises(LifespanFailed):
            await lifespan.shutdown()
        free.set()
        await asyncio.sleep(0.01)

    run(live())
    last = caplog.messages[-1]
    assert "does not end although cancelled" in last and "here it sits" in last


def test_a_lifespan_that_breaks_while_serving_is_logged_at_once(caplog: pytest.LogCaptureFixture) -> None:
    breaking = asyncio.Event()

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "lifespan.startup.complete"})
        await breaking.wait()
        raise ConnectionError("pool is gone")

    async def live() -> None:
        lifespan = make(app)
        await lifespan.startup()
        breaking.set()
        while lifespan._task is not None and not lifespan._task.done():
            await asyncio.sleep(0)
        assert "ConnectionError: pool is gone" in caplog.messages[-1]
        await lifespan.shutdown()

    run(live())


@pytest.mark.parametrize("message, error, told", [
    (None, TypeError, "a message must be a dict, not NoneType"),
    ({}, ValueError, "a message without 'type'"),
    ({"type": "lifespan.startup.failed", "message": 3}, TypeError, "lifespan.startup.failed: 'message' must be a str, not int"),
])
def test_a_wrong_message_raises_to_the_application(message: Any, error: type[Exception], told: str) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        with pytest.raises(error, match=told):
            await send(message)
        await send({"type": "lifespan.startup.complete"})

    async def live() -> None:
        lifespan = make(app, "on")
        await lifespan.startup()
        await lifespan.shutdown()

    run(live())


@pytest.mark.parametrize("kind", ["lifespan.shutdown.complete", "http.response.start"])
def test_a_message_out_of_order_raises_to_the_application(kind: str) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        with pytest.raises(RuntimeError, match=f"{kind}.*lifespan.startup.complete or lifespan.startup.failed"):
            await send({"type": kind})
        await send({"type": "lifespan.startup.complete"})
        with pytest.raises(RuntimeError, match="nothing was expected"):
            await send({"type": "lifespan.startup.complete"})

    async def live() -> None:
        lifespan = make(app, "on")
        await lifespan.startup()
        await asyncio.sleep(0.01)
        assert lifespan._error is None
        await lifespan.shutdown()

    run(live())


def test_waiting_for_the_stop_with_a_limit_loses_nothing() -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.01)
        assert await receive() == {"type": "lifespan.shutdown"}
        await send({"type": "lifespan.shutdown.complete"})

    async def live() -> None:
        lifespan = make(app)
        await lifespan.startup()
        await asyncio.sleep(0.03)
        await lifespan.shutdown()

    run(live())
