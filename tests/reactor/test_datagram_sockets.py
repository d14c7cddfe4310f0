"""Datagram sockets: which are opened, with what options, and what is refused before anything is open."""

import asyncio
import socket
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from penstock_reactor import EventLoop
from penstock_reactor.datagram_sockets import check_given, open_socket

LOCAL = ("127.0.0.1", 0)
ASKED = {"family": 0, "proto": 0, "flags": 0, "reuse_port": None, "allow_broadcast": None}

needs_unix = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no UNIX sockets here")


def run(loop: EventLoop, coro: Coroutine[Any, Any, Any]) -> Any:
    return loop.run_until_complete(asyncio.wait_for(coro, 10))


def opened(loop: EventLoop, local: Any = None, remote: Any = None, **options: Any) -> tuple[socket.socket, Any]:
    result: tuple[socket.socket, Any] = run(loop, open_socket(loop, local, remote, **{**ASKED, **options}))
    return result


def option(sock: socket.socket, name: int) -> int:
    return sock.getsockopt(socket.SOL_SOCKET, name)


def test_a_local_address_is_bound_and_no_option_is_set(loop: EventLoop) -> None:
    sock, default = opened(loop, LOCAL)
    with sock:
        assert sock.getsockname()[0] == "127.0.0.1"
        assert sock.gettimeout() == 0
        assert default is None
        assert not option(sock, socket.SO_REUSEADDR)
        assert not option(sock, socket.SO_BROADCAST)


def test_a_remote_address_is_connected_and_is_the_default(loop: EventLoop) -> None:
    sock, default = opened(loop, remote=("127.0.0.1", 9))
    with sock:
        assert sock.getpeername() == default == ("127.0.0.1", 9)


def test_both_addresses_must_share_a_family(loop: EventLoop) -> None:
    with pytest.raises(ValueError, match="can not get address information"):
        opened(loop, ("::1", 0), ("127.0.0.1", 9))


def test_names_are_looked_up(loop: EventLoop) -> None:
    sock, _ = opened(loop, ("localhost", 0), family=socket.AF_INET)
    with sock:
        assert sock.getsockname()[0] == "127.0.0.1"


def test_a_name_that_says_nothing_is_an_error(loop: EventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*args: Any, **options: Any) -> list[Any]:
        return []

    monkeypatch.setattr(loop, "getaddrinfo", nothing)
    with pytest.raises(OSError, match="empty list"):
        opened(loop, ("localhost", 0))


def test_a_family_alone_is_enough_and_nothing_at_all_is_not(loop: EventLoop) -> None:
    sock, _ = opened(loop, family=socket.AF_INET)
    sock.close()
    with pytest.raises(ValueError, match="unexpected address family"):
        opened(loop)


@pytest.mark.parametrize("address", ["localhost", ("localhost", 1, 2, 3), ["localhost", 1]])
def test_an_address_that_is_no_pair_is_refused(loop: EventLoop, address: Any) -> None:
    with pytest.raises(TypeError, match="2-tuple is expected"):
        opened(loop, address)


def test_broadcast_leaves_the_socket_unconnected(loop: EventLoop) -> None:
    sock, default = opened(loop, remote=("127.255.255.255", 9), allow_broadcast=True)
    with sock:
        assert option(sock, socket.SO_BROADCAST)
        assert default == ("127.255.255.255", 9)
        with pytest.raises(OSError):
            sock.getpeername()


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="no SO_REUSEPORT here")
def test_reuse_port_lets_two_share_a_port(loop: EventLoop) -> None:
    first, _ = opened(loop, LOCAL, reuse_port=True)
    with first:
        second, _ = opened(loop, first.getsockname(), reuse_port=True)
        second.close()
        with pytest.raises(OSError):
            opened(loop, first.getsockname())


def test_reuse_port_without_system_support_says_so(loop: EventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT", raising=False)
    with pytest.raises(ValueError, match="reuse_port not supported"):
        opened(loop, LOCAL, reuse_port=True)


@pytest.fixture
def taken() -> Iterator[Any]:
    """An address that cannot be bound."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(LOCAL)
        yield sock.getsockname()


def resolve_to(loop: EventLoop, monkeypatch: pytest.MonkeyPatch, *addresses: Any) -> None:
    """Let any name mean these addresses, each with a protocol number of its own."""

    async def getaddrinfo(*args: Any, **options: Any) -> list[Any]:
        protos = (socket.IPPROTO_UDP, 0)
        return [(socket.AF_INET, socket.SOCK_DGRAM, proto, "", address) for proto, address in zip(protos, addresses)]

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)


def test_the_first_failure_is_raised_when_no_address_can_be_bound(
    loop: EventLoop, monkeypatch: pytest.MonkeyPatch, taken: Any
) -> None:
    resolve_to(loop, monkeypatch, taken, taken)
    with pytest.raises(OSError):
        opened(loop, ("somewhere", 0))


def test_an_address_that_fails_gives_way_to_the_next(
    loop: EventLoop, monkeypatch: pytest.MonkeyPatch, taken: Any
) -> None:
    resolve_to(loop, monkeypatch, taken, LOCAL)
    sock, _ = opened(loop, ("somewhere", 0))
    with sock:
        assert sock.getsockname()[1] not in (0, taken[1])


def test_a_ready_made_socket_must_be_a_datagram_socket() -> None:
    with socket.socket() as stream, pytest.raises(ValueError, match="A datagram socket was expected"):
        check_given(stream)


def test_a_ready_made_socket_takes_no_options() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        check_given(sock, local_addr=None, family=0)
        with pytest.raises(ValueError, match=r"sock is specified. \(local_addr=.*, proto=1\)"):
            check_given(sock, local_addr=LOCAL, family=0, proto=1)


@needs_unix
def test_a_socket_file_left_behind_is_replaced(loop: EventLoop, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    for _ in range(2):
        sock, _default = opened(loop, path, family=socket.AF_UNIX)
        sock.close()


@needs_unix
def test_another_kind_of_file_is_left_alone(loop: EventLoop, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(OSError):
        opened(loop, str(path), family=socket.AF_UNIX)
    assert path.read_text() == "data"


@needs_unix
def test_a_path_that_cannot_be_looked_at_is_logged_and_left_to_bind(
    loop: EventLoop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        opened(loop, str(tmp_path / "file" / "socket"), family=socket.AF_UNIX)
    assert "stale UNIX socket" in caplog.text


@needs_unix
def test_abstract_names_work_and_paths_must_be_strings(loop: EventLoop) -> None:
    try:
        sock, _ = opened(loop, "\0penstock-test-datagram", family=socket.AF_UNIX)
    except OSError:
        pytest.skip("no abstract names here")
    sock.close()
    with pytest.raises(TypeError, match="string is expected"):
        opened(loop, LOCAL, family=socket.AF_UNIX)
