"""Bound sockets for servers: one per address of each host, or a UNIX socket with its file.

Only binding; `acceptor.py` listens. Whatever fails here closes what was opened before it.
IPv6 sockets get IPV6_V6ONLY, so that "all interfaces" is one socket per family, on every system alike.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from asyncio.log import logger
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from .contract import ReactorLoop
from .connector import AddressInfo, resolve

INTERNET = (socket.AF_INET, socket.AF_INET6)


class Options(NamedTuple):
    """What create_server sets on its sockets; reuse_address None is "where it is safe": POSIX."""

    reuse_address: bool | None
    reuse_port: bool | None
    keep_alive: bool | None


async def bind_all(loop: ReactorLoop, host: Any, port: Any, family: int, flags: int, options: Options) -> list[socket.socket]:
    """A bound socket for each address of `host`, which may be one name, several, or ''/None for all interfaces."""
    if host == "":
        hosts: Iterable[Any] = [None]
    elif isinstance(host, (str, bytes)) or not isinstance(host, Iterable):
        hosts = [host]
    else:
        hosts = host
    infos: list[AddressInfo] = []
    for one in hosts:
        infos += await resolve(loop, (one, port), family, 0, flags)
    sockets: list[socket.socket] = []
    try:
        for info in dict.fromkeys(infos):  # each address once, in order
            sock = _bind(info, options)
            if sock is not None:
                sockets.append(sock)
        if not sockets:
            raise OSError(f"could not bind on any address out of {[info[4] for info in infos]!r}")
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def bind_unix(path: Any) -> socket.socket:
    """A socket bound to `path`; a socket file that is already there is removed first, any other file is not."""
    path = os.fspath(path)
    if not _is_abstract(path):
        try:
            if stat.S_ISSOCK(os.stat(path).st_mode):
                os.remove(path)
        except FileNotFoundError:
            pass
        except OSError as exc:
            # Perhaps the folder may only be written: bind will tell.
            logger.error("Unable to check or remove stale UNIX socket %r: %r", path, exc)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
    except OSError as exc:
        sock.close()
        if exc.errno == errno.EADDRINUSE:
            raise OSError(errno.EADDRINUSE, f"Address {path!r} is already in use") from None
        raise
    except BaseException:
        sock.close()
        raise
    return sock


def unlinker(sock: socket.socket) -> Callable[[], None] | None:
    """A function that removes the file of this bound UNIX socket, if it is still the same file; None if there is none."""
    path = sock.getsockname()
    if _is_abstract(path):
        return None
    try:
        inode = os.stat(path).st_ino
    except FileNotFoundError:
        return None

    def unlink() -> None:
        try:
            if os.stat(path).st_ino == inode:
                os.unlink(path)
        except FileNotFoundError:
            pass
        except OSError as exc:
            logger.error("Unable to clean up listening UNIX socket %r: %r", path, exc)

    return unlink


def _is_abstract(path: str | bytes) -> bool:
    """No file: a name in Linux's abstract space, or no name at all."""
    return not path or path[0] in ("\0", 0)


def _bind(info: AddressInfo, options: Options) -> socket.socket | None:
    """The socket; None when the machine does not have that family or address, though the resolver named it."""
    family, kind, proto, _, address = info
    try:
        sock = socket.socket(family, kind, proto)
    except OSError as exc:
        logger.debug("create_server() failed to create socket.socket(%r, %r, %r): %s", family, kind, proto, exc)
        return None
    try:
        _set_options(sock, family, options)
        try:
            sock.bind(address)
        except OSError as exc:
            text = f"error while attempting to bind on address {address!r}: {str(exc).lower()}"
            if exc.errno == errno.EADDRNOTAVAIL:
                logger.debug(text)
                sock.close()
                return None
            raise OSError(exc.errno, text) from None
    except BaseException:
        sock.close()
        raise
    return sock


def _set_options(sock: socket.socket, family: int, options: Options) -> None:
    reuse_address = options.reuse_address
    if reuse_address is None:
        # On Windows it would let another program steal the port.
        reuse_address = os.name == "posix" and sys.platform != "cygwin"
    if reuse_address:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
    if options.reuse_port and family in INTERNET:
        set_reuse_port(sock)
    if options.keep_alive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, True)
    if family == socket.AF_INET6 and hasattr(socket, "IPPROTO_IPV6"):
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, True)


def set_reuse_port(sock: socket.socket) -> None:
    """Let several sockets share the port; ValueError where the system cannot."""
    if not hasattr(socket, "SO_REUSEPORT"):
        raise ValueError("reuse_port not supported by socket module")
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, True)
    except OSError:
        raise ValueError("reuse_port not supported by socket module, SO_REUSEPORT defined but not implemented.") from None
