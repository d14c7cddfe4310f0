import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from penstock_reactor import EventLoop
from support.client import request
from support.wire import Wire, hello

from penstock.codec.http1 import Limits
from penstock.connection.channel import NEVER
from penstock.connection.exchange import Exchange
from penstock.connection.http import MAX_PIPELINED
from penstock.connection.service import AT_ONCE, SWEEP_INTERVAL, Service
from penstock.connection.states import State
from penstock.settings import Settings

Make = Callable[..., Wire]


def make(loop: EventLoop, **options: object) -> Service:
    return Service(Settings(**options), loop, hello)  # type: ignore[arg-type]  # options of any type


def test_without_connections_there_is_no_timer(loop: EventLoop) -> None:
    service = make(loop)
    assert service._sweeper is None


def test_the_sweep_runs_while_there_are_connections_and_once_more(wired: Make) -> None:
    wire = wired()
    assert wire.service._sweeper is not None
    wire.wait(SWEEP_INTERVAL)
    assert wire.service._sweeper is not None
    wire.connection.close()
    wire.wait(SWEEP_INTERVAL)
    assert wire.service._sweeper is None


def test_the_sweep_comes_by_itself(loop: EventLoop) -> None:
    """With the real clock, and a real turn of the loop that waits for it."""
    wire = Wire(loop, timeout_first_byte=0.001)
    del loop.time  # back to the real clock
    wire.connection.deadline = 0.0
    wire.service._sweeper.cancel()  # type: ignore[union-attr]  # set while a connection is open
    wire.service._sweeper = loop.call_later(0, wire.service._sweep)
    loop.run_until_complete(wire.service.drain())
    assert wire.state() is State.CLOSED
    wire.close()


class Overdue:
    """A connection whose time is over, as far as the sweep looks."""

    def __init__(self) -> None:
        self.deadline = 0.0
        self.channel = SimpleNamespace(stalls_at=NEVER)
        self.expired = 0

    def expire(self, now: float) -> None:
        self.expired += 1
        self.deadline = NEVER


def test_of_thousands_that_are_overdue_a_few_act_in_a_turn(loop: EventLoop) -> None:
    service = make(loop)
    overdue = [Overdue() for _ in range(2 * AT_ONCE + 1)]
    service.connections.update(overdue)  # type: ignore[arg-type]  # enough of a connection for the sweep
    service._sweep()
    assert sum(each.expired for each in overdue) == AT_ONCE
    late = next(each for each in overdue if not each.expired)
    late.deadline = NEVER
    for _ in range(5):
        loop.call_soon(loop.stop)
        loop.run_forever()
    assert [each.expired for each in overdue if each is not late] == [1] * (2 * AT_ONCE)
    assert not late.expired, "it has done something in time"
    assert service._sweeper is not None
    service._sweeper.cancel()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not tell")
@pytest.mark.parametrize("leaves_by", ["half an end", "an end"])
def test_an_app_that_waits_is_told_that_its_client_left_behind_more_requests_than_are_read(wired: Make, leaves_by: str) -> None:
    told: list[bytes] = []

    async def wait(exchange: Exchange) -> None:
        while not exchange.is_over:
            exchange.take()
            await exchange.wait_readable()
        told.append(exchange.head.path)
        exchange.start(503, [])
        exchange.write(b"", True)

    wire = wired(wait)
    wire.say(request("/wait"))
    for _ in range(3):
        wire.say(request("/later") * (MAX_PIPELINED // 2 // len(request("/later"))))
    wire.wait(SWEEP_INTERVAL)
    assert not told and not wire.connection.channel.is_reading
    if leaves_by == "an end":
        wire.peer.close()
    else:
        wire.end()
    assert not told
    wire.wait(SWEEP_INTERVAL)
    assert told[0] == b"/wait"
    assert bool(wire.service.connections) is (leaves_by == "half an end")


@pytest.mark.parametrize("options, present, absent", [
    ({}, (b"date: ", b"server: penstock\r\n"), ()),
    ({"date_header": False}, (b"server: ",), (b"date: ",)),
    ({"server_header": False}, (b"date: ",), (b"server: ",)),
    ({"headers": ("X-One: 1", "x-one:2", "X-Empty:")}, (b"date: ", b"server: penstock", b"x-one: 1\r\nx-one: 2\r\nx-empty: \r\n"), ()),
    ({"headers": ("Server:mine", "DATE: now")}, (b"server: mine\r\n", b"date: now\r\n"), (b"penstock", b"GMT")),
    ({"headers": ("x-latin: \xe9",)}, (b"x-latin: \xe9\r\n",), ()),
])
def test_every_answer_gets_date_and_server_as_the_settings_say(
    loop: EventLoop, options: dict[str, Any], present: tuple[bytes, ...], absent: tuple[bytes, ...]
) -> None:
    lines = make(loop, **options).defaults.both
    assert all(each in lines for each in present)
    assert not any(each in lines for each in absent)


def test_the_date_is_renewed_with_the_second(wired: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = wired(date_header=True)
    for second, text in ((784111777, b"Sun, 06 Nov 1994 08:49:37 GMT"), (784111778, b"Sun, 06 Nov 1994 08:49:38 GMT")):
        monkeypatch.setattr("penstock.connection.service.time.time", lambda second=second: second + 0.7)
        wire.wait(SWEEP_INTERVAL)
        wire.say(request())
        assert b"\r\ndate: " + text + b"\r\n" in wire.hear()


def test_a_drain_returns_when_no_connection_and_no_app_is_left(wired: Make) -> None:
    done: list[Exchange] = []
    go = wired().loop.create_future()

    async def background(exchange: Exchange) -> None:
        exchange.start(200, [])
        exchange.write(b"", True)
        await go
        done.append(exchange)

    wire = wired(background)
    wire.say(request("/", fields="connection: close\r\n"))
    draining = wire.loop.create_task(wire.service.drain())
    wire.turn()
    assert not wire.service.connections and not draining.done()
    go.set_result(None)
    wire.turn()
    assert draining.done() and len(done) == 1


def test_with_a_successor_idle_connections_keep_a_drain_waiting_and_their_next_answer_is_the_last(wired: Make) -> None:
    wire = wired()
    wire.say(request())
    wire.hear()
    draining = wire.loop.create_task(wire.service.drain(keeps_idle=5.0))
    wire.turn()
    assert wire.service.connections and not draining.done()
    wire.say(request())
    assert b"\r\nconnection: close\r\n" in wire.hear()
    wire.end()
    assert draining.done()


def test_an_answer_that_began_before_the_drain_is_followed_by_one_that_is_the_last(wired: Make) -> None:
    parts: list[Exchange] = []

    async def in_parts(exchange: Exchange) -> None:
        parts.append(exchange)
        exchange.start(200, [])
        exchange.write(b"first", False)

    wire = wired(in_parts)
    wire.say(request())
    wire.hear()
    draining = wire.loop.create_task(wire.service.drain(keeps_idle=5.0))
    wire.turn()
    parts[0].write(b"last", True)
    wire.say(request())
    parts[1].write(b"last", True)
    assert b"\r\nconnection: close\r\n" in wire.hear()
    wire.end()
    assert draining.done()


def test_at_a_reload_one_that_becomes_idle_during_the_drain_is_kept_as_shortly_as_those_that_were_idle(wired: Make) -> None:
    parts: list[Exchange] = []

    async def in_parts(exchange: Exchange) -> None:
        parts.append(exchange)
        exchange.start(200, [])
        exchange.write(b"first", False)

    wire = wired(in_parts, timeout_keep_alive=60.0)
    # A body that nobody reads, of which the end comes behind the answer.
    wire.say(request("/", "POST", "content-length: 5\r\n"))
    draining = wire.loop.create_task(wire.service.drain(keeps_idle=1.0))
    wire.turn()
    parts[0].write(b"last", True)
    wire.say(b"hello")
    assert wire.state() is State.IDLE
    wire.wait(0.9)
    assert wire.state() is State.IDLE
    wire.wait(0.2)
    assert wire.state() is State.CLOSED and draining.done()


def test_a_drain_of_nothing_returns_at_once(loop: EventLoop) -> None:
    loop.run_until_complete(make(loop).drain())


def test_a_connection_that_opens_during_a_drain_is_answered_and_closed(wired: Make) -> None:
    wire = wired(opens=False)
    draining = wire.loop.create_task(wire.service.drain())
    wire.service.connections.add(wire.connection)
    wire.turn()
    wire.connection.open()
    wire.say(request())
    assert b"\r\nconnection: close\r\n" in wire.hear()
    wire.end()
    assert draining.done()


def test_connections_are_counted_for_each_client(loop: EventLoop) -> None:
    wire = Wire(loop, limit_connections=10, limit_connections_per_client=2)
    service = wire.service
    assert [excess for excess, _ in service.crowding(("192.0.2.1", 99))] == [-9, -1]
    assert [excess for excess, _ in service.crowding(("192.0.2.2", 99))] == [-9, -2]
    assert [excess for excess, _ in service.crowding(None)] == [-9]
    wire.close()
    assert [excess for excess, _ in service.crowding(("192.0.2.1", 99))] == [-10, -2]
    assert service._clients == {}


def test_without_limits_nobody_is_counted(wired: Make) -> None:
    wire = wired()
    assert wire.service.crowding(("192.0.2.1", 99)) == [] and wire.service._clients is None


def test_what_a_peer_may_send_is_taken_from_the_settings(loop: EventLoop) -> None:
    service = make(loop, limit_head=1000, limit_fields=10, lenient_requests=True, drop_underscores=True)
    assert service.limits == Limits(1000, 10, is_lenient=True, is_secure=False, drops_underscores=True)
