"""An HTTP/1.1 connection over TLS: the handshake, and from then on a connection like any other.

The handshake has a limit of its own. A client that speaks plain HTTP to a TLS port is told so in plain HTTP; whatever
else fails is one line in the log, and no more for the client than what TLS has to say about it.
"""

import socket
from typing import Any

from ..codec.errors import ProtocolError
from .http import HttpConnection
from .life import DRAIN_FIRST_BYTE
from .service import Address, Service
from .states import State
from .tls_channel import TlsChannel

_CLAUSE = "RFC 8446 4.1"
_HANDSHAKING = State.HANDSHAKING


class HttpsConnection(HttpConnection):
    """One client's connection, read and answered as HTTP/1.1 over TLS. The service has a context."""

    __slots__ = ("told", "_refusal")

    is_secure = True
    begins_as = _HANDSHAKING
    channel: TlsChannel

    def __init__(self, service: Service, sock: socket.SocketType, client: Address | None, server: tuple[str, int | None]) -> None:
        super().__init__(service, sock, client, server)
        self.scheme = "https"
        self.told: dict[str, Any] | None = None
        """What apps are told of TLS, once it was asked for; the room above makes it."""
        self._refusal: ProtocolError | None = None

    def make_channel(self, sock: socket.SocketType) -> TlsChannel:
        service = self.service
        context = service.tls
        if context is None:
            raise TypeError("a service without a TLS context")
        return TlsChannel(sock, service.loop, self._on_readable, self._on_drained, service.settings.timeout_write, context)

    def open(self) -> None:
        self.service.add(self)
        self._await_handshake()

    def turn_away(self, error: ProtocolError) -> None:
        # Only who has shaken hands can be told.
        self._refusal = error
        self.open()

    def drain(self) -> None:
        super().drain()
        if self.state is _HANDSHAKING:
            self.deadline = min(self.deadline, self.service.now() + DRAIN_FIRST_BYTE)

    def expire(self, now: float) -> None:
        if self.state is _HANDSHAKING:
            self._fail("it took too long")
        else:
            super().expire(now)

    def _await_handshake(self) -> None:
        self.deadline = self.service.now() + self.service.settings.timeout_handshake
        if self.service.is_draining:
            self.drain()
        self._on_readable()
        if self.state is _HANDSHAKING:
            self.channel.start_reading()

    def _on_readable(self) -> None:
        if self.state is not _HANDSHAKING:
            super()._on_readable()
        elif self.channel.shake_hands():
            self._begin()
        elif self.channel.is_broken:
            self._fail(self.channel.failure)

    def _begin(self) -> None:
        """The handshake is done: from here on it is HTTP."""
        service = self.service
        self.state = State.IDLE
        self.deadline = service.now() + service.settings.timeout_first_byte
        if self._refusal is not None:
            self.refuse(self._refusal)
            return
        if service.is_draining:
            self.drain()
        # Before: what has come with the handshake may be more of a body than is to be read for now.
        self.channel.start_reading()
        super()._on_readable()

    def _fail(self, reason: str) -> None:
        hello = self.channel.hello
        error = ProtocolError(400, f"no TLS handshake: {reason}", _CLAUSE, excerpt=hello if hello[:1] != b"\x16" else b"")
        self.service.refusals.note(str(self), error, self.service.now())
        if error.excerpt[:1].isalpha():
            self.channel.answer_in_plain(self.codec.encode_refusal(400, "this port speaks https", self.service.defaults))
        self.close()
