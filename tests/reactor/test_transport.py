"""A connected socket as a transport: reading, protocols, and the one way to the end."""

import asyncio
import gc
import os
import socket
import struct
import tracemalloc
from typing import Any

import pytest
from penstock_reactor import EventLoop
from penstock_reactor.transport import SocketTransport
from support.faults import FaultySocket
from support.recorders import InContext, Recorder
from support.streams import Into, finish, opened, turns

Pair = tuple[socket.socket, socket.socket]
Reports = list[dict[str, Any]]


def test_a_connection_is_told_from_beginning_to_end_in_order(loop: EventLoop, pair: Pair) -> None:
    protocol = Recorder()
    pair[1].send(b"early")
    transport = opened(loop, pair[0], protocol)
    loop.run_until_complete(protocol.heard("data_received"))
    pair[1].close()
    loop.run_until_complete(protocol.heard("connection_lost"))
    loop.run_until_complete(turns())
    assert protocol.events == [
        ("connection_made",), ("data_received", b"early"), ("eof_received",), ("connection_lost", None),
    ]
    assert transport.is_closing() and not transport.is_reading() and transport.get_protocol() is None
    assert pair[0].fileno() == -1


def test_eof_received_may_keep_the_connection_open_for_writing(loop: EventLoop, pair: Pair) -> None:
    class KeepsOpen(Recorder):
        def eof_received(self) -> bool:  # type: ignore[override]  # may be true, says asyncio
            super().eof_received()
            return True

    async def main() -> None:
        protocol = KeepsOpen()
        transport = opened(loop, pair[0], protocol)
        pair[1].shutdown(socket.SHUT_WR)
        await protocol.heard("eof_received")
        await turns()
        assert protocol.names() == ["connection_made", "eof_received"]
        transport.resume_reading()
        transport.write(b"answer")
        assert pair[1].recv(10) == b"answer"
        transport.close()
        await protocol.heard("connection_lost")

    loop.run_until_complete(main())


def test_nothing_is_read_while_reading_is_paused(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        protocol = Recorder()
        transport = opened(loop, pair[0], protocol)
        transport.pause_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        pair[1].send(b"waits")
        await turns(5)
        assert not protocol.data()
        assert "read=idle" in repr(transport)
        transport.resume_reading()
        transport.resume_reading()
        assert transport.is_reading()
        await protocol.heard("data_received")
        assert protocol.data() == b"waits"
        await finish(transport, protocol)
        transport.resume_reading()
        assert not transport.is_reading()

    loop.run_until_complete(main())


def test_the_protocol_can_pause_when_it_is_told_of_the_connection(loop: EventLoop, pair: Pair) -> None:
    class Pauses(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.pause_reading()

    async def main() -> None:
        protocol = Pauses()
        transport = opened(loop, pair[0], protocol)
        pair[1].send(b"waits")
        await turns()
        assert not protocol.data()
        transport.resume_reading()
        await protocol.heard("data_received")
        await finish(transport, protocol)

    loop.run_until_complete(main())


def test_a_short_pause_asks_nothing_of_the_poller(
    loop: EventLoop, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = Recorder()
    transport = opened(loop, pair[0], protocol)
    asked: list[int] = []
    monkeypatch.setattr(loop._poller, "watch_reader", lambda fd, _: asked.append(fd))
    transport.pause_reading()
    transport.resume_reading()
    assert not asked
    monkeypatch.undo()
    loop.run_until_complete(finish(transport, protocol))


def test_a_buffered_protocol_is_read_into_its_own_buffer(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        protocol = Into(4)
        opened(loop, pair[0], protocol)
        pair[1].send(b"0123456789")
        pair[1].close()
        while not protocol.lost:
            await turns()
        assert protocol.pieces == [b"0123", b"4567", b"89"]
        assert protocol.ended == 1 and protocol.lost == [None]

    loop.run_until_complete(main())


def test_protocols_of_both_kinds_can_be_switched_while_reading(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        plain, buffered = Recorder(), Into()
        transport = opened(loop, pair[0], plain)
        transport.set_protocol(buffered)
        assert transport.get_protocol() is buffered
        pair[1].send(b"one")
        while not buffered.pieces:
            await turns()
        transport.set_protocol(plain)
        pair[1].send(b"two")
        await plain.heard("data_received")
        assert (plain.data(), buffered.pieces) == (b"two", [b"one"])
        await finish(transport, plain)

    loop.run_until_complete(main())


def test_an_empty_buffer_ends_the_connection(loop: EventLoop, pair: Pair, reports: Reports) -> None:
    async def main() -> None:
        protocol = Into(0)
        opened(loop, pair[0], protocol)
        pair[1].send(b"x")
        while not protocol.lost:
            await turns()
        assert isinstance(protocol.lost[0], RuntimeError)

    loop.run_until_complete(main())
    assert "get_buffer" in reports[0]["message"]


@pytest.mark.parametrize("method", ["connection_made", "data_received", "eof_received"])
def test_a_protocol_that_raises_is_reported_and_loses_its_connection(
    loop: EventLoop, pair: Pair, reports: Reports, method: str
) -> None:
    error = ValueError("of the protocol")

    def fail(*_: object) -> None:
        raise error

    async def main() -> None:
        protocol = Recorder()
        setattr(protocol, method, fail)
        transport = opened(loop, pair[0], protocol)
        pair[1].send(b"x")
        pair[1].shutdown(socket.SHUT_WR)
        assert await protocol.heard("connection_lost") == ("connection_lost", error)
        (report,) = reports
        assert method in report["message"]
        assert (report["exception"], report["transport"], report["protocol"]) == (error, transport, protocol)

    loop.run_until_complete(main())


@pytest.mark.parametrize("leaver", [KeyboardInterrupt, SystemExit])
def test_the_leaving_exceptions_leave_the_loop(loop: EventLoop, pair: Pair, leaver: type[BaseException]) -> None:
    class Leaves(Recorder):
        def data_received(self, data: bytes) -> None:
            raise leaver

    protocol = Leaves()
    transport = opened(loop, pair[0], protocol)
    pair[1].send(b"x")
    with pytest.raises(leaver):
        loop.run_forever()
    loop.run_until_complete(finish(transport, protocol))


@pytest.mark.skipif(os.name == "nt", reason="a reset cannot be made to order there; the next test injects one")
def test_a_reset_by_the_peer_is_told_and_not_reported(loop: EventLoop, reports: Reports) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            peer = socket.create_connection(listener.getsockname())
            sock, _ = listener.accept()
        sock.setblocking(False)
        protocol = Recorder()
        opened(loop, sock, protocol)
        # A linger of no time makes close() send a reset.
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        lost = await protocol.heard("connection_lost")
        assert isinstance(lost[1], ConnectionResetError)

    loop.run_until_complete(main())
    assert not reports


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("fault", [BlockingIOError(), InterruptedError(), ConnectionResetError()])
def test_a_failed_read_is_tried_again_or_ends_the_connection(
    loop: EventLoop, pair: Pair, nth: int, fault: OSError
) -> None:
    async def main() -> None:
        protocol = Recorder()
        transport = opened(loop, FaultySocket(pair[0], recv={nth: fault}), protocol)
        pair[1].send(b"one")
        if isinstance(fault, ConnectionResetError) and nth == 1:
            assert await protocol.heard("connection_lost") == ("connection_lost", fault)
            return
        await protocol.heard("data_received")
        pair[1].send(b"two")
        if isinstance(fault, ConnectionResetError):
            assert await protocol.heard("connection_lost") == ("connection_lost", fault)
            return
        await protocol.heard("data_received", 2)
        assert protocol.data() == b"onetwo"
        await finish(transport, protocol)

    loop.run_until_complete(main())


def test_a_failure_of_the_network_is_a_debug_line(
    loop: EventLoop, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        protocol = Recorder()
        opened(loop, FaultySocket(pair[0], recv={1: TimeoutError()}), protocol)
        pair[1].send(b"x")
        await protocol.heard("connection_lost")

    loop.set_debug(True)
    with caplog.at_level("DEBUG", "asyncio"):
        loop.run_until_complete(main())
    assert [record.levelname for record in caplog.records if "read error" in record.message] == ["DEBUG"]


def test_a_poller_without_room_ends_the_connection(
    loop: EventLoop, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError("no room")

    def refuse(fd: int, callback: object) -> None:
        raise full

    async def main() -> None:
        protocol = Recorder()
        monkeypatch.setattr(loop._poller, "watch_reader", refuse)
        opened(loop, pair[0], protocol)
        assert await protocol.heard("connection_lost") == ("connection_lost", full)

    loop.run_until_complete(main())


def test_what_one_connection_sets_in_its_context_no_other_sees(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        protocol = InContext()
        transport = opened(loop, pair[0], protocol)
        pair[1].send(b"x")
        await protocol.heard("data_received")
        await finish(transport, protocol)
        assert protocol.seen("data_received") == protocol.seen("connection_lost") == ["inner"]
        assert protocol.var.get() == "outer"

    loop.run_until_complete(main())


def test_extra_info_knows_the_socket_and_both_names_also_after_the_end(loop: EventLoop) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            peer = socket.create_connection(listener.getsockname())
            sock, _ = listener.accept()
        sock.setblocking(False)
        protocol = Recorder()
        transport = opened(loop, sock, protocol)
        names = sock.getsockname(), sock.getpeername()
        assert isinstance(transport.get_extra_info("socket"), asyncio.trsock.TransportSocket)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await finish(transport, protocol)
        peer.close()
        assert (transport.get_extra_info("sockname"), transport.get_extra_info("peername")) == names
        assert transport.get_extra_info("unknown", 42) == 42
        assert repr(transport) == "<SocketTransport closed>"

    loop.run_until_complete(main())


def test_nobody_else_may_watch_the_descriptor_of_a_live_transport(loop: EventLoop, pair: Pair) -> None:
    protocol = Recorder()
    transport = opened(loop, pair[0], protocol)
    with pytest.raises(RuntimeError, match="is used by transport"):
        loop.add_reader(pair[0], print)
    loop.run_until_complete(finish(transport, protocol))


def test_close_and_abort_tell_of_the_end_once(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        protocol = Recorder()
        transport = opened(loop, pair[0], protocol)
        for _ in range(2):
            transport.close()
            transport.abort()
        assert protocol.names() == ["connection_made"]
        await protocol.heard("connection_lost")
        transport.close()
        transport.abort()
        await turns()
        assert protocol.names() == ["connection_made", "connection_lost"]

    loop.run_until_complete(main())


def test_a_transport_left_open_is_warned_about(loop: EventLoop, pair: Pair) -> None:
    transport = SocketTransport(loop, pair[0], Recorder())
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        del transport
        gc.collect()


def test_thousands_of_connections_leave_nothing_behind(loop: EventLoop) -> None:
    async def connect(times: int) -> None:
        for _ in range(times):
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            protocol = Recorder()
            transport = opened(loop, ours, protocol)
            theirs.send(b"hello")
            await protocol.heard("data_received")
            transport.write(b"answer")
            theirs.close()
            await protocol.heard("connection_lost")

    gc.collect()
    loop.run_until_complete(connect(200))
    gc.disable()
    try:
        # Without the collector: there must be no cycles that only it could free.
        before = len(gc.get_objects())
        tracemalloc.start()
        loop.run_until_complete(connect(2000))
        grown, _ = tracemalloc.get_traced_memory()
        assert len(gc.get_objects()) - before < 200
        assert grown < 100_000
    finally:
        tracemalloc.stop()
        gc.enable()
