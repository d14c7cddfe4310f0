import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.client import request
from support.wire import Wire

from penstock.connection import files
from penstock.connection.exchange import ClientDisconnected, Exchange, ResponseError
from penstock.connection.files import AT_ONCE, SMALL, send_file

Make = Callable[..., Wire]
Failures = list[BaseException]

GET = request()
SMALL_ONE, LARGE_ONE = b"0123456789" * 100, bytes(range(256)) * 8192


def body_of(heard: bytes) -> bytes:
    return heard.partition(b"\r\n\r\n")[2]


class Sender:
    """An app that answers with a part of a file, and notes what that raises."""

    def __init__(self, path: Path, content: bytes, **changes: Any) -> None:
        self.path = path
        path.write_bytes(content)
        self.part = {"offset": 0, "count": len(content), "is_whole": True, **changes}
        self.fields: list[tuple[bytes, bytes]] = []
        self.raised: Failures = []

    async def __call__(self, exchange: Exchange) -> None:
        exchange.start(200, self.fields)
        with self.path.open("rb", buffering=0) as file:
            try:
                await send_file(exchange, file.fileno(), **self.part)
                exchange.write(b"", True)
            except (OSError, EOFError, ResponseError) as error:
                self.raised.append(error)


@pytest.fixture
def sender(tmp_path: Path) -> Callable[..., Sender]:
    return lambda content=LARGE_ONE, **changes: Sender(tmp_path / "file", content, **changes)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """Offset and count of each os.sendfile, and how many octets it took."""
    calls: list[tuple[int, int, int]] = []
    send = os.sendfile

    def watched(out: int, descriptor: int, offset: int, count: int) -> int:
        sent = send(out, descriptor, offset, count)
        calls.append((offset, count, sent))
        return sent

    monkeypatch.setattr(os, "sendfile", watched)
    return calls


@pytest.fixture(params=["kernel", "no sendfile", "it refuses"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way that a file's octets can go."""
    def refuse(*arguments: int) -> int:
        raise OSError(errno.EINVAL, "not with this file")

    if request.param == "no sendfile":
        monkeypatch.delattr(os, "sendfile")
    elif request.param == "it refuses":
        monkeypatch.setattr(os, "sendfile", refuse)
    return str(request.param)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("content", [b"", b"x", SMALL_ONE, b"x" * SMALL, b"x" * (SMALL + 1), LARGE_ONE])
def test_a_file_arrives_whole_with_its_length(wired: Make, sender: Callable[..., Sender], content: bytes) -> None:
    wire = wired(sender(content))
    wire.say(GET)
    heard = wire.hear()
    assert b"content-length: %d\r\n" % len(content) in heard and body_of(heard) == content
    wire.say(GET)
    assert body_of(wire.hear()) == content
    assert wire.answered[0].sent == len(content)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("offset, count", [(0, 10), (1, 99_999), (700_000, 1_000_000), (len(LARGE_ONE), 0)])
def test_a_part_of_a_file_is_that_part(wired: Make, sender: Callable[..., Sender], offset: int, count: int) -> None:
    wire = wired(sender(offset=offset, count=count))
    wire.say(GET)
    assert body_of(wire.hear()) == LARGE_ONE[offset : offset + count]


@pytest.mark.usefixtures("way")
def test_a_piece_of_a_body_of_unknown_length_is_a_chunk(wired: Make, sender: Callable[..., Sender]) -> None:
    wire = wired(sender(is_whole=False))
    wire.say(GET)
    assert body_of(wire.hear()) == b"%x\r\n" % len(LARGE_ONE) + LARGE_ONE + b"\r\n0\r\n\r\n"


@pytest.mark.skipif(not hasattr(os, "pread"), reason="there is no other way")
def test_where_there_is_no_pread_seeking_does(wired: Make, sender: Callable[..., Sender], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pread")
    wire = wired(sender(SMALL_ONE, offset=10, count=50))
    wire.say(GET)
    assert body_of(wire.hear()) == SMALL_ONE[10:60]


def test_a_small_file_leaves_with_its_head_in_one_piece(wired: Make, sender: Callable[..., Sender], kernel: list[Any]) -> None:
    wire = wired(sender(SMALL_ONE))
    wire.peer.send(GET)
    wire.turn()
    assert body_of(wire.peer.recv(1 << 20)) == SMALL_ONE and not kernel


def test_to_head_goes_no_octet_of_a_file(wired: Make, sender: Callable[..., Sender], kernel: list[Any]) -> None:
    wire = wired(sender())
    wire.say(request(method="HEAD"))
    assert wire.hear() == b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(LARGE_ONE) and not kernel


def test_a_file_that_does_not_fit_its_length_is_refused_before_anything_is_sent(wired: Make, sender: Callable[..., Sender]) -> None:
    app = sender()
    app.fields = [(b"content-length", b"10")]
    wire = wired(app)
    wire.say(GET)
    assert type(app.raised[0]) is ResponseError and wire.hear() == b""


def test_a_fast_client_gets_a_piece_in_each_turn(wired: Make, sender: Callable[..., Sender], kernel: list[Any]) -> None:
    wire = wired(sender(b"x" * (3 * AT_ONCE)), send_buffer=1 << 22)
    wire.say(GET)
    assert len(body_of(wire.hear())) == 3 * AT_ONCE
    assert {count for _, count, _ in kernel[:-1]} <= {AT_ONCE, *(3 * AT_ONCE - offset for offset, _, _ in kernel)}


def test_a_client_that_takes_it_slowly_is_waited_for(wired: Make, sender: Callable[..., Sender], kernel: list[Any]) -> None:
    wire = wired(sender(), send_buffer=4096)
    wire.say(GET)
    before = len(kernel)
    wire.turn(100)
    assert len(kernel) == before and wire.service.running
    assert body_of(wire.hear()) == LARGE_ONE and not wire.service.running


def test_what_was_written_before_goes_first(wired: Make, sender: Callable[..., Sender]) -> None:
    file = sender(is_whole=False)

    async def app(exchange: Exchange) -> None:
        exchange.start(200, [(b"content-length", b"%d" % (300_000 + len(LARGE_ONE)))])
        exchange.write(b"y" * 300_000, False)
        with file.path.open("rb") as opened:
            await send_file(exchange, opened.fileno(), 0, len(LARGE_ONE), is_whole=False)
        exchange.write(b"", True)

    wire = wired(app, send_buffer=4096)
    wire.say(GET)
    assert body_of(wire.hear()) == b"y" * 300_000 + LARGE_ONE


def test_pipelined_answers_with_files_keep_their_order(wired: Make, sender: Callable[..., Sender]) -> None:
    file = sender()

    async def app(exchange: Exchange) -> None:
        if exchange.head.path == b"/file":
            await file(exchange)
        else:
            exchange.start(200, [])
            exchange.write(exchange.head.path, True)

    wire = wired(app, send_buffer=4096)
    wire.say(request("/a") + request("/file") + request("/b"))
    head = b"HTTP/1.1 200 OK\r\ncontent-length: "
    assert wire.hear() == b"".join((head, b"2\r\n\r\n/a", head, b"%d\r\n\r\n" % len(LARGE_ONE), LARGE_ONE, head, b"2\r\n\r\n/b"))


@pytest.mark.parametrize("fault", [BlockingIOError(), InterruptedError(), 1])
@pytest.mark.parametrize("nth", [1, 2, 3, 5])
def test_whatever_the_nth_call_does_the_file_arrives(
    wired: Make, sender: Callable[..., Sender], monkeypatch: pytest.MonkeyPatch, fault: Any, nth: int
) -> None:
    send, calls = os.sendfile, 0

    def faulty(out: int, descriptor: int, offset: int, count: int) -> int:
        nonlocal calls
        calls += 1
        if calls == nth and isinstance(fault, OSError):
            raise fault
        return send(out, descriptor, offset, 1 if calls == nth else min(count, 100_000))

    monkeypatch.setattr(os, "sendfile", faulty)
    wire = wired(sender())
    wire.say(GET)
    assert body_of(wire.hear()) == LARGE_ONE and calls > nth


def test_what_the_kernel_refuses_in_the_middle_is_copied(
    wired: Make, sender: Callable[..., Sender], monkeypatch: pytest.MonkeyPatch
) -> None:
    send = os.sendfile

    def tired(out: int, descriptor: int, offset: int, count: int) -> int:
        if offset:
            raise OSError(errno.EIO, "tired")
        return send(out, descriptor, offset, 1000)

    monkeypatch.setattr(os, "sendfile", tired)
    wire = wired(sender())
    wire.say(GET)
    assert body_of(wire.hear()) == LARGE_ONE


# -- the file goes wrong


@pytest.mark.usefixtures("way")
def test_a_file_that_shrinks_meanwhile_cuts_the_connection(wired: Make, sender: Callable[..., Sender]) -> None:
    app = sender()
    wire = wired(app, send_buffer=4096)
    wire.say(GET)
    os.truncate(app.path, 1_000_000)
    assert len(body_of(wire.hear())) <= 1_000_000 and wire.is_ended()
    assert type(app.raised[0]) is EOFError and "changed meanwhile" in str(app.raised[0]) and not wire.service.connections


def test_a_file_that_cannot_be_read_cuts_the_connection(
    wired: Make, sender: Callable[..., Sender], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: int) -> bytes:
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(files, "_read_at", fail)
    app = sender(SMALL_ONE)
    wire = wired(app)
    wire.say(GET)
    assert "the disk is broken" in str(app.raised[0]) and not isinstance(app.raised[0], OSError)
    assert not wire.service.connections


# -- the client goes


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("leaves_by", ["end", "reset"])
def test_a_client_that_goes_ends_the_sending(wired: Make, sender: Callable[..., Sender], leaves_by: str) -> None:
    app = sender()
    wire = wired(app, send_buffer=4096)
    wire.say(GET)
    if leaves_by == "end":
        wire.peer.recv(1 << 20)
    wire.peer.close()
    wire.turn()
    assert type(app.raised[0]) is ClientDisconnected and not wire.service.connections and not wire.service.running


@pytest.mark.usefixtures("way")
def test_a_client_that_stops_reading_is_given_up(wired: Make, sender: Callable[..., Sender]) -> None:
    app = sender()
    wire = wired(app, send_buffer=4096, timeout_write=5)
    wire.say(GET)
    wire.wait(4)
    wire.peer.recv(100_000)
    wire.turn()
    wire.wait(4)
    assert not app.raised
    wire.wait(2)
    assert type(app.raised[0]) is ClientDisconnected and not wire.service.connections


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("leaves", [True, False])
@pytest.mark.parametrize("is_whole", [True, False])
def test_of_a_file_that_does_not_arrive_it_is_known_how_much_was_sent(
    wired: Make, sender: Callable[..., Sender], leaves: bool, is_whole: bool
) -> None:
    wire = wired(sender(is_whole=is_whole), send_buffer=4096, timeout_write=5)
    wire.say(GET)
    taken = body_of(wire.peer.recv(1 << 20))
    if leaves:
        wire.peer.close()
        wire.turn()
    else:
        wire.turn()
        wire.wait(6)
    assert wire.answered[0].ending == ("client gone" if leaves else "write stall")
    assert len(taken) - 10 <= wire.answered[0].sent < len(LARGE_ONE)


@pytest.mark.usefixtures("way")
def test_the_first_octet_is_noted_when_it_leaves(wired: Make, sender: Callable[..., Sender]) -> None:
    wire = wired(sender(), send_buffer=4096)
    wire.say(GET)
    wire.wait(2)
    assert body_of(wire.hear()) == LARGE_ONE
    assert wire.answered[0].first_byte_at == wire.answered[0].started_at


@pytest.mark.usefixtures("way")
def test_a_client_that_has_sent_its_end_still_gets_the_file(wired: Make, sender: Callable[..., Sender]) -> None:
    wire = wired(sender(), send_buffer=4096)
    wire.peer.send(GET)
    wire.end()
    assert body_of(wire.hear()) == LARGE_ONE and wire.is_ended()


def test_a_sending_that_is_cancelled_leaves_no_watch_on_the_socket(wired: Make, sender: Callable[..., Sender], kernel: list[Any]) -> None:
    wire = wired(sender(), send_buffer=4096)
    wire.say(GET)
    (exchange,) = wire.service.running
    assert exchange.task is not None
    exchange.task.cancel()
    wire.turn()
    before = len(kernel)
    wire.peer.recv(1 << 20)
    wire.turn()
    assert len(kernel) == before and not wire.service.running


def test_a_client_that_went_before_is_told(wired: Make, sender: Callable[..., Sender]) -> None:
    app = sender()

    wire = wired(app)
    wire.connection.channel.is_broken = True
    wire.say(GET)
    assert type(app.raised[0]) is ClientDisconnected


def test_any_loop_that_watches_sockets_will_do(sender: Callable[..., Sender]) -> None:
    loop = asyncio.SelectorEventLoop()
    wire = Wire(loop, sender(), send_buffer=4096)
    try:
        wire.say(GET)
        assert body_of(wire.hear()) == LARGE_ONE
        wire.say(GET)
        assert body_of(wire.hear()) == LARGE_ONE
    finally:
        wire.close()
        loop.close()
