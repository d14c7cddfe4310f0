"""create_connection: which addresses are tried, in which order, and what is said when none answers."""

import asyncio
import errno
import gc
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from penstock_reactor import EventLoop
from penstock_reactor.connector import _interleaved, _race
from support.recorders import Recorder
from support.streams import finish, needs_unix, turns

Address = tuple[str, int]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listening socket on the loopback."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


@pytest.fixture
def refused() -> Address:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address: Address = sock.getsockname()
    return address


def info(address: Any, family: int = socket.AF_INET) -> tuple[Any, ...]:
    return family, socket.SOCK_STREAM, 6, "", address


def resolving_to(loop: EventLoop, *infos: tuple[Any, ...]) -> None:
    """Let every name mean these addresses."""

    async def getaddrinfo(host: Any, port: Any, **_: Any) -> list[tuple[Any, ...]]:
        return [found if isinstance(host, str) and host == "name" else info((host, port)) for found in infos]

    loop.getaddrinfo = getaddrinfo  # type: ignore[method-assign]  # instances take attributes


def test_a_connection_is_told_before_it_is_returned(loop: EventLoop, listener: socket.socket) -> None:
    async def main() -> None:
        transport, protocol = await loop.create_connection(Recorder, *listener.getsockname())
        assert protocol.names() == ["connection_made"]
        assert transport.get_extra_info("peername") == listener.getsockname()
        await finish(transport, protocol)

    loop.run_until_complete(main())


def test_a_numeric_address_needs_no_thread(loop: EventLoop, listener: socket.socket) -> None:
    def run_in_executor(*_: object) -> None:
        raise AssertionError("a thread was asked for")

    async def main() -> None:
        loop.run_in_executor = run_in_executor  # type: ignore[method-assign, assignment]  # instances take attributes
        transport, protocol = await loop.create_connection(Recorder, *listener.getsockname())
        await finish(transport, protocol)

    loop.run_until_complete(main())


def test_a_connected_socket_is_taken_as_it_is(loop: EventLoop) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        transport, protocol = await loop.create_connection(Recorder, sock=ours)
        theirs.send(b"x")
        await protocol.heard("data_received")
        assert transport.get_extra_info("socket").fileno() == ours.fileno()
        await finish(transport, protocol)
        theirs.close()

    loop.run_until_complete(main())


def test_a_given_socket_stays_the_callers_when_the_protocol_cannot_be_made(loop: EventLoop) -> None:
    def factory() -> Any:
        raise ValueError("no protocol")

    ours, theirs = socket.socketpair()
    with ours, theirs:
        with pytest.raises(ValueError, match="no protocol"):
            loop.run_until_complete(loop.create_connection(factory, sock=ours))
        assert ours.fileno() != -1


def test_the_next_address_is_tried_when_one_refuses(
    loop: EventLoop, listener: socket.socket, refused: Address
) -> None:
    async def main() -> None:
        resolving_to(loop, info(refused), info(listener.getsockname()))
        transport, protocol = await loop.create_connection(Recorder, "name", 80)
        assert transport.get_extra_info("peername") == listener.getsockname()
        await finish(transport, protocol)

    loop.run_until_complete(main())


def test_one_refusal_is_told_as_it_is(loop: EventLoop, refused: Address) -> None:
    with pytest.raises(ConnectionRefusedError):
        loop.run_until_complete(loop.create_connection(Recorder, *refused))


@pytest.mark.parametrize("delay", [None, 0.01])
def test_several_refusals_are_told_together(loop: EventLoop, refused: Address, delay: float | None) -> None:
    resolving_to(loop, info(refused), info(("127.0.0.1", refused[1] ^ 1)))
    with pytest.raises(OSError, match="Multiple exceptions: .*, ") as caught:
        loop.run_until_complete(loop.create_connection(Recorder, "name", 80, happy_eyeballs_delay=delay))
    assert not isinstance(caught.value, ConnectionRefusedError)


def test_all_errors_come_as_a_group_if_asked_for(loop: EventLoop, refused: Address) -> None:
    resolving_to(loop, info(refused), info(refused))
    with pytest.raises(ExceptionGroup, match="create_connection failed") as caught:
        loop.run_until_complete(loop.create_connection(Recorder, "name", 80, all_errors=True))
    assert [type(exc) for exc in caught.value.exceptions] == [ConnectionRefusedError] * 2
    with pytest.raises(ConnectionRefusedError):
        loop.run_until_complete(loop.create_connection(Recorder, "name", 80))


def test_a_name_without_addresses_is_an_os_error(loop: EventLoop) -> None:
    resolving_to(loop)
    with pytest.raises(OSError, match="returned empty list"):
        loop.run_until_complete(loop.create_connection(Recorder, "name", 80))


def test_happy_eyeballs_does_not_wait_for_an_address_that_is_silent(
    loop: EventLoop, listener: socket.socket
) -> None:
    silent = ("127.0.0.1", 1)
    cancelled: list[Any] = []
    real_connect = loop.sock_connect

    async def sock_connect(sock: socket.socket, address: Any) -> None:
        if address == silent:
            try:
                await loop.create_future()
            finally:
                cancelled.append(address)
        await real_connect(sock, address)

    async def main() -> None:
        loop.sock_connect = sock_connect  # type: ignore[method-assign]  # instances take attributes
        resolving_to(loop, info(silent), info(listener.getsockname()))
        transport, protocol = await loop.create_connection(Recorder, "name", 80, happy_eyeballs_delay=0.01)
        assert transport.get_extra_info("peername") == listener.getsockname()
        assert cancelled == [silent]
        await finish(transport, protocol)

    loop.run_until_complete(main())


def test_a_cancelled_attempt_leaves_no_socket_open(loop: EventLoop) -> None:
    async def sock_connect(sock: socket.socket, address: Any) -> None:
        await loop.create_future()

    async def main() -> None:
        loop.sock_connect = sock_connect  # type: ignore[method-assign]  # instances take attributes
        for delay in (None, 0.01):
            resolving_to(loop, info(("127.0.0.1", 1)), info(("127.0.0.1", 2)))
            connecting = asyncio.ensure_future(loop.create_connection(Recorder, "name", 80, happy_eyeballs_delay=delay))
            await asyncio.sleep(0.03)
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting

    loop.run_until_complete(main())
    gc.collect()  # a socket left open warns, and pytest tells


def test_a_caller_cancelled_while_the_losers_are_called_off_leaves_no_socket_open(
    loop: EventLoop, pair: tuple[socket.socket, socket.socket]
) -> None:
    called_off = loop.create_future()
    late, winner = pair

    async def wins() -> socket.socket:
        return winner

    async def loses() -> socket.socket:
        try:
            await loop.create_future()
        finally:
            called_off.set_result(None)
            await loop.create_future()
        raise AssertionError

    async def connects_too_late() -> socket.socket:
        try:
            await loop.create_future()
        except asyncio.CancelledError:
            pass
        return late

    async def main() -> None:
        racing = asyncio.ensure_future(_race([loses, connects_too_late, wins], 0.01, []))
        await called_off
        racing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await racing

    loop.run_until_complete(main())
    assert winner.fileno() == late.fileno() == -1


def test_addresses_are_interleaved_by_family() -> None:
    four = [info(n, socket.AF_INET) for n in "abcd"]
    six = [info(n, socket.AF_INET6) for n in "xy"]

    def order(count: int) -> str:
        return "".join(found[4] for found in _interleaved(six + four, count))

    assert order(1) == "xaybcd"
    assert order(2) == "xyabcd"
    assert "".join(found[4] for found in _interleaved(four, 3)) == "abcd"


def test_the_local_address_is_bound_first(loop: EventLoop, listener: socket.socket) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            local = taken.getsockname()
        transport, protocol = await loop.create_connection(Recorder, *listener.getsockname(), local_addr=local)
        assert transport.get_extra_info("sockname") == local
        await finish(transport, protocol)

    loop.run_until_complete(main())


def test_a_local_address_that_cannot_be_had_is_named(loop: EventLoop, listener: socket.socket) -> None:
    local = listener.getsockname()
    with pytest.raises(OSError, match=f"attempting to bind on address .*{local[1]}") as caught:
        loop.run_until_complete(loop.create_connection(Recorder, *listener.getsockname(), local_addr=local))
    assert caught.value.errno == errno.EADDRINUSE


def test_a_local_address_of_another_family_is_refused(loop: EventLoop, listener: socket.socket) -> None:
    with pytest.raises(OSError, match="no matching local address with family="):
        loop.run_until_complete(loop.create_connection(Recorder, *listener.getsockname(), local_addr=("::1", 0)))


def test_the_scope_of_a_link_local_address_is_kept(loop: EventLoop) -> None:
    interfaces = Path("/proc/net/if_inet6")
    lines = interfaces.read_text().splitlines() if interfaces.exists() else []
    found = [line.split() for line in lines if line.startswith("fe80")]
    if not found:
        pytest.skip("no link-local address here")
    digits, name = found[0][0], found[0][5]
    host = ":".join(digits[at : at + 4] for at in range(0, 32, 4)) + "%" + name

    async def main() -> None:
        address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0][4]
        with socket.socket(socket.AF_INET6) as listener:
            listener.bind(address)
            listener.listen()
            transport, protocol = await loop.create_connection(Recorder, host, listener.getsockname()[1])
            assert transport.get_extra_info("peername") == listener.getsockname()
            await finish(transport, protocol)

    loop.run_until_complete(main())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({}, "host and port was not specified"),
        ({"host": "h", "sock": 1}, "can not be specified at the same time"),
        ({"host": "h", "server_hostname": "x"}, "server_hostname is only meaningful with ssl"),
        ({"host": "h", "ssl_handshake_timeout": 1}, "ssl_handshake_timeout is only meaningful with ssl"),
        ({"host": "h", "ssl_shutdown_timeout": 1}, "ssl_shutdown_timeout is only meaningful with ssl"),
        ({"port": 1, "ssl": True}, "You must set server_hostname"),
        ({"host": "h", "ssl": True, "ssl_handshake_timeout": 0}, "should be a positive number"),
        ({"host": "h", "ssl": True, "ssl_shutdown_timeout": -1}, "should be a positive number"),
    ],
)
def test_arguments_that_do_not_fit_together_are_value_errors(
    loop: EventLoop, arguments: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        loop.run_until_complete(loop.create_connection(Recorder, **arguments))


def test_sockets_of_other_kinds_are_refused(loop: EventLoop) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        with pytest.raises(ValueError, match="A Stream Socket was expected"):
            loop.run_until_complete(loop.create_connection(Recorder, sock=datagrams))
    context = ssl.create_default_context()
    with context.wrap_socket(socket.socket(), server_hostname="x") as secure:
        with pytest.raises(TypeError, match="cannot be of type SSLSocket"):
            loop.run_until_complete(loop.create_connection(Recorder, sock=secure))


@needs_unix
def test_unix_sockets_are_connected_by_their_path(loop: EventLoop, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "socket"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            with pytest.raises(ConnectionRefusedError):
                await loop.create_unix_connection(Recorder, path)
            listener.listen()
            transport, protocol = await loop.create_unix_connection(Recorder, path)
            await turns()
            await finish(transport, protocol)
        ours, theirs = socket.socketpair()
        transport, protocol = await loop.create_unix_connection(Recorder, sock=ours)
        await finish(transport, protocol)
        theirs.close()

    loop.run_until_complete(main())


def test_a_platform_without_unix_sockets_says_so(loop: EventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX", raising=False)
    with pytest.raises(NotImplementedError, match="use TCP"):
        loop.run_until_complete(loop.create_unix_connection(Recorder, "path"))
    with pytest.raises(NotImplementedError, match="use TCP"):
        loop.run_until_complete(loop.create_unix_server(Recorder, "path"))


@needs_unix
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({}, "no path and sock"),
        ({"path": "p", "sock": 1}, "can not be specified at the same time"),
        ({"path": "p", "ssl": True}, "you have to pass server_hostname"),
        ({"path": "p", "server_hostname": "x"}, "only meaningful with ssl"),
    ],
)
def test_arguments_for_unix_sockets_that_do_not_fit_are_value_errors(
    loop: EventLoop, arguments: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        loop.run_until_complete(loop.create_unix_connection(Recorder, **arguments))
    with socket.socket() as internet, pytest.raises(ValueError, match="UNIX Domain Stream Socket"):
        loop.run_until_complete(loop.create_unix_connection(Recorder, sock=internet))
