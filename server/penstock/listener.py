"""Bound, listening sockets, and what to say when one cannot be had.

A host name may stand for several addresses (localhost is 127.0.0.1 and ::1): each gets a socket, on the same port.
"::" takes IPv4 too. Whoever binds keeps the sockets open as long as the server lives, through every restart of what
accepts from them.
"""

import errno
import os
import socket
import sys

from .settings import Settings


class ListenError(Exception):
    """An address cannot be listened on; the text says which, why, and what to do."""


def bind(settings: Settings) -> list[socket.socket]:
    """Listen as the settings say: one socket for each address. Raises ListenError; then none is left open."""
    host, port = settings.host, settings.port
    sockets: list[socket.socket] = []
    try:
        unavailable: OSError | None = None
        for family, address in _addresses(host, port):
            # With port 0 the first socket's choice holds for the others.
            wanted = sockets[0].getsockname()[1] if sockets else port
            try:
                sockets.append(_bind(family, address[0], wanted, settings.backlog))
            except OSError as error:
                # localhost may name an address of a family this machine does not have.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                unavailable = error
        if not sockets and unavailable is not None:
            raise unavailable
    except OSError as error:
        for sock in sockets:
            sock.close()
        raise ListenError(_explain(error, host, port)) from None
    return sockets


def url_of(sock: socket.socket, settings: Settings) -> str:
    """How a person reaches it: http://127.0.0.1:8000."""
    host, port = sock.getsockname()[:2]
    scheme = "https" if settings.ssl_certfile else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """The addresses a host name stands for, each once."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise ListenError(f"Cannot listen on {host}:{port}: the host name {host!r} is not known ({error.strerror}).") from None
    addresses = [(family, (str(address[0]), port)) for family, _, _, _, address in found]
    return list(dict.fromkeys(addresses))


def _bind(family: socket.AddressFamily, host: str, port: int, backlog: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":
            # There SO_REUSEADDR would let another process take the port over.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
        # Accepted sockets inherit it: an answer in several writes does not wait for the client's delayed ACK.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind((host, port))
        sock.listen(backlog)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _explain(error: OSError, host: str, port: int) -> str:
    where = f"Cannot listen on {host}:{port}: "
    # 10048 and 10013 are Windows' numbers.
    if error.errno in (errno.EADDRINUSE, 10048):
        owner = _owner_of(port)
        whose = f" by {owner}" if owner else " by another program"
        return f"{where}the port is in use{whose}. Stop it, or choose another with --port (0 picks a free one)."
    if error.errno in (errno.EACCES, 10013):
        return f"{where}ports below 1024 need privileges here, or the port is reserved. Choose a higher one with --port."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{where}this machine has no such address. Use --host 127.0.0.1, or 0.0.0.0 for every address."
    return f"{where}{error.strerror or error}."


def _owner_of(port: int) -> str | None:
    """Who listens on a TCP port, as far as Linux lets us see: "python3 (process 1234)"."""
    if sys.platform != "linux":
        return None
    inodes = _listening_inodes(port)
    for process in filter(str.isdigit, os.listdir("/proc")) if inodes else ():
        try:
            for descriptor in os.scandir(f"/proc/{process}/fd"):
                link = os.readlink(descriptor.path)
                if link.startswith("socket:[") and link[8:-1] in inodes:
                    with open(f"/proc/{process}/comm", encoding="utf-8", errors="replace") as name:
                        return f"{name.read().strip()} (process {process})"
        except OSError:
            continue
    return None


def _listening_inodes(port: int) -> set[str]:
    """The inodes of sockets that listen on `port` (proc(5), /proc/net/tcp: state 0A is LISTEN)."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as lines:
                for line in lines:
                    columns = line.split()
                    if columns[3] == "0A" and columns[1].endswith(f":{port:04X}"):
                        inodes.add(columns[9])
        except OSError:
            continue
    return inodes
