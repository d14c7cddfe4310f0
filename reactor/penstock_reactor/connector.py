"""create_connection: from a host and a port, or a socket, to a connected transport.

Names are looked up, then the addresses are tried in order until one answers; with `happy_eyeballs_delay` they are
tried in overlapping attempts (RFC 8305) and the first to answer wins. What failed on the way is told in one OSError,
or in an ExceptionGroup if the caller asks for all errors.
`open_transport` is the last step, and the acceptor's too for sockets that were accepted elsewhere: it makes transport
and protocol, and for TLS waits for the handshake.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import sys
from asyncio.log import logger
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from .contract import ReactorLoop
from .transport import SocketTransport

if TYPE_CHECKING:
    from .tls_engine import TlsOptions

AddressInfo = tuple[Any, Any, int, str, Any]
Attempt = Callable[[], Awaitable[socket.socket]]


async def create_connection(
    loop: ReactorLoop, protocol_factory: Callable[[], Any], host: Any = None, port: Any = None, *,
    ssl: Any = None, family: int = 0, proto: int = 0, flags: int = 0, sock: socket.socket | None = None,
    local_addr: Any = None, server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None, ssl_shutdown_timeout: float | None = None,
    happy_eyeballs_delay: float | None = None, interleave: int | None = None, all_errors: bool = False,
) -> tuple[Any, Any]:
    """Connect to `host` and `port`, or take the connected `sock`; (transport, protocol)."""
    name = _name_to_verify(ssl, server_hostname, host, "You must set server_hostname when using ssl without a host")
    tls = tls_options(ssl, False, name, ssl_handshake_timeout, ssl_shutdown_timeout)
    if host is None and port is None:
        if sock is None:
            raise ValueError("host and port was not specified and no sock specified")
        check_stream_socket(sock)
        return await open_transport(loop, sock, protocol_factory, tls)
    if sock is not None:
        raise ValueError("host/port and sock can not be specified at the same time")
    remote = await resolve(loop, (host, port), family, proto, flags)
    local = None if local_addr is None else await resolve(loop, local_addr, family, proto, flags)
    if interleave is None and happy_eyeballs_delay is not None:
        interleave = 1
    if interleave:
        remote = _interleaved(remote, interleave)
    made = await _connect_first(loop, remote, local, happy_eyeballs_delay, all_errors)
    return await open_transport(loop, made, protocol_factory, tls, owns_socket=True)


async def create_unix_connection(
    loop: ReactorLoop, protocol_factory: Callable[[], Any], path: Any = None, *,
    ssl: Any = None, sock: socket.socket | None = None, server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None, ssl_shutdown_timeout: float | None = None,
) -> tuple[Any, Any]:
    """Connect to the UNIX socket at `path`, or take the connected `sock`; (transport, protocol)."""
    check_unix_is_supported()
    name = _name_to_verify(ssl, server_hostname, None, "you have to pass server_hostname when using ssl")
    tls = tls_options(ssl, False, name, ssl_handshake_timeout, ssl_shutdown_timeout)
    if path is None:
        if sock is None:
            raise ValueError("no path and sock were specified")
        check_stream_socket(sock, socket.AF_UNIX)
        return await open_transport(loop, sock, protocol_factory, tls)
    if sock is not None:
        raise ValueError("path and sock can not be specified at the same time")
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        await loop.sock_connect(made, os.fspath(path))
    except BaseException:
        made.close()
        raise
    return await open_transport(loop, made, protocol_factory, tls, owns_socket=True)


async def open_transport(
    loop: ReactorLoop, sock: socket.socket, protocol_factory: Callable[[], Any], tls: TlsOptions | None,
    owns_socket: bool = False,
) -> tuple[Any, Any]:
    """Make protocol and transport on a connected socket; waits only for TLS. Whose socket it is, closes it on failure."""
    try:
        sock.setblocking(False)
        protocol = protocol_factory()
        if tls is None:
            transport: Any = SocketTransport(loop, sock, protocol)
            transport.start()
        else:
            from .tls import open_secure

            transport = await open_secure(loop, sock, protocol, tls)
    except BaseException:
        if owns_socket:
            sock.close()
        raise
    if loop.get_debug():
        logger.debug("%r connected: (%r, %r)", sock, transport, protocol)
    return transport, protocol


async def resolve(loop: ReactorLoop, address: Any, family: int, proto: int, flags: int) -> list[AddressInfo]:
    """The stream addresses behind a (host, port); OSError when there are none."""
    host, port = address[:2]
    infos: list[AddressInfo] = await loop.getaddrinfo(
        host, port, family=family, type=socket.SOCK_STREAM, proto=proto, flags=flags
    )
    if not infos:
        raise OSError(f"getaddrinfo({host!r}) returned empty list")
    return infos


def tls_options(
    ssl: Any, server_side: bool, server_hostname: str | None, handshake_timeout: float | None, shutdown_timeout: float | None
) -> TlsOptions | None:
    """Checked TLS options, None for a plain connection; ValueError for time limits of a TLS that is not asked for."""
    if ssl:
        from .tls import options

        return options(ssl, server_side, server_hostname, handshake_timeout, shutdown_timeout)
    if handshake_timeout is not None:
        raise ValueError("ssl_handshake_timeout is only meaningful with ssl")
    if shutdown_timeout is not None:
        raise ValueError("ssl_shutdown_timeout is only meaningful with ssl")
    return None


def check_stream_socket(sock: socket.socket, family: int | None = None) -> None:
    """TypeError for a socket that speaks TLS by itself, ValueError for one that is no stream (of that family)."""
    ssl = sys.modules.get("ssl")
    if ssl is not None and isinstance(sock, ssl.SSLSocket):
        raise TypeError("Socket cannot be of type SSLSocket")
    if family is not None and (sock.family != family or sock.type != socket.SOCK_STREAM):
        raise ValueError(f"A UNIX Domain Stream Socket was expected, got {sock!r}")
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(f"A Stream Socket was expected, got {sock!r}")


def check_unix_is_supported() -> None:
    """NotImplementedError where the platform has no UNIX sockets."""
    if not hasattr(socket, "AF_UNIX"):
        raise NotImplementedError("this platform's Python has no UNIX sockets; use TCP on 127.0.0.1")


def _name_to_verify(ssl: Any, server_hostname: str | None, host: str | None, complaint: str) -> str | None:
    """The name the server's certificate must bear: the given one or the host; '' asks for no check."""
    if not ssl and server_hostname is not None:
        raise ValueError("server_hostname is only meaningful with ssl")
    if ssl and server_hostname is None:
        if not host:
            raise ValueError(complaint)
        return host
    return server_hostname


# Trying addresses.


async def _connect_first(
    loop: ReactorLoop, remote: list[AddressInfo], local: list[AddressInfo] | None, delay: float | None, all_errors: bool
) -> socket.socket:
    failures: list[OSError] = []

    def attempt(info: AddressInfo) -> Attempt:
        return lambda: _connect_one(loop, info, local)

    try:
        sock = await _race([attempt(info) for info in remote], delay, failures)
        if sock is None:
            raise _one_error_of(failures, all_errors)
        return sock
    finally:
        # An exception's traceback holds this frame; the frame must not hold the exception.
        failures.clear()


async def _connect_one(loop: ReactorLoop, info: AddressInfo, local: list[AddressInfo] | None) -> socket.socket:
    family, kind, proto, _, address = info
    sock = socket.socket(family, kind, proto)
    try:
        sock.setblocking(False)
        if local is not None:
            _bind_first(sock, [address for of_family, _, _, _, address in local if of_family == family])
        await loop.sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _bind_first(sock: socket.socket, addresses: list[Any]) -> None:
    failure = OSError(f"no matching local address with family={sock.family!r} found")
    for address in addresses:
        try:
            sock.bind(address)
            return
        except OSError as exc:
            text = f"error while attempting to bind on address {address!r}: {str(exc).lower()}"
            failure = OSError(exc.errno, text)
    try:
        raise failure
    finally:
        del failure


async def _race(
    attempts: Sequence[Attempt], delay: float | None, failures: list[OSError]
) -> socket.socket | None:
    """The first attempt's socket that succeeds, None if none does; `failures` gets what went wrong.

    Without `delay` each attempt begins when the one before has failed; with it, at the latest `delay` seconds after.
    """
    if delay is None or len(attempts) == 1:
        for attempt in attempts:
            try:
                return await attempt()
            except OSError as exc:
                failures.append(exc)
        return None
    running: set[asyncio.Future[socket.socket]] = set()
    waiting = list(attempts)
    won = None
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.ensure_future(waiting.pop(0)()))
            done, running = await asyncio.wait(
                running, timeout=delay if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            won = _winner(done, failures)
            if won is not None:
                break
        return won
    finally:
        await _call_off(running, won)


def _winner(done: set[asyncio.Future[socket.socket]], failures: list[OSError]) -> socket.socket | None:
    """One socket of those attempts that have ended; a second one is closed."""
    won = None
    for attempt in done:
        exc = attempt.exception()
        if isinstance(exc, OSError):
            failures.append(exc)
        elif exc is not None:
            raise exc
        elif won is None:
            won = attempt.result()
        else:
            attempt.result().close()
    return won


async def _call_off(running: set[asyncio.Future[socket.socket]], won: socket.socket | None) -> None:
    """Cancel the losers and see them end; whoever is cancelled meanwhile gets no winner either."""
    for attempt in running:
        attempt.cancel()
    try:
        await asyncio.gather(*running, return_exceptions=True)
    except asyncio.CancelledError:
        if won is not None:
            won.close()
        raise
    finally:
        # One may have connected in the very turn in which it lost.
        for attempt in running:
            if not attempt.cancelled() and attempt.exception() is None:
                attempt.result().close()


def _interleaved(infos: list[AddressInfo], first_family_count: int) -> list[AddressInfo]:
    """Reorder so that the families alternate, after `first_family_count` addresses of the first one (RFC 8305 section 4)."""
    families: dict[Any, list[AddressInfo]] = {}
    for info in infos:
        families.setdefault(info[0], []).append(info)
    lists = list(families.values())
    head, lists[0] = lists[0][: first_family_count - 1], lists[0][first_family_count - 1 :]
    return head + [info for row in itertools.zip_longest(*lists) for info in row if info is not None]


def _one_error_of(failures: list[OSError], all_errors: bool) -> Exception:
    if all_errors:
        return ExceptionGroup("create_connection failed", list(failures))
    texts = [str(failure) for failure in failures]
    if len(set(texts)) == 1:
        return failures[0]
    return OSError(f"Multiple exceptions: {', '.join(texts)}")
