"""The sock_* calls on real sockets: at once, after a wait, cancelled, and refused."""

import asyncio
import io
import os
import socket
import struct
import sys
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from penstock_reactor import EventLoop

Pair = tuple[socket.socket, socket.socket]
PATIENCE = 10
# l_onoff and l_linger: a close that resets the connection.
LINGER_NOT = struct.pack("ii", 1, 0)
without_unix = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets on this platform")


def run(loop: EventLoop, coro: Coroutine[Any, Any, Any]) -> Any:
    return loop.run_until_complete(asyncio.wait_for(coro, PATIENCE))


async def blocked(coro: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A task of `coro` that has come to where it must wait."""
    task = asyncio.ensure_future(coro)
    for _ in range(3):
        await asyncio.sleep(0)
    assert not task.done()
    return task


def fill(sock: socket.socket) -> None:
    """Send until nothing more is taken, not even a byte."""
    for size in (65536, 1024, 1):
        try:
            while True:
                sock.send(b" " * size)
        except BlockingIOError:
            pass


@pytest.fixture
def udp() -> Iterator[Pair]:
    """Two bound datagram sockets."""
    pair = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with pair[0], pair[1]:
        for one in pair:
            one.setblocking(False)
            one.bind(("127.0.0.1", 0))
        yield pair


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


def test_recv_takes_what_is_there_without_watching_the_descriptor(
    loop: EventLoop, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop._poller, "watch_reader", None)
    pair[1].send(b"hello")
    assert run(loop, loop.sock_recv(pair[0], 100)) == b"hello"


def test_recv_waits_for_data_and_for_the_end(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        task = await blocked(loop.sock_recv(pair[0], 100))
        pair[1].send(b"late")
        assert await task == b"late"
        task = await blocked(loop.sock_recv(pair[0], 100))
        pair[1].close()
        assert await task == b""

    run(loop, main())
    assert loop.remove_reader(pair[0]) is False


def test_recv_into_fills_a_buffer(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        buffer = bytearray(10)
        task = await blocked(loop.sock_recv_into(pair[0], buffer))
        pair[1].send(b"bytes")
        assert await task == 5
        assert buffer[:5] == b"bytes"

    run(loop, main())


def test_sendall_sends_more_than_the_system_takes_at_once(loop: EventLoop, pair: Pair) -> None:
    data = os.urandom(3_000_000)

    async def receive() -> bytes:
        received = bytearray()
        while len(received) < len(data):
            received += await loop.sock_recv(pair[1], 65536)
        return bytes(received)

    async def main() -> None:
        task = asyncio.ensure_future(receive())
        await loop.sock_sendall(pair[0], memoryview(data).cast("I"))
        assert await task == data

    run(loop, main())


def test_sendall_of_nothing_returns(loop: EventLoop, pair: Pair) -> None:
    run(loop, loop.sock_sendall(pair[0], b""))


def test_datagrams_go_and_come(loop: EventLoop, udp: Pair) -> None:
    first, second = udp

    async def main() -> None:
        task = await blocked(loop.sock_recvfrom(second, 100))
        assert await loop.sock_sendto(first, b"one", second.getsockname()) == 3
        assert await task == (b"one", first.getsockname())
        buffer = bytearray(10)
        task = await blocked(loop.sock_recvfrom_into(second, buffer))
        await loop.sock_sendto(first, b"two", second.getsockname())
        assert await task == (3, first.getsockname())
        assert buffer[:3] == b"two"
        if sys.platform != "win32":  # where a datagram that is too long is an error
            await loop.sock_sendto(first, b"three", second.getsockname())
            assert (await loop.sock_recvfrom_into(second, buffer, 2))[0] == 2

    run(loop, main())


@without_unix
def test_sendto_waits_for_room(loop: EventLoop, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")

    async def main(receiver: socket.socket, sender: socket.socket) -> None:
        with pytest.raises(BlockingIOError):
            while True:
                sender.sendto(b"x", path)
        # A full receiver does not make the sender unwritable: the call tries again until somebody reads.
        task = asyncio.ensure_future(loop.sock_sendto(sender, b"last", path))
        await asyncio.sleep(0)
        assert not task.done()
        while not task.done():
            await loop.sock_recv(receiver, 10)
            await asyncio.sleep(0)

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.setblocking(False)
        receiver.bind(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            run(loop, main(receiver, sender))


def test_connect_and_accept_meet(loop: EventLoop, listener: socket.socket) -> None:
    async def main() -> None:
        task = await blocked(loop.sock_accept(listener))
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, listener.getsockname())
            connection, address = await task
            with connection:
                assert address == client.getsockname()
                assert connection.gettimeout() == 0

    run(loop, main())


def test_connect_looks_names_up(loop: EventLoop, listener: socket.socket) -> None:
    async def main() -> None:
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, ("localhost", listener.getsockname()[1]))
            assert client.getpeername() == listener.getsockname()

    run(loop, main())


def test_connect_to_nobody_is_refused_with_the_address(loop: EventLoop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = nobody.getsockname()

    async def main() -> None:
        with socket.socket() as client:
            client.setblocking(False)
            with pytest.raises(ConnectionRefusedError, match=str(address[1])):
                await loop.sock_connect(client, address)

    run(loop, main())


@without_unix
def test_connect_to_a_full_unix_listener_fails_instead_of_pretending(loop: EventLoop, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")

    async def main() -> None:
        clients = []
        try:
            with pytest.raises(BlockingIOError):
                for _ in range(10):
                    client = socket.socket(socket.AF_UNIX)
                    clients.append(client)
                    client.setblocking(False)
                    await loop.sock_connect(client, path)
        finally:
            for client in clients:
                client.close()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        run(loop, main())


def receiving(loop: EventLoop, pair: Pair) -> Coroutine[Any, Any, Any]:
    return loop.sock_recv(pair[0], 10)


def sending(loop: EventLoop, pair: Pair) -> Coroutine[Any, Any, Any]:
    fill(pair[0])
    return loop.sock_sendall(pair[0], b"x")


@pytest.mark.parametrize("operation", [receiving, sending])
def test_a_cancelled_call_leaves_nothing_watched(
    loop: EventLoop, pair: Pair, operation: Callable[..., Coroutine[Any, Any, Any]]
) -> None:
    async def main() -> None:
        task = await blocked(operation(loop, pair))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert loop.remove_reader(pair[0]) is False
        assert loop.remove_writer(pair[0]) is False

    run(loop, main())


def test_a_call_that_takes_over_from_a_cancelled_one_is_not_disturbed(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        first = await blocked(loop.sock_recv(pair[0], 10))
        first.cancel()
        second = asyncio.ensure_future(loop.sock_recv(pair[0], 10))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert first.cancelled()
        pair[1].send(b"x")
        assert await second == b"x"

    run(loop, main())


@pytest.mark.skipif(sys.platform == "win32", reason="there a number cannot be chosen")
def test_a_socket_that_took_a_closed_ones_number_within_a_turn_hears_its_own_data(loop: EventLoop) -> None:
    async def main() -> None:
        first, second = socket.socketpair()
        first.setblocking(False)
        loop.call_later(0.01, second.send, b"x")
        await loop.sock_recv(first, 10)
        # Still in the turn in which the wait ended: the old socket goes, another takes its number.
        number = first.fileno()
        first.close()
        third, fourth = socket.socketpair()
        if third.fileno() != number:
            os.dup2(third.fileno(), number)
            third.close()
            third = socket.socket(fileno=number)
        third.setblocking(False)
        loop.call_later(0.01, fourth.send, b"y")
        assert await loop.sock_recv(third, 10) == b"y"
        for one in (second, third, fourth):
            one.close()

    run(loop, main())


@pytest.mark.skipif(sys.platform == "win32", reason="a reset cannot be had reliably there")
def test_a_reset_raises_from_the_call_that_waits(loop: EventLoop, listener: socket.socket) -> None:
    async def main() -> None:
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, listener.getsockname())
            connection, _ = await loop.sock_accept(listener)
            task = await blocked(loop.sock_recv(client, 10))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
            connection.close()
            with pytest.raises(ConnectionResetError):
                await task

    run(loop, main())


def calls_on(loop: EventLoop, sock: Any) -> list[Coroutine[Any, Any, Any]]:
    return [
        loop.sock_recv(sock, 1), loop.sock_recv_into(sock, bytearray(1)), loop.sock_recvfrom(sock, 1),
        loop.sock_recvfrom_into(sock, bytearray(1)), loop.sock_sendall(sock, b"x"), loop.sock_sendto(sock, b"x", ""),
        loop.sock_accept(sock), loop.sock_connect(sock, ("127.0.0.1", 1)), loop.sock_sendfile(sock, io.BytesIO()),
    ]


def test_debug_mode_refuses_blocking_sockets(loop: EventLoop) -> None:
    loop.set_debug(True)
    with socket.socket() as sock:
        for call in calls_on(loop, sock):
            with pytest.raises(ValueError, match="non-blocking"):
                run(loop, call)


def test_tls_sockets_are_refused(loop: EventLoop) -> None:
    import ssl

    context = ssl.create_default_context()
    with context.wrap_socket(socket.socket(), server_hostname="x", do_handshake_on_connect=False) as sock:
        for call in calls_on(loop, sock):
            with pytest.raises(TypeError, match="SSLSocket"):
                run(loop, call)


def test_the_socket_of_a_live_transport_is_refused(loop: EventLoop, pair: Pair) -> None:
    class Transport:
        def is_closing(self) -> bool:
            return False

    transport = Transport()
    loop._transports[pair[0].fileno()] = transport
    with pytest.raises(RuntimeError, match="used by transport"):
        run(loop, loop.sock_recv(pair[0], 1))


@pytest.fixture
def file() -> Iterator[Any]:
    with tempfile.TemporaryFile() as file:
        file.write(bytes(range(256)) * 4096)
        file.flush()
        file.seek(0)
        yield file


def send_file(loop: EventLoop, pair: Pair, file: Any, *args: Any, **options: Any) -> tuple[int, bytes]:
    """What sock_sendfile returns, and what the other side received."""
    received = bytearray()
    pair[1].setblocking(True)

    def receive() -> None:
        while block := pair[1].recv(65536):
            received.extend(block)

    thread = threading.Thread(target=receive)
    thread.start()
    try:
        sent = run(loop, loop.sock_sendfile(pair[0], file, *args, **options))
    finally:
        pair[0].close()
        thread.join()
    return sent, bytes(received)


def test_sendfile_sends_a_whole_file(loop: EventLoop, pair: Pair, file: Any) -> None:
    assert send_file(loop, pair, file) == (1 << 20, bytes(range(256)) * 4096)
    assert file.tell() == 1 << 20


def test_sendfile_sends_a_part(loop: EventLoop, pair: Pair, file: Any) -> None:
    assert send_file(loop, pair, file, 256, 300) == (300, bytes(range(256)) + bytes(range(44)))
    assert file.tell() == 556


def test_sendfile_sends_nothing_of_an_empty_file(loop: EventLoop, pair: Pair) -> None:
    with tempfile.TemporaryFile() as empty:
        assert send_file(loop, pair, empty) == (0, b"")


def test_sendfile_falls_back_for_what_is_no_file_of_the_system(loop: EventLoop, pair: Pair) -> None:
    data = os.urandom(700_000)
    file = io.BytesIO(data)
    assert send_file(loop, pair, file, 1, 600_000) == (600_000, data[1:600_001])
    assert file.tell() == 600_001


def test_sendfile_falls_back_where_the_system_cannot(
    loop: EventLoop, pair: Pair, file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> int:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "sendfile", refuse, raising=False)
    assert send_file(loop, pair, file, 100) == ((1 << 20) - 100, (bytes(range(256)) * 4096)[100:])


def test_sendfile_without_fallback_says_so(loop: EventLoop, pair: Pair) -> None:
    with pytest.raises(asyncio.SendfileNotAvailableError):
        run(loop, loop.sock_sendfile(pair[0], io.BytesIO(b"x"), fallback=False))


@pytest.mark.parametrize("offset, count, error", [
    (-1, None, ValueError), ("0", None, TypeError), (0, 0, ValueError), (0, -1, ValueError), (0, 1.5, TypeError),
])
def test_sendfile_refuses_nonsense(
    loop: EventLoop, pair: Pair, file: Any, offset: Any, count: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        run(loop, loop.sock_sendfile(pair[0], file, offset, count))


def test_sendfile_refuses_text_files_and_datagram_sockets(loop: EventLoop, pair: Pair, udp: Pair, file: Any) -> None:
    with tempfile.TemporaryFile("w+") as text, pytest.raises(ValueError, match="binary mode"):
        run(loop, loop.sock_sendfile(pair[0], text))
    with pytest.raises(ValueError, match="SOCK_STREAM"):
        run(loop, loop.sock_sendfile(udp[0], file))


def test_sendfile_to_a_peer_that_left_raises(loop: EventLoop, pair: Pair, file: Any) -> None:
    pair[1].close()
    with pytest.raises(ConnectionError):
        run(loop, loop.sock_sendfile(pair[0], file))
