"""TLS: the ways in. A connection made in TLS, one accepted in TLS, and one that changes to TLS on the way.

How TLS sits on a transport, and what its states are, is told in `tls_transport.py`. Here the options are checked, before
anything is opened, and the handshake is waited for. On the way out of a failed handshake nothing keeps hold of the
SSLContext: a server that renews its certificates must be able to drop the old ones.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any

from .contract import ReactorLoop
from .tls_transport import SSLTransport
from .tls_engine import TlsOptions
from .transport import ASK_THE_SOCKET, SocketTransport

HANDSHAKE_SECONDS = 60.0
SHUTDOWN_SECONDS = 30.0


def options(
    context: Any,
    server_side: bool,
    server_hostname: str | None,
    handshake_timeout: float | None,
    shutdown_timeout: float | None,
) -> TlsOptions:
    """Checked options; context True is the client's default one, and then an empty name asks for no host name check."""
    if handshake_timeout is None:
        handshake_timeout = HANDSHAKE_SECONDS
    elif handshake_timeout <= 0:
        raise ValueError(f"ssl_handshake_timeout should be a positive number, got {handshake_timeout}")
    if shutdown_timeout is None:
        shutdown_timeout = SHUTDOWN_SECONDS
    elif shutdown_timeout <= 0:
        raise ValueError(f"ssl_shutdown_timeout should be a positive number, got {shutdown_timeout}")
    if isinstance(context, bool):
        if server_side:
            raise ValueError("Server side SSL needs a valid SSLContext")
        context = ssl.create_default_context()
        if not server_hostname:
            context.check_hostname = False
    name = None if server_side else server_hostname or None
    return TlsOptions(context, server_side, name, handshake_timeout, shutdown_timeout)


async def open_secure(loop: ReactorLoop, sock: socket.socket, protocol: Any, tls: TlsOptions) -> SSLTransport:
    """A transport on a connected socket, once the handshake has succeeded."""
    secure = SSLTransport(loop, protocol, tls, is_awaited=True)
    SocketTransport(loop, sock, secure).start()
    await secure.wait_shaken()
    return secure


def accept_secure(
    loop: ReactorLoop, sock: socket.socket, protocol: Any, tls: TlsOptions, peername: Any = ASK_THE_SOCKET, server: Any = None
) -> None:
    """The same for a server's accepted socket: nobody waits, the protocol hears of it when the handshake has succeeded."""
    secure = SSLTransport(loop, protocol, tls, server=server)
    SocketTransport(loop, sock, secure, peername=peername).start()


async def start_tls(
    loop: ReactorLoop,
    transport: Any,
    protocol: Any,
    sslcontext: Any,
    *,
    server_side: bool = False,
    server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
) -> SSLTransport:
    """Go on in TLS on a connected transport, which may itself be TLS; `protocol` shall use the returned one from here on."""
    if not isinstance(sslcontext, ssl.SSLContext):
        raise TypeError(f"sslcontext is expected to be an instance of ssl.SSLContext, got {sslcontext!r}")
    if not getattr(transport, "_start_tls_compatible", False):
        raise TypeError(f"transport {transport!r} is not supported by start_tls()")
    tls = options(sslcontext, server_side, server_hostname, ssl_handshake_timeout, ssl_shutdown_timeout)
    if transport.is_closing():
        raise ConnectionResetError("TLS cannot start on a transport that is closing")
    secure = SSLTransport(loop, protocol, tls, is_awaited=True, is_told=True)
    transport.set_protocol(secure)
    secure.connection_made(transport)
    transport.resume_reading()
    await secure.wait_shaken()
    return secure
