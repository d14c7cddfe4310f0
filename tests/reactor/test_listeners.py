"""Bound sockets: one per address, with the right options, and nothing left over when one fails."""

import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from penstock_reactor import EventLoop
from penstock_reactor.listeners import Options, bind_all, bind_unix, set_reuse_port, unlinker
from support.streams import needs_unix

PLAIN = Options(None, None, None)


def bound(loop: EventLoop, host: Any, port: Any = 0, options: Options = PLAIN) -> Any:
    return loop.run_until_complete(bind_all(loop, host, port, socket.AF_UNSPEC, socket.AI_PASSIVE, options))


def close_all(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


@pytest.mark.parametrize("host", ["127.0.0.1", b"127.0.0.1", ["127.0.0.1"], ("127.0.0.1", "127.0.0.1")])
def test_each_address_is_bound_once(loop: EventLoop, host: Any) -> None:
    (sock,) = bound(loop, host)
    with sock:
        assert sock.getsockname()[0] == "127.0.0.1"
        assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)) == (os.name == "posix")


@pytest.mark.parametrize("host", ["", None])
def test_no_host_means_all_interfaces_with_a_socket_per_family(loop: EventLoop, host: Any) -> None:
    sockets = bound(loop, host)
    for sock in sockets:
        assert sock.getsockname()[0] in ("0.0.0.0", "::")
        if sock.family == socket.AF_INET6:
            assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    families = [sock.family for sock in sockets]
    close_all(sockets)
    assert len(families) == len(set(families)) >= 1


def test_options_are_set_as_asked(loop: EventLoop) -> None:
    (sock,) = bound(loop, "127.0.0.1", options=Options(False, hasattr(socket, "SO_REUSEPORT"), True))
    with sock:
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "SO_REUSEPORT"):
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)


def test_reuse_port_where_there_is_none_is_a_value_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as sock:
        monkeypatch.delattr(socket, "SO_REUSEPORT", raising=False)
        with pytest.raises(ValueError, match="not supported"):
            set_reuse_port(sock)
    with socket.socket() as sock:
        monkeypatch.setattr(socket, "SO_REUSEPORT", 9999, raising=False)
        with pytest.raises(ValueError, match="not implemented"):
            set_reuse_port(sock)


def test_a_taken_address_is_named_and_nothing_stays_open(loop: EventLoop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"attempting to bind on address .*{port}") as caught:
            bound(loop, ["127.0.0.2", "127.0.0.1"], port)
        assert caught.value.errno == errno.EADDRINUSE
        close_all(bound(loop, "127.0.0.2", port))


def test_an_address_the_machine_does_not_have_is_left_out_if_another_can_be_had(loop: EventLoop) -> None:
    (sock,) = bound(loop, ["192.0.2.1", "127.0.0.1"])
    assert sock.getsockname()[0] == "127.0.0.1"
    sock.close()
    with pytest.raises(OSError, match="could not bind on any address out of"):
        bound(loop, "192.0.2.1")


@needs_unix
def test_a_stale_socket_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    bind_unix(path).close()
    assert path.is_socket()
    with bind_unix(str(path)) as sock:
        assert sock.getsockname() == str(path)


@needs_unix
def test_any_other_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(OSError, match="is already in use") as caught:
        bind_unix(path)
    assert caught.value.errno == errno.EADDRINUSE and path.read_text() == "precious"
    with pytest.raises(FileNotFoundError):
        bind_unix(tmp_path / "no" / "folder")


@needs_unix
def test_the_file_is_removed_only_while_it_is_still_the_same(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with bind_unix(path) as first:
        unlink = unlinker(first)
        assert unlink is not None
        unlink()
        assert not path.exists()
        unlink()
        # Another inode, which the first one still in use guarantees.
        path.write_text("someone else's")
        os.link(path, tmp_path / "kept")
    with bind_unix(tmp_path / "other") as second:
        unlink = unlinker(second)
        os.replace(path, tmp_path / "other")
        assert unlink is not None
        unlink()
        assert (tmp_path / "other").read_text() == "someone else's"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX") or not os.path.exists("/proc/net/unix"), reason="Linux only")
@pytest.mark.parametrize("name", ["\0penstock-test", b"\0penstock-test"])
def test_abstract_names_have_no_file(name: str | bytes) -> None:
    with bind_unix(name) as sock:
        assert sock.getsockname() == b"\0penstock-test"
        assert unlinker(sock) is None
