"""Datagrams between real sockets: sent, queued, refused, lost."""

import asyncio
import contextvars
import errno
import gc
import socket
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from penstock_reactor import EventLoop, datagram
from penstock_reactor.datagram import HEADER_BYTES, SENDS_EMPTY, DatagramTransport
from support.recorders import Recorder

PATIENCE = 10
LOCAL = ("127.0.0.1", 0)
Open = tuple[DatagramTransport, Recorder]

needs_unix = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no UNIX sockets here")


def run(loop: EventLoop, coro: Coroutine[Any, Any, Any]) -> Any:
    return loop.run_until_complete(asyncio.wait_for(coro, PATIENCE))


async def opened(*addresses: Any, **options: Any) -> Open:
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(Recorder, *addresses, **options)
    assert isinstance(transport, DatagramTransport)
    return transport, protocol


async def closed(*open: Open) -> None:
    for transport, recorder in open:
        transport.close()
        await recorder.heard("connection_lost")


class FullSocket:
    """A socket that takes nothing until it is told to; what it then takes is written down."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.is_full = True
        # How many it takes before it is full again; None: any number.
        self.room: int | None = None
        self.sent: list[tuple[bytes, Any]] = []
        self.fault: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def sendto(self, data: bytes, addr: Any = None) -> int:
        if self.is_full:
            raise BlockingIOError
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        if self.room is not None:
            self.room -= 1
            self.is_full = self.room == 0
        self.sent.append((data, addr))
        return len(data)

    send = sendto


async def opened_full() -> tuple[DatagramTransport, Recorder, FullSocket]:
    transport, recorder = await opened(LOCAL)
    full = FullSocket(transport._sock)
    transport._sock = full
    return transport, recorder, full


def test_bound_and_connected_ends_talk(loop: EventLoop) -> None:
    async def main() -> None:
        server = await opened(LOCAL)
        client = await opened(remote_addr=server[0].get_extra_info("sockname"))
        client[0].sendto(b"ping")
        _, data, address = await server[1].heard("datagram_received")
        assert (data, address) == (b"ping", client[0].get_extra_info("sockname"))
        server[0].sendto(bytearray(b"pong"), address)
        assert await client[1].heard("datagram_received") == (
            "datagram_received", b"pong", server[0].get_extra_info("sockname"),
        )  # fmt: skip
        await closed(server, client)
        assert client[1].names() == ["connection_made", "datagram_received", "connection_lost"]

    run(loop, main())


def test_extra_info_names_both_ends(loop: EventLoop) -> None:
    async def main() -> None:
        server = await opened(LOCAL)
        address = server[0].get_extra_info("sockname")
        client = await opened(remote_addr=address)
        assert server[0].get_extra_info("peername") is None
        assert client[0].get_extra_info("peername") == address
        assert client[0].get_extra_info("socket").getpeername() == address
        assert client[0].get_extra_info("nonsense", "default") == "default"
        assert isinstance(client[0], asyncio.Transport)
        assert isinstance(client[0], asyncio.DatagramTransport)
        await closed(server, client)

    run(loop, main())


def test_the_protocol_can_be_switched(loop: EventLoop) -> None:
    async def main() -> None:
        transport, first = await opened(LOCAL)
        second = Recorder()
        assert transport.get_protocol() is first
        transport.set_protocol(second)
        transport.sendto(b"x", transport.get_extra_info("sockname"))
        await second.heard("datagram_received")
        await closed((transport, second))

    run(loop, main())


def test_the_largest_datagram_arrives_whole(loop: EventLoop) -> None:
    async def main() -> None:
        end = await opened(LOCAL)
        data = b"x" * 65507
        end[0].sendto(data, end[0].get_extra_info("sockname"))
        assert (await end[1].heard("datagram_received"))[1] == data
        await closed(end)

    run(loop, main())


def test_an_empty_datagram_is_sent_where_that_is_documented(loop: EventLoop) -> None:
    async def main() -> None:
        end = await opened(LOCAL)
        address = end[0].get_extra_info("sockname")
        end[0].sendto(b"", address)
        end[0].sendto(b"x", address)
        received = (await end[1].heard("datagram_received"))[1]
        assert received == (b"" if SENDS_EMPTY else b"x")
        assert SENDS_EMPTY == (sys.version_info >= (3, 13))
        await closed(end)

    run(loop, main())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has another error for it, and reports it when it likes")
def test_a_refused_datagram_is_told_and_the_transport_lives(loop: EventLoop) -> None:
    async def main() -> None:
        gone = await opened(LOCAL)
        address = gone[0].get_extra_info("sockname")
        await closed(gone)
        client = await opened(remote_addr=address)
        client[0].sendto(b"anybody?")
        _, error = await client[1].heard("error_received")
        assert isinstance(error, ConnectionRefusedError)
        server = await opened(address)
        client[0].sendto(b"again")
        await server[1].heard("datagram_received")
        await closed(client, server)

    run(loop, main())


def test_a_datagram_too_big_is_told(loop: EventLoop) -> None:
    async def main() -> None:
        end = await opened(LOCAL)
        end[0].sendto(b"x" * 70000, end[0].get_extra_info("sockname"))
        assert end[1].calls("error_received")[0][1].errno == errno.EMSGSIZE
        await closed(end)

    run(loop, main())


def test_a_read_that_would_block_is_nothing(loop: EventLoop) -> None:
    async def main() -> None:
        end = await opened(LOCAL)
        end[0]._on_readable()
        await closed(end)
        assert end[1].names() == ["connection_made", "connection_lost"]

    run(loop, main())


def test_wrong_data_and_wrong_addresses_are_refused(loop: EventLoop) -> None:
    async def main() -> None:
        server = await opened(LOCAL)
        client = await opened(remote_addr=server[0].get_extra_info("sockname"))
        with pytest.raises(TypeError, match="bytes-like object, not 'str'"):
            client[0].sendto("text")  # type: ignore[arg-type]  # that is the point
        with pytest.raises(ValueError, match="Invalid address: must be None or"):
            client[0].sendto(b"x", ("127.0.0.1", 1))
        client[0].sendto(b"x", server[0].get_extra_info("sockname"))
        await server[1].heard("datagram_received")
        await closed(server, client)

    run(loop, main())


def test_a_full_socket_queues_copies_in_order_and_counts_headers(loop: EventLoop) -> None:
    async def main() -> None:
        transport, recorder, full = await opened_full()
        buffer = bytearray(b"one")
        transport.sendto(buffer, ("127.0.0.1", 1))
        buffer[:] = b"xxx"
        transport.sendto(memoryview(b"twoo").cast("I"), ("127.0.0.1", 2))
        assert transport.get_write_buffer_size() == 7 + 2 * HEADER_BYTES
        full.is_full = False
        while transport.get_write_buffer_size():
            await asyncio.sleep(0)
        assert full.sent == [(b"one", ("127.0.0.1", 1)), (b"twoo", ("127.0.0.1", 2))]
        await closed((transport, recorder))

    run(loop, main())


def test_a_socket_that_fills_again_keeps_the_rest_in_order(loop: EventLoop) -> None:
    async def main() -> None:
        transport, recorder, full = await opened_full()
        for number in range(5):
            transport.sendto(str(number).encode(), LOCAL)
        full.is_full, full.room = False, 2
        while len(full.sent) < 2:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert transport.get_write_buffer_size() == 3 * (1 + HEADER_BYTES)
        full.is_full, full.room = False, None
        await closed((transport, recorder))
        assert [data for data, _ in full.sent] == [b"0", b"1", b"2", b"3", b"4"]

    run(loop, main())


def test_an_error_of_the_very_send_is_told_at_once(loop: EventLoop) -> None:
    async def main() -> None:
        transport, recorder, full = await opened_full()
        full.is_full, full.fault = False, OSError("network down")
        transport.sendto(b"lost", LOCAL)
        assert str(recorder.calls("error_received")[0][1]) == "network down"
        assert transport.get_write_buffer_size() == 0
        await closed((transport, recorder))

    run(loop, main())


def test_a_protocol_may_close_before_the_first_datagram(loop: EventLoop) -> None:
    class Brief(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.close()

    async def main() -> None:
        _, recorder = await loop.create_datagram_endpoint(Brief, LOCAL)
        await recorder.heard("connection_lost")

    run(loop, main())


def test_write_limits_pause_and_resume_the_protocol(loop: EventLoop) -> None:
    async def main() -> None:
        transport, recorder, full = await opened_full()
        transport.set_write_buffer_limits(high=2 * (4 + HEADER_BYTES), low=0)
        for _ in range(2):
            transport.sendto(b"1234", LOCAL)
        assert recorder.calls("pause_writing") == []
        transport.sendto(b"1234", LOCAL)
        assert len(recorder.calls("pause_writing")) == 1
        full.is_full = False
        await recorder.heard("resume_writing")
        assert transport.get_write_buffer_size() == 0
        await closed((transport, recorder))

    run(loop, main())


def test_an_error_from_the_queue_is_told_and_the_rest_leaves(loop: EventLoop) -> None:
    async def main() -> None:
        transport, recorder, full = await opened_full()
        transport.sendto(b"lost", LOCAL)
        transport.sendto(b"sent", LOCAL)
        full.is_full, full.fault = False, OSError("network down")
        await recorder.heard("error_received")
        await closed((transport, recorder))
        assert full.sent == [(b"sent", LOCAL)]

    run(loop, main())


def test_a_protocol_may_abort_when_it_hears_of_an_error(loop: EventLoop) -> None:
    async def main() -> None:
        transport, recorder, full = await opened_full()
        recorder.error_received = lambda exc: transport.abort()  # type: ignore[method-assign]  # one instance
        transport.sendto(b"lost", LOCAL)
        transport.sendto(b"dropped", LOCAL)
        full.is_full, full.fault = False, OSError("network down")
        await recorder.heard("connection_lost")
        assert full.sent == []
        assert transport.get_write_buffer_size() == 0

    run(loop, main())


def test_close_sends_what_waits_first(loop: EventLoop) -> None:
    async def main() -> None:
        transport, recorder, full = await opened_full()
        transport.sendto(b"last", LOCAL)
        transport.close()
        assert transport.is_closing()
        await asyncio.sleep(0)
        assert recorder.calls("connection_lost") == []
        full.is_full = False
        assert await recorder.heard("connection_lost") == ("connection_lost", None)
        assert full.sent == [(b"last", LOCAL)]

    run(loop, main())


def test_abort_drops_what_waits(loop: EventLoop) -> None:
    async def main() -> None:
        transport, recorder, full = await opened_full()
        transport.sendto(b"last", LOCAL)
        transport.abort()
        assert transport.get_write_buffer_size() == 0
        await recorder.heard("connection_lost")
        transport.abort()
        transport.close()
        await asyncio.sleep(0)
        assert len(recorder.calls("connection_lost")) == 1
        assert full.sent == []

    run(loop, main())


def test_sending_on_a_closed_transport_is_dropped_with_one_warning(
    loop: EventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        end = await opened(LOCAL)
        await closed(end)
        for _ in range(20):
            end[0].sendto(b"x", LOCAL)
        assert len([record for record in caplog.records if record.name == "asyncio"]) == 1

    run(loop, main())


def test_nothing_is_received_after_close(loop: EventLoop) -> None:
    async def main() -> None:
        end = await opened(LOCAL)
        end[0].sendto(b"x", end[0].get_extra_info("sockname"))
        await closed(end)
        assert end[1].calls("datagram_received") == []

    run(loop, main())


def test_the_protocol_is_called_in_the_context_of_its_making(loop: EventLoop) -> None:
    variable = contextvars.ContextVar("variable", default="outside")

    class Looking(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.note("datagram_received", variable.get())

        def connection_lost(self, exc: BaseException | None) -> None:
            self.note("connection_lost", variable.get())

    async def main() -> None:
        variable.set("inside")
        transport, recorder = await loop.create_datagram_endpoint(Looking, LOCAL)
        variable.set("later")
        transport.sendto(b"x", transport.get_extra_info("sockname"))
        assert await recorder.heard("datagram_received") == ("datagram_received", "inside")
        transport.close()
        assert await recorder.heard("connection_lost") == ("connection_lost", "inside")

    run(loop, main())


def test_a_protocol_that_raises_is_reported_and_goes_on(loop: EventLoop, reports: list[dict[str, Any]]) -> None:
    class Broken(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            raise ZeroDivisionError

    async def main() -> None:
        transport, recorder = await loop.create_datagram_endpoint(Broken, LOCAL)
        for _ in range(2):
            transport.sendto(b"x", transport.get_extra_info("sockname"))
        await recorder.heard("datagram_received", 2)
        transport.close()
        await recorder.heard("connection_lost")

    run(loop, main())
    assert [type(report["exception"]) for report in reports] == [ZeroDivisionError] * 2


def test_a_descriptor_of_a_transport_cannot_be_watched_by_others(loop: EventLoop) -> None:
    async def main() -> None:
        end = await opened(LOCAL)
        with pytest.raises(RuntimeError, match="is used by transport"):
            loop.add_reader(end[0].get_extra_info("socket").fileno(), print)
        await closed(end)

    run(loop, main())


def test_an_unclosed_transport_warns_when_it_is_collected() -> None:
    loop = EventLoop()
    transport, _ = loop.run_until_complete(loop.create_datagram_endpoint(Recorder, LOCAL))
    loop.close()
    with pytest.warns(ResourceWarning, match="unclosed transport <DatagramTransport"):
        del transport, _
        gc.collect()


def test_a_factory_that_raises_leaves_no_socket_open(loop: EventLoop) -> None:
    def broken() -> Recorder:
        raise ZeroDivisionError

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        with pytest.raises(ZeroDivisionError):
            run(loop, datagram.create_datagram_endpoint(loop, broken, sock=sock))
        assert sock.fileno() == -1


def test_a_cancelled_opening_closes_the_socket(loop: EventLoop) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            task = asyncio.ensure_future(opened(sock=sock))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0)
            assert sock.fileno() == -1

    run(loop, main())


def test_a_poller_without_room_fails_the_call(loop: EventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, callback: object) -> None:
        raise OSError("all are in use")

    monkeypatch.setattr(loop._poller, "watch_reader", full)
    with pytest.raises(OSError, match="all are in use"):
        loop.run_until_complete(loop.create_datagram_endpoint(Recorder, LOCAL))
    loop.run_until_complete(asyncio.sleep(0))


@needs_unix
def test_unix_sockets_carry_more_than_ip_would(loop: EventLoop, tmp_path: Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "socket")
        server = await opened(path, family=socket.AF_UNIX)
        client = await opened(remote_addr=path, family=socket.AF_UNIX)
        assert client[0].get_extra_info("peername") == path
        data = b"x" * 100_000
        client[0].sendto(data)
        assert (await server[1].heard("datagram_received"))[1] == data
        await closed(server, client)

    run(loop, main())


@needs_unix
def test_an_unnamed_unix_pair_is_connected(loop: EventLoop) -> None:
    async def main() -> None:
        first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ends = await opened(sock=first), await opened(sock=second)
        ends[0][0].sendto(b"x")
        await ends[1][1].heard("datagram_received")
        await closed(*ends)

    run(loop, main())


@needs_unix
def test_a_full_unix_receiver_is_tried_again_without_spinning(loop: EventLoop, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")

    async def main(receiver: socket.socket) -> None:
        sender = await opened(family=socket.AF_UNIX)
        while not sender[0].get_write_buffer_size():
            sender[0].sendto(b"x", path)
        assert loop._poller.unwatch_writer(sender[0].get_extra_info("socket").fileno()) is False
        sender[0].close()
        while not sender[1].calls("connection_lost"):
            await loop.sock_recv(receiver, 10)
            await asyncio.sleep(0)

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.setblocking(False)
        receiver.bind(path)
        run(loop, main(receiver))
