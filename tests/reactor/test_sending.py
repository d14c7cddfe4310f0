"""The sending half: what leaves at once, what waits, and what is refused."""

import asyncio
import logging
import socket
from typing import Any

import pytest
from penstock_reactor import EventLoop, sending
from penstock_reactor.sending import JOIN_BYTES, MAX_PIECES, QUIET_DROPS, as_bytes_like
from support.faults import FaultySocket
from support.recorders import InContext, Recorder
from support.streams import finish, flood, opened, read_exactly, turns

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=["with sendmsg", "without"], autouse=True)
def has_sendmsg(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Every test as on POSIX and as on Windows, which has no sendmsg."""
    has: bool = request.param == "with sendmsg"
    if has and not hasattr(socket.socket, "sendmsg"):
        pytest.skip("no sendmsg here")
    monkeypatch.setattr(sending, "HAS_SENDMSG", has)
    return has


def test_a_write_leaves_at_once(loop: EventLoop, pair: Pair) -> None:
    protocol = Recorder()
    transport = opened(loop, pair[0], protocol)
    transport.write(b"now")
    assert pair[1].recv(10) == b"now"
    transport.writelines([b"a", bytearray(b"b"), memoryview(b"c")])
    assert pair[1].recv(10) == b"abc"
    loop.run_until_complete(finish(transport, protocol))


def test_what_the_socket_refuses_leaves_later_and_in_order(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        protocol = Recorder()
        transport = opened(loop, pair[0], protocol)
        changing = bytearray(b"-second-")
        expected = flood(transport) + b"-second-third"
        transport.write(changing)
        changing[:] = b"xxxxxxxx"
        transport.writelines([memoryview(b"third"), b""])
        transport.write(b"")
        assert 0 < transport.get_write_buffer_size() <= len(expected)
        assert await read_exactly(pair[1], len(expected)) == expected
        await protocol.heard("resume_writing")
        assert transport.get_write_buffer_size() == 0
        transport.write(b"direct again")
        assert pair[1].recv(100) == b"direct again"
        await finish(transport, protocol)

    loop.run_until_complete(main())


@pytest.mark.parametrize("most", [1, 7, 1000])
def test_however_little_the_socket_takes_at_once_all_leaves_in_order(loop: EventLoop, pair: Pair, most: int) -> None:
    async def main() -> None:
        protocol = Recorder()
        transport = opened(loop, FaultySocket(pair[0], most), protocol)
        transport.write(b"0123456789" * 30)
        transport.writelines([b"ab" * 20, b"", b"cd" * 20])
        expected = b"0123456789" * 30 + b"ab" * 20 + b"cd" * 20
        assert await read_exactly(pair[1], len(expected)) == expected
        await finish(transport, protocol)

    loop.run_until_complete(main())


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_a_would_block_at_any_call_loses_nothing(loop: EventLoop, pair: Pair, nth: int) -> None:
    async def main() -> None:
        protocol = Recorder()
        faults = {nth: BlockingIOError()}
        transport = opened(loop, FaultySocket(pair[0], 4, send=faults, sendmsg=faults), protocol)
        for _ in range(3):
            transport.write(b"12345678")
        assert await read_exactly(pair[1], 24) == b"12345678" * 3
        await finish(transport, protocol)

    loop.run_until_complete(main())


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_reset_at_any_call_ends_the_connection_with_it(loop: EventLoop, pair: Pair, nth: int) -> None:
    async def main() -> None:
        protocol = Recorder()
        faults = {nth: ConnectionResetError("gone")}
        transport = opened(loop, FaultySocket(pair[0], 4, send=faults, sendmsg=faults), protocol)
        for _ in range(3):
            transport.write(b"12345678")
        lost = await protocol.heard("connection_lost")
        assert isinstance(lost[1], ConnectionResetError)
        assert transport.is_closing() and transport.get_write_buffer_size() == 0
        await turns()
        assert len(protocol.calls("connection_lost")) == 1

    loop.run_until_complete(main())


def test_many_and_large_pieces_leave_whole(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        protocol = Recorder()
        transport = opened(loop, pair[0], protocol)
        pieces = [bytes([n % 256]) * (2 * JOIN_BYTES // MAX_PIECES) for n in range(MAX_PIECES + 300)]
        transport.writelines(pieces)
        more: list[bytes | bytearray] = [b"x" * JOIN_BYTES, bytearray(b"y" * JOIN_BYTES)]
        transport.writelines(iter(more))
        expected = b"".join(pieces) + b"x" * JOIN_BYTES + b"y" * JOIN_BYTES
        assert await read_exactly(pair[1], len(expected)) == expected
        await finish(transport, protocol)

    loop.run_until_complete(main())


def test_the_protocol_pauses_above_the_high_mark_and_resumes_at_the_low_one(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        protocol = Recorder()
        transport = opened(loop, pair[0], protocol)
        assert transport.get_write_buffer_limits() == (16384, 65536)
        transport.set_write_buffer_limits(high=0)
        transport.write(b"fits")
        assert protocol.names() == ["connection_made"]
        written = flood(transport)
        assert protocol.names() == ["connection_made", "pause_writing"]
        await read_exactly(pair[1], 4 + len(written))
        await protocol.heard("resume_writing")
        assert protocol.names() == ["connection_made", "pause_writing", "resume_writing"]
        with pytest.raises(ValueError, match="must be >= low"):
            transport.set_write_buffer_limits(high=1, low=2)
        await finish(transport, protocol)

    loop.run_until_complete(main())


def test_the_protocol_resumes_in_the_connections_context(loop: EventLoop, pair: Pair) -> None:
    protocol = InContext()

    async def main() -> None:
        transport = opened(loop, pair[0], protocol)
        for times in (1, 2):
            written = flood(transport)
            await read_exactly(pair[1], len(written))
            await protocol.heard("resume_writing", times)
        await finish(transport, protocol)

    loop.run_until_complete(main())
    assert protocol.seen("resume_writing") == ["inner", "inner"] and protocol.var.get() == "outer"


@pytest.mark.parametrize("data", ["text", 1, None, [b"x"], object()])
def test_what_is_no_bytes_is_a_type_error(loop: EventLoop, pair: Pair, data: Any) -> None:
    protocol = Recorder()
    transport = opened(loop, pair[0], protocol)
    with pytest.raises(TypeError, match="bytes-like"):
        transport.write(data)
    loop.run_until_complete(finish(transport, protocol))


def test_any_memoryview_counts_in_bytes() -> None:
    numbers = memoryview(b"12345678").cast("I")
    assert len(as_bytes_like(numbers)) == 8
    assert as_bytes_like(memoryview(b"12345678")[::2]) == b"1357"
    view = memoryview(b"plain")
    assert as_bytes_like(view) is view


def test_write_eof_lets_the_queue_leave_then_closes_one_way(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        protocol = Recorder()
        transport = opened(loop, pair[0], protocol)
        assert transport.can_write_eof()
        written = flood(transport)
        transport.write_eof()
        transport.write_eof()
        with pytest.raises(RuntimeError, match=r"write\(\) after write_eof"):
            transport.write(b"x")
        with pytest.raises(RuntimeError, match=r"writelines\(\) after write_eof"):
            transport.writelines([b"x"])
        assert await read_exactly(pair[1], len(written) + 1) == written
        pair[1].send(b"still heard")
        assert (await protocol.heard("data_received"))[1] == b"still heard"
        pair[1].close()
        assert await protocol.heard("connection_lost") == ("connection_lost", None)

    loop.run_until_complete(main())


def test_writes_after_the_end_are_dropped_and_the_log_says_so_after_some(
    loop: EventLoop, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    protocol = Recorder()
    transport = opened(loop, pair[0], protocol)
    transport.close()
    with caplog.at_level(logging.WARNING, "asyncio"):
        for _ in range(QUIET_DROPS):
            transport.write(b"dropped")
        assert not caplog.records
        transport.write(b"dropped")
        transport.writelines([b"dropped"])
        assert len(caplog.records) == 2
    loop.run_until_complete(protocol.heard("connection_lost"))
    transport.write(b"dropped")
    transport.write_eof()
    assert transport.get_write_buffer_size() == 0


def test_a_lent_socket_refuses_writes_until_it_is_returned(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        protocol = Recorder()
        transport = opened(loop, pair[0], protocol)
        written = flood(transport)
        assert transport.lend_socket() is pair[0]
        emptying = asyncio.ensure_future(transport.wait_empty())
        await turns()
        assert not emptying.done()
        with pytest.raises(RuntimeError, match="sendfile is in progress"):
            transport.write(b"x")
        with pytest.raises(RuntimeError, match="sendfile is in progress"):
            transport.writelines([b"x"])
        with pytest.raises(RuntimeError, match="sendfile is in progress"):
            transport.write_eof()
        with pytest.raises(RuntimeError, match="cannot lend"):
            transport.lend_socket()
        await read_exactly(pair[1], len(written))
        await emptying
        await transport.wait_writable()
        transport.return_socket()
        transport.write(b"mine again")
        assert pair[1].recv(100) == b"mine again"
        await finish(transport, protocol)

    loop.run_until_complete(main())


def test_a_borrower_hears_of_the_end(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        protocol = Recorder()
        transport = opened(loop, pair[0], protocol)
        flood(transport)
        transport.lend_socket()
        emptying = asyncio.ensure_future(transport.wait_empty())
        await turns()
        transport.abort()
        with pytest.raises(ConnectionError):
            await emptying
        with pytest.raises(ConnectionError):
            await transport.wait_writable()
        transport.return_socket()
        await protocol.heard("connection_lost")

    loop.run_until_complete(main())


def test_a_reset_while_large_pieces_leave_ends_the_connection(
    loop: EventLoop, pair: Pair, has_sendmsg: bool
) -> None:
    async def main() -> None:
        protocol = Recorder()
        method = "sendmsg" if has_sendmsg else "send"
        transport = opened(loop, FaultySocket(pair[0], **{method: {1: BrokenPipeError()}}), protocol)
        transport.writelines([b"x" * JOIN_BYTES] * 2)
        lost = await protocol.heard("connection_lost")
        assert isinstance(lost[1], BrokenPipeError)

    loop.run_until_complete(main())


def test_large_pieces_wait_whole_when_the_socket_is_full(loop: EventLoop, pair: Pair, has_sendmsg: bool) -> None:
    async def main() -> None:
        protocol = Recorder()
        method = "sendmsg" if has_sendmsg else "send"
        transport = opened(loop, FaultySocket(pair[0], **{method: {1: BlockingIOError()}}), protocol)
        transport.writelines([b"x" * JOIN_BYTES] * 2)
        assert transport.get_write_buffer_size() == 2 * JOIN_BYTES
        assert await read_exactly(pair[1], 2 * JOIN_BYTES) == b"x" * JOIN_BYTES * 2
        await finish(transport, protocol)

    loop.run_until_complete(main())


def test_a_poller_without_room_costs_the_connection_and_no_more(
    loop: EventLoop, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError("no room")

    def refuse(fd: int, callback: object) -> None:
        raise full

    async def main() -> None:
        protocol = Recorder()
        transport = opened(loop, FaultySocket(pair[0], send={1: BlockingIOError()}), protocol)
        monkeypatch.setattr(loop._poller, "watch_writer", refuse)
        transport.write(b"refused")
        assert await protocol.heard("connection_lost") == ("connection_lost", full)

    loop.run_until_complete(main())


def test_a_peer_gone_before_write_eof_is_only_a_debug_line(
    loop: EventLoop, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    protocol = Recorder()
    transport = opened(loop, FaultySocket(pair[0], shutdown={1: OSError("not connected")}), protocol)
    loop.set_debug(True)
    with caplog.at_level(logging.DEBUG, "asyncio"):
        transport.write_eof()
    assert "shutdown failed" in caplog.text
    loop.run_until_complete(finish(transport, protocol))
