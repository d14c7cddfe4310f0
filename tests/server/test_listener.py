import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.listener import ListenError, bind, url_of
from penstock.settings import Settings
from support.serving import environment


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
    ("a..b", "is not known"),
    ("a\0b", "is not known"),
    ("203.0.113.7", "no such address"),
])
def test_an_address_that_cannot_be_had_is_named(host: str, told: str) -> None:
    assert told in refused(host=host, port=0)


@pytest.mark.parametrize("number, told", [(13, "privileges"), (10013, "privileges"), (10048, "in use"), (105, "No buffer space")])
def test_every_failure_says_what_to_do(number: int, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
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


# -- several hosts


def test_several_hosts_share_a_port_and_each_address_is_bound_once(bound: Any) -> None:
    sockets = bound(host=("127.0.0.1", "127.0.0.2", "127.0.0.1"))
    assert [sock.getsockname()[0] for sock in sockets] == ["127.0.0.1", "127.0.0.2"]
    assert len({sock.getsockname()[1] for sock in sockets}) == 1


def test_an_address_beside_every_address_of_its_family_is_not_bound_twice(bound: Any) -> None:
    assert [sock.getsockname()[0] for sock in bound(host=("127.0.0.1", "0.0.0.0"))] == ["0.0.0.0"]
    assert "0.0.0.0" in [sock.getsockname()[0] for sock in bound(host="")]


def test_a_host_that_cannot_be_had_is_not_made_up_for_by_another() -> None:
    assert "Cannot listen on 203.0.113.7:0" in refused(host=("127.0.0.1", "203.0.113.7"), port=0)


@needs_ipv6
def test_every_ipv6_address_leaves_ipv4_to_who_names_it(bound: Any) -> None:
    sockets = bound(host=("::", "0.0.0.0"))
    assert [sock.getsockname()[0] for sock in sockets] == ["::", "0.0.0.0"]


# -- sockets of others


needs_unix = pytest.mark.skipif(sys.platform == "win32", reason="Python has no Unix sockets there")


@pytest.mark.parametrize("listens", [True, False])
def test_a_socket_opened_by_another_is_listened_on_and_stays_its_own(listens: bool, bound: Any) -> None:
    with socket.socket() as theirs:
        theirs.bind(("127.0.0.1", 0))
        if listens:
            theirs.listen()
        (sock,) = bound(fd=theirs.fileno())
        assert sock.getsockname() == theirs.getsockname() and sock.fileno() != theirs.fileno()
        assert not sock.get_inheritable()
        with pytest.raises(BlockingIOError):
            sock.accept()
        sock.close()
        with socket.create_connection(theirs.getsockname(), timeout=5):
            pass


@needs_unix
def test_the_family_of_a_descriptor_is_seen(bound: Any, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(str(tmp_path / "s"))
        (sock,) = bound(fd=theirs.fileno())
        assert (sock.family, url_of(sock, Settings())) == (socket.AF_UNIX, f"unix:{tmp_path / 's'}")


def test_a_descriptor_that_is_no_listening_socket_is_named_with_the_reason(tmp_path: Path) -> None:
    with open(tmp_path / "f", "w") as file, socket.socket(type=socket.SOCK_DGRAM) as datagram, socket.socket() as unbound:
        datagram.bind(("127.0.0.1", 0))
        one, other = socket.socketpair()
        with one, other:
            cases: list[tuple[Any, str]] = [(file, "it is no socket"), (datagram, "it is no stream socket"),
                     (one, "it is a connection"), (unbound, "it has no address yet")]
            for each, told in cases:
                assert refused(fd=each.fileno()).startswith(f"Cannot listen on descriptor {each.fileno()}: {told}")
                if sys.platform != "win32":
                    os.fstat(each.fileno())
        closed = one.fileno()
    with open(os.devnull) as file:
        closed = file.fileno()
    told = "it is no socket" if sys.platform == "win32" else "it is not open"
    assert refused(fd=closed).startswith(f"Cannot listen on descriptor {closed}: {told}")


SYSTEMD = """
import os, socket, sys
from penstock.listener import ListenError, bind
from penstock.settings import Settings
os.environ["LISTEN_PID"] = sys.argv[1] or str(os.getpid())
os.environ["LISTEN_FDS"] = sys.argv[2]
try:
    sockets = bind(Settings(port=0))
except ListenError as error:
    sys.exit(str(error))
print(*(sock.getsockname()[1] for sock in sockets), "LISTEN_FDS" in os.environ, len(sockets))
"""


def start_as_systemd(pid: str, count: str, sockets: list[socket.socket]) -> subprocess.CompletedProcess[str]:
    """A process whose descriptors from 3 on are these sockets, as systemd starts it."""
    numbers = " ".join(f"{place}<&{sock.fileno()}" for place, sock in enumerate(sockets, 3))
    script = f'exec "$@" {numbers}'
    return subprocess.run(
        ["bash", "-c", script, "bash", sys.executable, "-c", SYSTEMD, pid, count], env=environment(),
        pass_fds=[sock.fileno() for sock in sockets], capture_output=True, text=True, timeout=30,
    )


@needs_unix
def test_the_sockets_of_systemd_are_taken_by_the_process_they_are_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = [str(each.getsockname()[1]) for each in (one, two)]
        result = start_as_systemd("", "2", [one, two])
        assert (result.stdout.split(), result.stderr) == ([*ports, "False", "2"], "")
        for pid, count in (("1", "2"), ("", "two"), ("", "0")):
            assert not set(ports) & set(start_as_systemd(pid, count, [one, two]).stdout.split())
        result = start_as_systemd("", "3", [one, two])
        assert result.stderr.startswith("Cannot listen on descriptor 5: it is not open")


# -- Unix sockets


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: the name of a Unix socket may not be long."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@needs_unix
def test_a_unix_socket_has_the_permissions_that_are_wanted_and_goes_when_it_is_closed(bound: Any, folder: Path) -> None:
    (sock,) = bound(uds="s", uds_mode="640", uds_owner=f"{os.getuid()}:{os.getgid()}")
    assert stat.S_IMODE(os.stat("s").st_mode) == 0o640
    assert url_of(sock, Settings()) == "unix:s"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("s")
    sock.close()
    assert not os.path.lexists("s")
    sock.close()


@needs_unix
def test_a_unix_socket_is_everybodys_unless_told_otherwise(bound: Any, folder: Path) -> None:
    bound(uds="s")
    assert stat.S_IMODE(os.stat("s").st_mode) == 0o666


@needs_unix
def test_the_file_of_a_dead_server_is_replaced_and_that_of_a_living_one_is_not(bound: Any, folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind("s")
    (sock,) = bound(uds="s")
    told = refused(uds="s")
    assert told.startswith("Cannot listen on the Unix socket s: it is in use by ")
    if sys.platform == "linux":
        assert f"(process {os.getpid()})" in told
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("s")
    sock.close()


@needs_unix
def test_a_file_that_another_server_has_put_in_its_place_is_not_removed(bound: Any, folder: Path) -> None:
    (sock,) = bound(uds="s")
    os.unlink("s")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind("s")
        sock.close()
        assert os.path.exists("s")


@needs_unix
def test_a_unix_socket_whose_folder_is_left_goes_all_the_same(bound: Any, folder: Path) -> None:
    (sock,) = bound(uds="s")
    os.chdir("/")
    sock.close()
    assert not (folder / "s").exists()


@needs_unix
@pytest.mark.parametrize("options, told", [
    ({"uds": "file"}, "there is something of this name that is no socket. Remove it, or choose another with --uds."),
    ({"uds": "no/such/s"}, "there is no folder "),
    ({"uds": "x" * 200}, "AF_UNIX path too long"),
    ({"uds": "s", "uds_owner": "nobody-of-this-name"}, "no such user"),
    ({"uds": "s", "uds_owner": ":no-such-group"}, "no such group"),
])
def test_a_unix_socket_that_cannot_be_had_is_named_and_leaves_nothing(options: dict[str, str], told: str, folder: Path) -> None:
    (folder / "file").write_text("")
    message = refused(**options)
    assert message.startswith(f"Cannot listen on the Unix socket {options['uds']}: ") and told in message
    assert os.listdir() == ["file"]


@needs_unix
def test_a_unix_socket_that_this_user_may_not_make_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refuse)
    assert refused(uds="s") == "Cannot listen on the Unix socket s: this user may not make or change a socket there."
    assert os.listdir() == []


def test_where_there_are_no_unix_sockets_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert refused(uds="s").endswith("Python has none on Windows. Use --host and --port.")
