"""Bound, listening sockets, and what to say when one cannot be had.

TCP: a host name may stand for several addresses (localhost is 127.0.0.1 and ::1): each gets a socket, on the same port;
"::" takes IPv4 too, unless IPv4 is named beside it. A Unix socket, whose file goes when the socket is closed. Or what
somebody else has opened: a descriptor, or those of systemd (sd_listen_fds(3)). Whoever binds keeps the sockets open as
long as the server lives, through every restart of what accepts from them.
"""

import errno
import os
import shutil
import socket
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from .settings import Settings

_FIRST_INHERITED = 3
"""SD_LISTEN_FDS_START."""

_PROBE = 1.0
"""Seconds that a server on a Unix socket has to take a connection, before it counts as alive but busy."""


class ListenError(Exception):
    """An address cannot be listened on; the text says which, why, and what to do."""


def bind(settings: Settings) -> list[socket.socket]:
    """Listen as the settings say. Raises ListenError; then none is left open."""
    if settings.fd is not None:
        return [_adopt(settings.fd, settings.backlog)]
    if settings.uds is not None:
        return [_bind_unix(settings.uds, settings)]
    sockets: list[socket.socket] = []
    try:
        for descriptor in _take_inherited():
            sockets.append(_adopt(descriptor, settings.backlog, is_given=True))
        for host in () if sockets else settings.host:
            _bind_host(host, settings, sockets)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def url_of(sock: socket.socket, settings: Settings) -> str:
    """How it is reached: http://127.0.0.1:8000, unix:/run/app.sock."""
    name = sock.getsockname()
    if not isinstance(name, tuple):
        return "unix:" + os.fsdecode(name)
    host, port = name[:2]
    scheme = "https" if settings.ssl_certfile else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _bind_host(host: str, settings: Settings, sockets: list[socket.socket]) -> None:
    """Add a socket for each address that a host name stands for and that has none yet."""
    # "::" would take the port for IPv4 as well.
    is_alone = all(":" in each for each in settings.host)
    is_had = False
    unavailable: OSError | None = None
    try:
        for family, address in _addresses(host, settings.port):
            # With port 0 the first socket's choice holds for the others.
            wanted = sockets[0].getsockname()[1] if sockets else settings.port
            everywhere = "::" if family == socket.AF_INET6 else "0.0.0.0"
            is_covered = everywhere in settings.host and address[0] != everywhere
            if is_covered or (address[0], wanted) in [sock.getsockname()[:2] for sock in sockets]:
                is_had = True
                continue
            try:
                sockets.append(_bind(family, address[0], wanted, settings.backlog, is_dual=host == "::" and is_alone))
                is_had = True
            except OSError as error:
                # localhost may name an address of a family this machine does not have.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                unavailable = error
        if not is_had and unavailable is not None:
            raise unavailable
    except OSError as error:
        raise ListenError(_explain(error, host, settings.port)) from None


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """The addresses a host name stands for, each once."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, ValueError) as error:
        # A ValueError for what can be no name at all.
        why = getattr(error, "strerror", None) or error
        raise ListenError(f"Cannot listen on {host}:{port}: the host name {host!r} is not known ({why}).") from None
    addresses = [(family, (str(address[0]), port)) for family, _, _, _, address in found]
    return list(dict.fromkeys(addresses))


def _bind(family: socket.AddressFamily, host: str, port: int, backlog: int, *, is_dual: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":
            # There SO_REUSEADDR would let another process take the port over.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if is_dual else 1)
        sock.bind((host, port))
        _listen(sock, backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _listen(sock: socket.socket, backlog: int) -> None:
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        # Accepted sockets inherit it: an answer in several writes does not wait for the client's delayed ACK.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Whoever opened it and listens already has chosen a backlog.
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.listen(backlog)
    sock.setblocking(False)


# -- what somebody else has opened


def _take_inherited() -> list[int]:
    """The descriptors that systemd has opened for this process, as sd_listen_fds(3): told once, and not to our children."""
    owner, count = os.environ.get("LISTEN_PID"), os.environ.get("LISTEN_FDS", "")
    if owner != str(os.getpid()) or not count.isdecimal():
        return []
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    return list(range(_FIRST_INHERITED, _FIRST_INHERITED + int(count)))


def _adopt(descriptor: int, backlog: int, *, is_given: bool = False) -> socket.socket:
    """Listen on an open socket. Unless it is given away to us we take a copy: the descriptor stays its owner's."""
    where = f"Cannot listen on descriptor {descriptor}: "
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        # Windows gives no name to a socket that has none (EINVAL).
        reasons = {errno.EBADF: "it is not open", errno.EINVAL: "it has no address yet (bind)"}
        what = reasons.get(error.errno or 0, "it is no socket")
        raise ListenError(f"{where}{what}. Whoever starts the server must hand it a socket (--fd).") from None
    if not is_given:
        sock = (owners := sock).dup()
        owners.detach()
    try:
        sock.set_inheritable(False)
        if sock.type != socket.SOCK_STREAM:
            raise ListenError(f"{where}it is no stream socket, which HTTP needs.")
        with suppress(OSError):
            sock.getpeername()
            raise ListenError(f"{where}it is a connection, no listening socket. With systemd, leave out Accept=yes.")
        if sock.family in (socket.AF_INET, socket.AF_INET6) and not sock.getsockname()[1]:
            raise ListenError(f"{where}it has no address yet (bind).")
        _listen(sock, backlog)
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError):
            raise ListenError(f"{where}{error.strerror or error}.") from None
        raise
    return sock


# -- Unix sockets


class _UnixListener(socket.socket):
    """It takes its file along when it is closed, unless another has the name by then."""

    _path = ""
    _file: tuple[int, int] | None = None

    def own(self, path: str) -> None:
        """The file at `path` is the one that `bind` has just made."""
        self._path, self._file = os.path.abspath(path), _file_at(path)

    def close(self) -> None:
        """As of any socket; safe to call again."""
        if self._file is not None and self._file == _file_at(self._path):
            with suppress(OSError):
                os.unlink(self._path)
        self._file = None
        super().close()


def _file_at(path: str) -> tuple[int, int] | None:
    with suppress(OSError):
        status = os.stat(path)
        return status.st_dev, status.st_ino
    return None


def _bind_unix(path: str, settings: Settings) -> socket.socket:
    where = f"Cannot listen on the Unix socket {path}: "
    if sys.platform == "win32":
        raise ListenError(f"{where}Python has none on Windows. Use --host and --port.")
    sock = _UnixListener(socket.AF_UNIX)
    try:
        _remove_stale(path, where)
        sock.bind(path)
        sock.own(path)
        # Nobody can connect before it listens, so that whoever may not has no chance.
        os.chmod(path, int(settings.uds_mode, 8))
        if settings.uds_owner is not None:
            user, _, group = settings.uds_owner.partition(":")
            owner: list[Any] = [int(each) if each.isdecimal() else each or None for each in (user, group)]
            shutil.chown(path, *owner)
        _listen(sock, settings.backlog)
    except BaseException as error:
        sock.close()
        if isinstance(error, (OSError, LookupError, OverflowError)):
            raise ListenError(f"{where}{_reason(error, path)}.") from None
        raise
    return sock


def _remove_stale(path: str, where: str) -> None:
    """A server that was killed leaves its file behind. It goes if it is a socket that nobody listens on."""
    try:
        is_socket = stat.S_ISSOCK(os.stat(path).st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise ListenError(f"{where}there is something of this name that is no socket. Remove it, or choose another with --uds.")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_PROBE)
        with suppress(TimeoutError, BlockingIOError):
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
                return
    owner = _owner_of(_inodes("/proc/net/unix", lambda columns: columns[3] == "00010000" and columns[-1] == path, 6))
    whose = f" by {owner}" if owner else " by another program"
    raise ListenError(f"{where}it is in use{whose}. Stop it, or choose another with --uds.")


def _reason(error: Exception, path: str) -> str:
    if isinstance(error, PermissionError):
        return "this user may not make or change a socket there"
    if isinstance(error, FileNotFoundError):
        return f"there is no folder {os.path.dirname(os.path.abspath(path))}"
    return str(getattr(error, "strerror", None) or error)


# -- what to say


def _explain(error: OSError, host: str, port: int) -> str:
    where = f"Cannot listen on {host}:{port}: "
    # 10048 and 10013 are Windows' numbers.
    if error.errno in (errno.EADDRINUSE, 10048):
        owner = _owner_of(_listening_inodes(port))
        whose = f" by {owner}" if owner else " by another program"
        return f"{where}the port is in use{whose}. Stop it, or choose another with --port (0 picks a free one)."
    if error.errno in (errno.EACCES, 10013):
        return f"{where}ports below 1024 need privileges here, or the port is reserved. Choose a higher one with --port."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{where}this machine has no such address. Use --host 127.0.0.1, or 0.0.0.0 for every address."
    return f"{where}{error.strerror or error}."


def _owner_of(inodes: set[str]) -> str | None:
    """Whose these sockets are, as far as Linux lets us see: "python3 (process 1234)"."""
    for process in filter(str.isdigit, os.listdir("/proc")) if inodes else ():
        with suppress(OSError):
            for descriptor in os.scandir(f"/proc/{process}/fd"):
                link = os.readlink(descriptor.path)
                if link.startswith("socket:[") and link[8:-1] in inodes:
                    with open(f"/proc/{process}/comm", encoding="utf-8", errors="replace") as name:
                        return f"{name.read().strip()} (process {process})"
    return None


def _listening_inodes(port: int) -> set[str]:
    """The inodes of sockets that listen on `port` (proc(5), /proc/net/tcp: state 0A is LISTEN)."""
    ours = lambda columns: columns[3] == "0A" and columns[1].endswith(f":{port:04X}")  # noqa: E731
    return _inodes("/proc/net/tcp", ours, 9) | _inodes("/proc/net/tcp6", ours, 9)


def _inodes(table: str, wants: Callable[[list[str]], bool], column: int) -> set[str]:
    """One column of those lines of a table of sockets (proc(5)) that are wanted; nothing where there is none."""
    try:
        with open(table, encoding="utf-8", errors="surrogateescape") as lines:
            return {columns[column] for columns in map(str.split, lines) if wants(columns)}
    except OSError:
        return set()
