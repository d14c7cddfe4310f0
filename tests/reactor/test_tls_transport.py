"""A TLS connection as a transport: its handshake, reading, and above all its end."""

import asyncio
import contextvars
import socket
import ssl
from typing import Any

import pytest
from penstock_reactor import EventLoop
from penstock_reactor.tls import open_secure
from penstock_reactor.tls_engine import TlsOptions
from penstock_reactor.tls_transport import SKIP_BYTES, SSLTransport
from support.recorders import Recorder
from support.secure import Peer, client_context, options
from support.streams import Into, finish, flood, turns

Pair = tuple[socket.socket, socket.socket]
Reports = list[dict[str, Any]]
Opened = tuple[SSLTransport, Any, Peer]


async def opened(
    loop: EventLoop, pair: Pair, protocol: Any = None, tls: TlsOptions | None = None
) -> Opened:
    """Our client's transport, its protocol, and a server driven by hand."""
    protocol = protocol or Recorder()
    peer = Peer(pair[1])
    shaking = asyncio.ensure_future(peer.shake_hands())
    transport = await open_secure(loop, pair[0], protocol, tls or options(False))
    await asyncio.gather(shaking, return_exceptions=True)  # the protocol may have ended it already
    return transport, protocol, peer


def test_a_connection_is_told_from_beginning_to_end_in_order(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        transport, protocol, peer = await opened(loop, pair)
        assert protocol.transport is transport and not transport.is_closing()
        await peer.send(b"hello")
        assert await protocol.heard("data_received") == ("data_received", b"hello")
        await peer.say_goodbye()
        assert await protocol.heard("connection_lost") == ("connection_lost", None)
        assert protocol.names() == ["connection_made", "data_received", "eof_received", "connection_lost"]
        assert transport.is_closing() and transport.get_protocol() is None
        await peer.read(1)
        assert peer.engine.is_over and peer.engine.failure is None

    loop.run_until_complete(main())


def test_what_comes_with_the_end_of_the_handshake_is_not_lost(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        peer, protocol = Peer(pair[1], server_side=False), Recorder()
        opening = asyncio.ensure_future(open_secure(loop, pair[0], protocol, options(True)))
        while not peer.engine.shake_hands():
            await peer.flush()
            await peer.take()
        await peer.send(b"in the same packet")  # with the client's last handshake message
        assert await protocol.heard("data_received") == ("data_received", b"in the same packet")
        await finish(await opening, protocol)

    loop.run_until_complete(main())


def test_records_of_one_packet_are_handed_over_together(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        transport, protocol, peer = await opened(loop, pair)
        await peer.send(b"a", b"b", b"c" * 20000)
        await protocol.heard("data_received")
        assert protocol.calls("data_received") == [("data_received", b"ab" + b"c" * 20000)]
        await finish(transport, protocol)

    loop.run_until_complete(main())


def test_nothing_is_handed_over_while_reading_is_paused(loop: EventLoop, pair: Pair) -> None:
    transport: Any = None

    class PausesAtFirst(Into):
        def buffer_updated(self, nbytes: int) -> None:
            super().buffer_updated(nbytes)
            if len(self.pieces) == 1:
                transport.pause_reading()

    async def main() -> None:
        nonlocal transport
        protocol = PausesAtFirst(4)
        transport, _, peer = await opened(loop, pair, protocol)
        await peer.send(b"0123456789")
        await peer.say_goodbye()
        while not protocol.pieces:
            await turns(1)
        await turns(5)
        assert (protocol.pieces, protocol.ended, transport.is_reading()) == ([b"0123"], 0, False)
        transport.resume_reading()
        assert protocol.pieces == [b"0123"]  # never from inside resume_reading
        while not protocol.lost:
            await turns(1)
        assert b"".join(protocol.pieces) == b"0123456789" and protocol.ended == 1

    loop.run_until_complete(main())


def test_protocols_of_both_kinds_can_be_switched_while_reading(loop: EventLoop, pair: Pair) -> None:
    transport: Any = None
    plain = Recorder()

    class SwitchesAtFirst(Into):
        def buffer_updated(self, nbytes: int) -> None:
            super().buffer_updated(nbytes)
            transport.set_protocol(plain)

    async def main() -> None:
        nonlocal transport
        buffered = SwitchesAtFirst(4)
        transport, _, peer = await opened(loop, pair, buffered)
        await peer.send(b"0123456789")
        await plain.heard("data_received")
        assert (buffered.pieces, plain.data()) == ([b"0123"], b"456789")
        assert transport.get_protocol() is plain
        await finish(transport, plain)

    loop.run_until_complete(main())


def test_an_empty_buffer_ends_the_connection(loop: EventLoop, pair: Pair, reports: Reports) -> None:
    async def main() -> None:
        protocol = Into(0)
        _, _, peer = await opened(loop, pair, protocol)
        await peer.send(b"x")
        while not protocol.lost:
            await turns(1)
        assert isinstance(protocol.lost[0], RuntimeError)

    loop.run_until_complete(main())
    assert "empty buffer" in str(reports[0]["exception"])


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
        _, _, peer = await opened(loop, pair, protocol)
        if method != "connection_made":
            await peer.send(b"x")
            await peer.say_goodbye()
        assert await protocol.heard("connection_lost") == ("connection_lost", error)

    loop.run_until_complete(main())
    (report,) = reports
    assert method in report["message"] and report["exception"] is error


def test_garbage_from_the_peer_ends_the_connection_with_an_alert(
    loop: EventLoop, pair: Pair, reports: Reports
) -> None:
    async def main() -> None:
        _, protocol, peer = await opened(loop, pair)
        await peer.send(b"good")
        await protocol.heard("data_received")
        pair[1].send(b"\x17\x03\x03\x00\x05garbage")
        lost = await protocol.heard("connection_lost")
        assert isinstance(lost[1], ssl.SSLError)
        await peer.read(1)
        assert isinstance(peer.engine.failure, ssl.SSLError) and "alert" in str(peer.engine.failure).lower()

    loop.run_until_complete(main())
    assert not reports


def test_closing_lets_all_leave_and_waits_for_the_peers_goodbye(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        transport, protocol, peer = await opened(loop, pair)
        written = flood(transport)
        transport.close()
        transport.close()
        assert transport.is_closing() and not transport.is_reading()
        await peer.send(b"too late for anyone")
        assert await peer.read(len(written) + 1) == written
        assert peer.engine.is_over
        await turns(5)
        assert "connection_lost" not in protocol.names()
        await peer.say_goodbye()
        assert await protocol.heard("connection_lost") == ("connection_lost", None)
        assert "data_received" not in protocol.names()

    loop.run_until_complete(main())


def test_the_end_of_the_peers_stream_is_as_good_as_a_goodbye(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        transport, protocol, peer = await opened(loop, pair)
        transport.close()
        await peer.read(1)
        pair[1].close()
        assert await protocol.heard("connection_lost") == ("connection_lost", None)

    loop.run_until_complete(main())


@pytest.mark.parametrize("with_goodbye", [True, False])
def test_what_was_written_still_leaves_when_the_peer_has_ended(
    loop: EventLoop, pair: Pair, with_goodbye: bool
) -> None:
    async def main() -> None:
        transport, protocol, peer = await opened(loop, pair)
        written = flood(transport)
        if with_goodbye:
            await peer.say_goodbye()
        else:
            pair[1].shutdown(socket.SHUT_WR)
        await protocol.heard("eof_received")
        assert transport.is_closing()
        assert await peer.read(len(written)) == written
        assert await protocol.heard("connection_lost") == ("connection_lost", None)

    loop.run_until_complete(main())


def test_a_peer_that_never_stops_sending_is_not_heard_for_ever(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        transport, protocol, peer = await opened(loop, pair)
        transport.close()
        sent = 0
        while not protocol.calls("connection_lost"):
            try:
                await peer.send(b"x" * 16384)
            except OSError:
                break
            sent += 16384
        assert await protocol.heard("connection_lost") == ("connection_lost", None)
        assert sent > SKIP_BYTES

    loop.run_until_complete(main())


def test_a_peer_that_goes_on_after_its_goodbye_is_read_no_more(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        transport, protocol, peer = await opened(loop, pair)
        flood(transport)
        await peer.say_goodbye()
        await protocol.heard("eof_received")
        sent = 0
        with pytest.raises(BlockingIOError):
            while sent < 16 << 20:
                sent += pair[1].send(b"\x17\x03\x03\x40\x00" + b"x" * 16384)
                await turns()
        assert transport._engine._incoming.pending < 1 << 20
        assert not protocol.calls("connection_lost")
        await finish(transport, protocol)

    loop.run_until_complete(main())


def test_a_peer_that_does_not_answer_the_goodbye_is_cut_off(loop: EventLoop, pair: Pair, reports: Reports) -> None:
    async def main() -> None:
        transport, protocol, _ = await opened(loop, pair, tls=options(False, shutdown_timeout=0.05))
        transport.close()
        lost = await protocol.heard("connection_lost")
        assert isinstance(lost[1], TimeoutError) and "shutdown timed out" in str(lost[1])

    loop.run_until_complete(main())
    assert not reports


def test_a_slow_peer_is_given_time_while_it_takes_its_bytes(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        transport, protocol, _ = await opened(loop, pair)
        flood(transport)
        transport.close()
        unsent = transport.get_write_buffer_size()
        transport._on_shutdown_timeout(unsent + 1)  # some has left since the last look
        await turns(5)
        assert "connection_lost" not in protocol.names()
        transport._on_shutdown_timeout(unsent)
        assert isinstance((await protocol.heard("connection_lost"))[1], TimeoutError)

    loop.run_until_complete(main())


def test_the_loops_log_tells_that_a_half_close_has_no_effect(
    loop: EventLoop, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    class KeepsOpen(Recorder):
        def eof_received(self) -> bool:  # type: ignore[override]  # may be true, says asyncio
            return True

    async def main() -> None:
        _, protocol, peer = await opened(loop, pair, KeepsOpen())
        await peer.say_goodbye()
        await protocol.heard("connection_lost")

    loop.run_until_complete(main())
    assert "no effect when using ssl" in caplog.text


def test_extra_info_knows_tls_and_the_socket_below(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        transport, protocol, _ = await opened(loop, pair)
        for _ in range(2):
            assert transport.get_extra_info("sslcontext") is client_context()
            assert transport.get_extra_info("peercert")["subject"] == ((("commonName", "localhost"),),)
            assert transport.get_extra_info("cipher")[1].startswith("TLS")
            assert isinstance(transport.get_extra_info("ssl_object"), ssl.SSLObject)
            assert transport.get_extra_info("socket") is not None
            assert transport.get_extra_info("unknown", 42) == 42
            assert "SSL" in repr(transport)
            await finish(transport, protocol)

    loop.run_until_complete(main())


def test_a_connection_keeps_its_context_after_a_pause(loop: EventLoop, pair: Pair) -> None:
    var = contextvars.ContextVar("var", default="outer")
    seen: list[str] = []
    transport: Any = None

    class Sets(Into):
        def connection_made(self, _: Any) -> None:
            var.set("inner")

        def buffer_updated(self, nbytes: int) -> None:
            seen.append(var.get())
            if len(seen) == 1:
                transport.pause_reading()
                loop.call_soon(transport.resume_reading)

    async def main() -> None:
        nonlocal transport
        transport, _, peer = await opened(loop, pair, Sets(4))
        await peer.send(b"01234567")
        while len(seen) < 2:
            await turns(1)
        transport.abort()
        await turns()

    loop.run_until_complete(main())
    assert seen == ["inner", "inner"] and var.get() == "outer"
