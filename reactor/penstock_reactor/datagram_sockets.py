"""Datagram sockets: from local and remote address to a socket that is bound and connected.

Each address may resolve to several families; a socket needs one that all given addresses have, and the first that can
be opened wins. A UNIX socket file left by a program that is gone is removed, because bind would fail on it. Nothing
here knows of transports.
"""

from __future__ import annotations

import os
import socket
import stat
from asyncio.log import logger
from typing import Any

from .contract import ReactorLoop


def check_given(sock: socket.socket, **modifiers: Any) -> None:
    """ValueError when a ready-made socket is no datagram socket or comes with options for making one."""
    if sock.type == socket.SOCK_STREAM:
        raise ValueError(f"A datagram socket was expected, got {sock!r}")
    problems = ", ".join(f"{name}={value}" for name, value in modifiers.items() if value)
    if problems:
        raise ValueError(f"socket modifier keyword arguments can not be used when sock is specified. ({problems})")


async def open_socket(
    loop: ReactorLoop,
    local_addr: Any,
    remote_addr: Any,
    *,
    family: int,
    proto: int,
    flags: int,
    reuse_port: bool | None,
    allow_broadcast: bool | None,
) -> tuple[socket.socket, Any]:
    """A non-blocking socket for the addresses, and where its datagrams go by default.

    TypeError and ValueError for addresses that are none or do not fit together; the first OSError when no socket can
    be had.
    """
    candidates = await _candidates(loop, local_addr, remote_addr, family, proto, flags)
    return await _open_first(loop, candidates, reuse_port, allow_broadcast)


async def _candidates(
    loop: ReactorLoop, local_addr: Any, remote_addr: Any, family: int, proto: int, flags: int
) -> list[tuple[int, int, Any, Any]]:
    """The (family, proto, local address, remote address) that may be tried, in the resolver's order."""
    if not (local_addr or remote_addr):
        if family == 0:
            raise ValueError("unexpected address family")
        return [(family, proto, None, None)]
    if hasattr(socket, "AF_UNIX") and family == socket.AF_UNIX:
        for path in (local_addr, remote_addr):
            if path is not None and not isinstance(path, str):
                raise TypeError("string is expected")
        _unlink_stale_socket(local_addr)
        return [(family, proto, local_addr, remote_addr)]
    # Resolve each, then keep the families and protocols that every given address has.
    found: dict[tuple[int, int], list[Any]] = {}
    for place, address in enumerate((local_addr, remote_addr)):
        if address is None:
            continue
        if not (isinstance(address, tuple) and len(address) == 2):
            raise TypeError("2-tuple is expected")
        for fam, _, pro, _, sockaddr in await _resolve(loop, address, family, proto, flags):
            found.setdefault((fam, pro), [None, None])[place] = sockaddr
    matching = [
        (fam, pro, local, remote)
        for (fam, pro), (local, remote) in found.items()
        if (local or not local_addr) and (remote or not remote_addr)
    ]
    if not matching:
        raise ValueError("can not get address information")
    return matching


async def _resolve(loop: ReactorLoop, address: tuple[Any, Any], family: int, proto: int, flags: int) -> list[Any]:
    host, port = address
    infos: list[Any] = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_DGRAM, proto=proto, flags=flags)
    if not infos:
        raise OSError("getaddrinfo() returned empty list")
    return infos


def _unlink_stale_socket(path: str | None) -> None:
    """A socket file left behind would make bind fail; any other kind of file is left for bind to complain of."""
    if not path or path.startswith("\0"):
        return
    try:
        if stat.S_ISSOCK(os.stat(path).st_mode):
            os.remove(path)
    except FileNotFoundError:
        pass
    except OSError as exc:
        logger.error("Unable to check or remove stale UNIX socket %r: %s", path, exc)


async def _open_first(
    loop: ReactorLoop, candidates: list[tuple[int, int, Any, Any]], reuse_port: bool | None, allow_broadcast: bool | None
) -> tuple[socket.socket, Any]:
    """The first candidate that can be bound and connected, with its default address; else the first failure is raised."""
    failures: list[OSError] = []
    for family, proto, local, remote in candidates:
        sock = None
        try:
            sock = socket.socket(family=family, type=socket.SOCK_DGRAM, proto=proto)
            if reuse_port:
                _set_reuse_port(sock)
            if allow_broadcast:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.setblocking(False)
            if local:
                sock.bind(local)
            # A socket connected to a broadcast address would not hear the answers.
            if remote and not allow_broadcast:
                await loop.sock_connect(sock, remote)
            return sock, remote
        except OSError as exc:
            if sock is not None:
                sock.close()
            failures.append(exc)
        except BaseException:
            if sock is not None:
                sock.close()
            raise
    raise failures[0]


def _set_reuse_port(sock: socket.socket) -> None:
    if not hasattr(socket, "SO_REUSEPORT"):
        raise ValueError("reuse_port not supported by socket module")
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError:
        raise ValueError("reuse_port not supported by socket module, SO_REUSEPORT defined but not implemented.") from None
