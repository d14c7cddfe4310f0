"""loop.sendfile: in the kernel, block by block, and what is said when neither works."""

import asyncio
import errno
import io
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from penstock_reactor import EventLoop, sendfile
from support.recorders import Recorder
from support.secure import Peer, client_context
from support.streams import finish, flood, read_exactly, turns

Pair = tuple[socket.socket, socket.socket]
CONTENT = bytes(range(256)) * 32768  # 8 MiB: more than any socket buffer takes
needs_kernel = pytest.mark.skipif(not hasattr(os, "sendfile"), reason="no os.sendfile here")


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Any]:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    with path.open("rb") as opened:
        yield opened


@pytest.fixture(params=["kernel", "blocks"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each test once in the kernel and once without."""
    if request.param == "blocks":
        monkeypatch.delattr(os, "sendfile", raising=False)
    return str(request.param)


async def opened(loop: EventLoop, pair: Pair) -> tuple[Any, Recorder]:
    transport, protocol = await loop.create_connection(Recorder, sock=pair[0])
    return transport, protocol


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("offset", "count", "sent"),
    [(0, None, CONTENT), (1000, 100, CONTENT[1000:1100]), (5, None, CONTENT[5:]), (len(CONTENT) - 3, 10, CONTENT[-3:])],
)
def test_the_wanted_part_arrives_and_the_position_is_behind_it(
    loop: EventLoop, pair: Pair, file: Any, offset: int, count: int | None, sent: bytes
) -> None:
    async def main() -> None:
        transport, protocol = await opened(loop, pair)
        transport.write(b"before-")
        reading = asyncio.ensure_future(read_exactly(pair[1], 7 + len(sent) + 6))
        assert await loop.sendfile(transport, file, offset, count) == len(sent)
        assert file.tell() == offset + len(sent)
        transport.write(b"-after")
        assert await reading == b"before-" + sent + b"-after"
        await finish(transport, protocol)

    loop.run_until_complete(main())


@pytest.mark.usefixtures("way")
def test_an_empty_file_is_no_failure(loop: EventLoop, pair: Pair, tmp_path: Path) -> None:
    async def main() -> None:
        transport, protocol = await opened(loop, pair)
        (tmp_path / "empty").touch()
        with (tmp_path / "empty").open("rb") as empty:
            assert await loop.sendfile(transport, empty) == 0
        await finish(transport, protocol)

    loop.run_until_complete(main())


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("wants_reading", [True, False])
def test_reading_is_paused_meanwhile_and_is_afterwards_as_it_was(
    loop: EventLoop, pair: Pair, file: Any, wants_reading: bool
) -> None:
    async def main() -> None:
        transport, protocol = await opened(loop, pair)
        if not wants_reading:
            transport.pause_reading()
        sending = asyncio.ensure_future(loop.sendfile(transport, file))
        pair[1].send(b"meanwhile")
        await turns(5)
        assert not protocol.data() and not transport.is_reading()
        await read_exactly(pair[1], len(CONTENT))
        await sending
        assert transport.is_reading() == wants_reading
        if wants_reading:
            await protocol.heard("data_received")
        await finish(transport, protocol)

    loop.run_until_complete(main())


@pytest.mark.usefixtures("way")
def test_a_peer_that_leaves_is_a_connection_error_and_the_position_tells_how_far_it_came(
    loop: EventLoop, pair: Pair, file: Any
) -> None:
    async def main() -> None:
        transport, protocol = await opened(loop, pair)
        sending = asyncio.ensure_future(loop.sendfile(transport, file))
        await read_exactly(pair[1], 100_000)
        pair[1].close()
        with pytest.raises(ConnectionError):
            await sending
        assert 100_000 <= file.tell() < len(CONTENT)
        await finish(transport, protocol)

    loop.run_until_complete(main())


@pytest.mark.usefixtures("way")
def test_a_transport_that_is_aborted_meanwhile_is_a_connection_error(loop: EventLoop, pair: Pair, file: Any) -> None:
    async def main() -> None:
        transport, protocol = await opened(loop, pair)
        sending = asyncio.ensure_future(loop.sendfile(transport, file))
        await read_exactly(pair[1], 100_000)
        transport.abort()
        with pytest.raises(ConnectionError):
            await sending
        assert await protocol.heard("connection_lost") == ("connection_lost", None)

    loop.run_until_complete(main())


@pytest.mark.usefixtures("way")
def test_a_cancelled_sendfile_leaves_a_usable_transport(loop: EventLoop, pair: Pair, file: Any) -> None:
    async def main() -> None:
        transport, protocol = await opened(loop, pair)
        sending = asyncio.ensure_future(loop.sendfile(transport, file))
        await read_exactly(pair[1], 100_000)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        transport.write(b"the end")
        transport.close()
        assert (await read_exactly(pair[1], 2 * len(CONTENT))).endswith(b"the end")
        await protocol.heard("connection_lost")
        assert transport.get_protocol() is None

    loop.run_until_complete(main())


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("in_memory", [False, True])
def test_a_second_file_is_refused_while_the_first_leaves_and_the_first_arrives_whole(
    loop: EventLoop, pair: Pair, file: Any, in_memory: bool
) -> None:
    async def main() -> None:
        transport, protocol = await opened(loop, pair)
        sending = asyncio.ensure_future(loop.sendfile(transport, io.BytesIO(CONTENT) if in_memory else file))
        received = await read_exactly(pair[1], 100_000)
        for second in (file, io.BytesIO(b"not this")):
            with pytest.raises(RuntimeError):
                await loop.sendfile(transport, second)
            assert not transport.is_reading()
        assert received + await read_exactly(pair[1], len(CONTENT) - len(received)) == CONTENT
        assert await sending == len(CONTENT)
        assert transport.get_protocol() is protocol and transport.is_reading()
        transport.write(b"after")
        assert await read_exactly(pair[1], 5) == b"after"
        await finish(transport, protocol)

    loop.run_until_complete(main())


@needs_kernel
def test_writes_are_refused_while_the_kernel_sends(loop: EventLoop, pair: Pair, file: Any) -> None:
    async def main() -> None:
        transport, protocol = await opened(loop, pair)
        sending = asyncio.ensure_future(loop.sendfile(transport, file))
        await turns()
        with pytest.raises(RuntimeError, match="sendfile is in progress"):
            transport.write(b"x")
        await read_exactly(pair[1], len(CONTENT))
        await sending
        await finish(transport, protocol)

    loop.run_until_complete(main())


def test_a_protocol_paused_before_resumes_when_the_blocks_have_left(
    loop: EventLoop, pair: Pair, file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        monkeypatch.delattr(os, "sendfile", raising=False)
        transport, protocol = await opened(loop, pair)
        written = flood(transport)
        assert protocol.names()[-1] == "pause_writing"
        sending = asyncio.ensure_future(loop.sendfile(transport, file, 0, 1000))
        assert await read_exactly(pair[1], len(written) + 1000) == written + CONTENT[:1000]
        await sending
        await protocol.heard("resume_writing")
        await finish(transport, protocol)

    loop.run_until_complete(main())


def test_a_file_without_descriptor_is_read_block_by_block(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        transport, protocol = await opened(loop, pair)
        assert await loop.sendfile(transport, io.BytesIO(b"in memory"), 3) == 6
        assert pair[1].recv(100) == b"memory"
        with pytest.raises(asyncio.SendfileNotAvailableError):
            await loop.sendfile(transport, io.BytesIO(b"in memory"), fallback=False)
        await finish(transport, protocol)

    loop.run_until_complete(main())


@needs_kernel
def test_a_file_the_kernel_refuses_is_read_block_by_block(
    loop: EventLoop, pair: Pair, file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EINVAL, "not on this file system")

    async def main() -> None:
        monkeypatch.setattr(os, "sendfile", refuse)
        transport, protocol = await opened(loop, pair)
        assert await loop.sendfile(transport, file, 0, 10) == 10
        assert pair[1].recv(100) == CONTENT[:10]
        with pytest.raises(asyncio.SendfileNotAvailableError):
            await loop.sendfile(transport, file, 0, 10, fallback=False)
        await finish(transport, protocol)

    loop.run_until_complete(main())


def test_tls_sends_block_by_block_or_not_at_all(loop: EventLoop, pair: Pair, file: Any) -> None:
    async def main() -> None:
        peer = Peer(pair[1])
        shaking = asyncio.ensure_future(peer.shake_hands())
        transport, protocol = await loop.create_connection(
            Recorder, sock=pair[0], ssl=client_context(), server_hostname="localhost"
        )
        await shaking
        with pytest.raises(RuntimeError, match="fallback is disabled"):
            await loop.sendfile(transport, file, fallback=False)
        sending = asyncio.ensure_future(loop.sendfile(transport, file))
        assert await peer.read(len(CONTENT)) == CONTENT
        assert await sending == len(CONTENT) == file.tell()
        await finish(transport, protocol)

    loop.run_until_complete(main())


def test_what_cannot_be_sent_is_refused_at_once(loop: EventLoop, pair: Pair, file: Any, tmp_path: Path) -> None:
    async def main() -> None:
        transport, protocol = await opened(loop, pair)
        for arguments, error in (
            ((0, 0), ValueError), ((0, -1), ValueError), ((0, "1"), TypeError), ((-1,), ValueError), (("1",), TypeError),
        ):
            with pytest.raises(error):
                await loop.sendfile(transport, file, *arguments)
        with (tmp_path / "file").open() as text, pytest.raises(ValueError, match="binary mode"):
            await loop.sendfile(transport, text)
        with pytest.raises(RuntimeError, match="not supported"):
            await sendfile.sendfile(loop, Closable(), file)
        transport.close()
        with pytest.raises(RuntimeError, match="closing"):
            await loop.sendfile(transport, file)
        await protocol.heard("connection_lost")

    loop.run_until_complete(main())
    assert file.tell() == 0


class Closable:
    def is_closing(self) -> bool:
        return False
