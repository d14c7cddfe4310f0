"""Sending over TLS: at once, later, in order, and within the write limits."""

import asyncio
import logging
import socket
import ssl
from typing import Any

import pytest
from penstock_reactor import EventLoop
from penstock_reactor.sending import QUIET_DROPS
from penstock_reactor.tls import open_secure
from penstock_reactor.tls_sending import SLICE_BYTES
from penstock_reactor.tls_transport import SSLTransport
from support.faults import FaultySocket
from support.recorders import InContext, Recorder
from support.secure import Peer, options
from support.streams import PIECE, finish, flood

Pair = tuple[socket.socket, socket.socket]


async def opened(
    loop: EventLoop, sock: Any, peer_sock: socket.socket, protocol: Recorder | None = None
) -> tuple[SSLTransport, Recorder, Peer]:
    protocol, peer = protocol or Recorder(), Peer(peer_sock)
    shaking = asyncio.ensure_future(peer.shake_hands())
    transport = await open_secure(loop, sock, protocol, options(False))
    await shaking
    return transport, protocol, peer


def test_a_write_leaves_at_once(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        transport, protocol, peer = await opened(loop, *pair)
        transport.write(b"now")
        transport.writelines([b"a", bytearray(b"b"), memoryview(b"c")])
        transport.write(b"")
        assert transport.get_write_buffer_size() == 0
        assert await peer.read(6) == b"nowabc"
        await finish(transport, protocol)

    loop.run_until_complete(main())


def test_what_does_not_fit_waits_in_plain_and_leaves_in_order(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        transport, protocol, peer = await opened(loop, *pair)
        changing = bytearray(b"-second-")
        flooded = flood(transport)
        transport.write(changing)
        changing[:] = b"xxxxxxxx"
        for number in range(100):
            transport.write(b"%02d" % number)
        expected = flooded + b"-second-" + b"".join(b"%02d" % n for n in range(100))
        waiting = transport.get_write_buffer_size()
        assert 0 < waiting < len(expected) + SLICE_BYTES // 100
        assert protocol.names()[-1] == "pause_writing"
        assert await peer.read(len(expected)) == expected
        await protocol.heard("resume_writing")
        assert transport.get_write_buffer_size() == 0
        await finish(transport, protocol)

    loop.run_until_complete(main())


def test_limits_of_zero_tell_exactly_when_all_has_left(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        transport, protocol, peer = await opened(loop, *pair)
        transport.set_write_buffer_limits(0)
        transport.write(b"fits")
        assert "pause_writing" not in protocol.names()
        written = b"fits" + flood(transport)
        assert protocol.names()[-1] == "pause_writing"
        reading = asyncio.ensure_future(peer.read(len(written)))
        await protocol.heard("resume_writing")
        assert transport.get_write_buffer_size() == 0
        assert await reading == written
        await finish(transport, protocol)

    loop.run_until_complete(main())


def test_the_protocol_resumes_in_the_connections_context(loop: EventLoop, pair: Pair) -> None:
    recorder = InContext()

    async def main() -> None:
        transport, protocol, peer = await opened(loop, *pair, recorder)
        written = flood(transport)
        assert await peer.read(len(written)) == written
        await protocol.heard("resume_writing")
        await finish(transport, protocol)

    loop.run_until_complete(main())
    assert recorder.seen("resume_writing") == ["inner"] and recorder.var.get() == "outer"


def test_however_little_the_socket_takes_at_once_all_leaves(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        transport, protocol, peer = await opened(loop, FaultySocket(pair[0], 50), pair[1])
        for _ in range(5):
            transport.write(b"0123456789" * 10)
        assert await peer.read(500) == b"0123456789" * 50
        await finish(transport, protocol)

    loop.run_until_complete(main())


def test_a_write_that_openssl_postpones_is_tried_again(
    loop: EventLoop, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        transport, protocol, peer = await opened(loop, *pair)
        # As in a renegotiation of TLS 1.2: the peer has to speak first.
        monkeypatch.setattr(transport._engine, "encrypt", lambda data: False)
        transport.write(b"first")
        transport.write(b"second")
        assert transport.get_write_buffer_size() == 11
        monkeypatch.undo()
        await peer.send(b"speaks")
        assert await peer.read(11) == b"firstsecond"
        await finish(transport, protocol)

    loop.run_until_complete(main())


@pytest.mark.parametrize("is_queued", [False, True])
def test_a_write_that_openssl_refuses_ends_the_connection(
    loop: EventLoop, pair: Pair, monkeypatch: pytest.MonkeyPatch, is_queued: bool
) -> None:
    error = ssl.SSLError("cannot")

    def fail(data: bytes) -> bool:
        raise error

    async def main() -> None:
        transport, protocol, _ = await opened(loop, *pair)
        monkeypatch.setattr(transport._engine, "encrypt", fail)
        transport.write(b"x" * (SLICE_BYTES + 1 if is_queued else 1))
        assert await protocol.heard("connection_lost") == ("connection_lost", error)

    loop.run_until_complete(main())


def test_the_end_of_the_socket_ends_the_connection_once(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        transport, protocol, _ = await opened(loop, *pair)
        pair[1].close()
        for _ in range(3):
            transport.write(PIECE)
        lost = await protocol.heard("connection_lost")
        assert isinstance(lost[1], (BrokenPipeError, ConnectionResetError))

    loop.run_until_complete(main())


def test_writes_after_the_end_are_dropped_and_the_log_says_so_after_some(
    loop: EventLoop, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        transport, protocol, _ = await opened(loop, *pair)
        transport.close()
        for _ in range(QUIET_DROPS):
            transport.write(b"dropped")
        assert not caplog.records
        transport.write(b"dropped")
        assert len(caplog.records) == 1
        await finish(transport, protocol)
        transport.write(b"dropped")

    with caplog.at_level(logging.WARNING, "asyncio"):
        loop.run_until_complete(main())


def test_what_tls_cannot_do_is_refused(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        transport, protocol, _ = await opened(loop, *pair)
        assert not transport.can_write_eof()
        with pytest.raises(NotImplementedError, match="use close"):
            transport.write_eof()
        with pytest.raises(TypeError, match="bytes-like"):
            transport.write("text")  # type: ignore[arg-type]  # what is tested
        await finish(transport, protocol)

    loop.run_until_complete(main())
