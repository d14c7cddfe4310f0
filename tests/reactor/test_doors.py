"""Doors: readers and writers of the public interface, and that every door leads to its room."""

import asyncio
import contextvars
import importlib
import inspect
import os
import selectors
import socket
import sys
from typing import Any

import pytest
from penstock_reactor import EventLoop
from penstock_reactor.poller import Poller

Pair = tuple[socket.socket, socket.socket]


def turn(loop: EventLoop) -> None:
    loop.stop()
    loop.run_forever()


def test_a_reader_is_called_in_every_turn_with_data(loop: EventLoop, pair: Pair) -> None:
    seen: list[str] = []
    loop.add_reader(pair[0], seen.append, "readable")
    pair[1].send(b"x")
    turn(loop)
    turn(loop)
    assert seen == ["readable"] * 2
    assert loop.remove_reader(pair[0].fileno()) is True
    assert loop.remove_reader(pair[0]) is False
    turn(loop)
    assert seen == ["readable"] * 2


def test_a_writer_is_called_while_there_is_room(loop: EventLoop, pair: Pair) -> None:
    seen: list[str] = []
    loop.add_writer(pair[0].fileno(), seen.append, "writable")
    turn(loop)
    assert loop.remove_writer(pair[0]) is True
    assert loop.remove_writer(pair[0]) is False
    assert seen == ["writable"]


@pytest.mark.skipif(sys.platform == "win32", reason="select() takes only sockets there")
def test_pipes_can_be_watched_where_the_platform_allows(loop: EventLoop) -> None:
    reading, writing = os.pipe()
    seen: list[bytes] = []
    loop.add_reader(reading, lambda: seen.append(os.read(reading, 10)))
    os.write(writing, b"x")
    turn(loop)
    loop.remove_reader(reading)
    os.close(reading)
    os.close(writing)
    assert seen == [b"x"]


def test_readers_run_in_the_context_they_were_added_in(loop: EventLoop, pair: Pair) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    seen: list[str] = []

    def add() -> None:
        variable.set("added")
        loop.add_writer(pair[0], lambda: seen.append(variable.get()))

    contextvars.copy_context().run(add)
    turn(loop)
    loop.remove_writer(pair[0])
    assert seen == ["added"]


def test_adding_replaces_and_returns_nothing(loop: EventLoop, pair: Pair) -> None:
    seen: list[str] = []
    loop.add_writer(pair[0], pytest.fail, "replaced")
    result: Any = loop.add_writer(pair[0], seen.append, "second")  # type: ignore[func-returns-value]
    assert result is None
    turn(loop)
    loop.remove_writer(pair[0])
    assert seen == ["second"]


def test_what_is_no_descriptor_is_refused(loop: EventLoop) -> None:
    for method in (loop.add_reader, loop.add_writer):
        with pytest.raises(ValueError):
            method("text", int)
    for remove in (loop.remove_reader, loop.remove_writer):
        with pytest.raises(ValueError):
            remove("text")


@pytest.mark.parametrize("direction", ["reader", "writer"])
def test_what_was_closed_can_still_be_removed(loop: EventLoop, direction: str) -> None:
    first, second = socket.socketpair()
    getattr(loop, f"add_{direction}")(first, int)
    first.close()
    second.close()
    assert getattr(loop, f"remove_{direction}")(first) is True
    with pytest.raises(ValueError):
        getattr(loop, f"remove_{direction}")(first)


def test_after_the_loop_closed_there_is_nothing_to_remove(loop: EventLoop, pair: Pair) -> None:
    loop.close()
    pair[0].close()
    assert loop.remove_reader(pair[0]) is False
    assert loop.remove_writer(pair[0]) is False


def test_the_descriptor_of_a_live_transport_is_refused(loop: EventLoop, pair: Pair) -> None:
    class Transport:
        def is_closing(self) -> bool:
            return False

    transport = Transport()
    loop._transports[pair[0].fileno()] = transport
    for call in (
        lambda: loop.add_reader(pair[0], int), lambda: loop.add_writer(pair[0], int),
        lambda: loop.remove_reader(pair[0]), lambda: loop.remove_writer(pair[0]),
    ):
        with pytest.raises(RuntimeError, match="used by transport"):
            call()


def test_a_loop_tells_the_free_room_of_its_platform() -> None:
    loop = EventLoop(Poller(selectors.SelectSelector(), limit=10))
    assert loop.free_room() == 9
    loop.close()
    unlimited = EventLoop(Poller(selectors.DefaultSelector()))
    unlimited.close()


def test_a_loop_lives_on_when_the_platforms_limit_is_reached() -> None:
    loop = EventLoop(Poller(selectors.SelectSelector(), limit=3))
    sockets = [one for _ in range(2) for one in socket.socketpair()]
    seen: list[int] = []
    for number in (0, 1):
        loop.add_reader(sockets[number], seen.append, number)
    with pytest.raises(OSError, match="3 descriptors"):
        loop.add_reader(sockets[2], int)
    sockets[1].send(b"x")
    turn(loop)
    assert seen == [0]
    loop.close()
    for one in sockets:
        one.close()


# A door, its room, and how many arguments it takes before the keywords.
DOORS = [
    ("create_connection", "connector", 3), ("create_unix_connection", "connector", 2), ("create_server", "acceptor", 3),
    ("create_unix_server", "acceptor", 2), ("connect_accepted_socket", "acceptor", 2), ("start_tls", "tls", 3),
    ("sendfile", "sendfile", 2), ("create_datagram_endpoint", "datagram", 3), ("connect_read_pipe", "pipe_ends", 2),
    ("connect_write_pipe", "pipe_ends", 2), ("subprocess_exec", "subprocess", 2), ("subprocess_shell", "subprocess", 2),
]


@pytest.mark.parametrize("method, room, _count", DOORS)
def test_every_door_leads_to_a_room_that_takes_what_asyncio_takes(method: str, room: str, _count: int) -> None:
    function = getattr(importlib.import_module(f"penstock_reactor.{room}"), method)
    ours = inspect.signature(function).parameters.values()
    if any(one.kind is one.VAR_KEYWORD for one in ours):
        pytest.skip("takes every keyword, for subprocess.Popen")
    theirs = inspect.signature(getattr(asyncio.AbstractEventLoop, method)).parameters.values()
    # The abstract class still names what create_datagram_endpoint refuses since 3.11.
    wanted = {one.name for one in theirs if one.kind is one.KEYWORD_ONLY} - {"reuse_address" * (room == "datagram")}
    assert wanted <= {one.name for one in ours}


@pytest.mark.parametrize("method, _room, count", DOORS)
def test_every_door_opens_and_hands_out_the_rooms_coroutine(
    loop: EventLoop, method: str, _room: str, count: int
) -> None:
    coro = getattr(loop, method)(*[None] * count)
    assert inspect.iscoroutine(coro)
    coro.close()


@pytest.mark.parametrize("method, room, count", [door for door in DOORS if door[1] != "subprocess"])
def test_a_wrong_argument_is_refused_at_the_door(loop: EventLoop, method: str, room: str, count: int) -> None:
    with pytest.raises(TypeError, match="no_such_argument"):
        getattr(loop, method)(*[None] * count, no_such_argument=1)
