import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.listener import ListenError, bind, url_of
from penstock.settings import Settings


@pytest.fixture
def bound() -> Iterator[Any]:
    sockets: list[socket.socket] = []

    def make(**options: Any) -> list[socket.socket]:
        found = bind(Settings(**{"port": 0, **options}))
        sockets.extend(found)
        return found

    yield make
    for sock in sockets:
        sock.close()


def refused(**options: Any) -> str:
    with pytest.raises(ListenError) as caught:
        for sock in bind(Settings(**options)):
            sock.close()
    return str(caught.value)


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


def test_a_bound_socket_listens_and_does_not_block(bound: Any) -> None:
    (sock,) = bound()
    assert sock.getsockname()[0] == "127.0.0.1" and sock.getsockname()[1]
    with pytest.raises(BlockingIOError):
        sock.accept()
    with socket.create_connection(sock.getsockname()):
        pass


def test_an_accepted_socket_does_not_hold_small_answers_back(bound: Any) -> None:
    (sock,) = bound()
    with socket.create_connection(sock.getsockname()):
        sock.setblocking(True)
        accepted, _ = sock.accept()
        with accepted:
            if sys.platform != "win32":
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_name_of_several_addresses_gets_a_socket_for_each_on_one_port(bound: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def two(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{last}", 0)) for last in (1, 2, 1)]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    sockets = bound(host="several.test")
    assert [sock.getsockname()[0] for sock in sockets] == ["127.0.0.1", "127.0.0.2"]
    assert len({sock.getsockname()[1] for sock in sockets}) == 1


def test_an_address_this_machine_lacks_is_left_out_when_there_is_another(bound: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def two(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in ("203.0.113.7", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    (sock,) = bound(host="several.test")
    assert sock.getsockname()[0] == "127.0.0.1"


@needs_ipv6
def test_every_address_takes_both_families(bound: Any) -> None:
    (sock,) = bound(host="::")
    for host in ("127.0.0.1", "::1"):
        with socket.create_connection((host, sock.getsockname()[1]), timeout=5):
            pass


@needs_ipv6
def test_localhost_is_reached_by_both_families(bound: Any) -> None:
    port = {sock.getsockname()[1] for sock in bound(host="localhost")}
    assert len(port) == 1


def test_a_socket_is_named_as_a_person_reaches_it(bound: Any) -> None:
    (sock,) = bound()
    assert url_of(sock, Settings()) == f"http://127.0.0.1:{sock.getsockname()[1]}"


@needs_ipv6
def test_an_ipv6_address_stands_in_brackets(bound: Any) -> None:
    (sock,) = bound(host="::1")
    assert url_of(sock, Settings()) == f"http://[::1]:{sock.getsockname()[1]}"


def test_a_port_in_use_is_named_and_nothing_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]

        def two(*_: Any, **__: Any) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.1", "127.0.0.2")]

        monkeypatch.setattr(socket, "getaddrinfo", two)
        told = refused(host="several.test", port=port)
        assert f"several.test:{port}" in told and "in use" in told and "--port" in told
        if sys.platform == "linux":
            assert "process" in told
        # The first of the two was given back.
        socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.parametrize("host, told", [
    ("no-such-host.invalid", "is not known"),
    ("203.0.113.7", "no such address"),
])
def test_an_address_that_cannot_be_had_is_named(host: str, told: str) -> None:
    assert told in refused(host=host, port=0)


@pytest.mark.parametrize("number, told", [(13, "privileges"), (10013, "privileges"), (10048, "in use"), (105, "No buffer space")])
def test_every_failure_says_what_to_do(number: int, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(number, "No buffer space available")

    monkeypatch.setattr("penstock.listener._bind", fail)
    message = refused(port=0)
    assert message.startswith("Cannot listen on 127.0.0.1:0: ") and told in message


def test_a_port_can_be_bound_again_right_after_its_server_ended(bound: Any) -> None:
    (sock,) = bound()
    port = sock.getsockname()[1]
    with socket.create_connection(sock.getsockname()) as client:
        sock.setblocking(True)
        accepted, _ = sock.accept()
        accepted.close()
        sock.close()
        client.recv(1)
        bound(port=port)
