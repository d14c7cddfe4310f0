"""Before a connection, where a load balancer speaks the PROXY protocol: its header is read, then the connection begins.

It stands between accepting and opening, on the bare socket: what follows the header, a request or a TLS handshake, is
left in the kernel for the connection that comes after it, which is made with the client's own address. The header's
octets are looked at first (MSG_PEEK) and then taken, so that not one too many is. A peer that is not trusted, or sends
anything else first, is closed without a word and with a line in the log.
"""

import socket
from collections.abc import Callable

from ..codec.errors import ProtocolError
from ..codec.proxy import MOST_BLOCK, read_header
from .life import Connection
from .service import Address, Service
from .states import State
from .trust import Trust

Begin = Callable[[Address | None, tuple[str, int | None]], None]

_PEEKED = MOST_BLOCK + 16


class ProxiedConnection(Connection):
    """What waits for the header. `begin` is given the client's address and the one it called."""

    __slots__ = ("_socket", "_peer", "_trust", "_begin", "_header")

    def __init__(
        self, service: Service, sock: socket.SocketType, peer: Address | None, server: tuple[str, int | None], trust: Trust, begin: Begin
    ) -> None:
        # Nobody's client yet: where connections are counted by client, the proxy is none.
        super().__init__(service, sock, None, server)
        self._socket = sock
        self._peer = peer
        self._trust = trust
        self._begin: Begin | None = begin
        self._header = b""

    def __str__(self) -> str:
        return f"the proxy {self._peer[0]}:{self._peer[1]}" if self._peer is not None else "the proxy on a Unix socket"

    def open(self) -> None:
        """Wait for the header; a load balancer mostly sends it with its first packet."""
        service = self.service
        service.add(self)
        self.deadline = service.now() + service.settings.timeout_first_byte
        if (self._peer[0] if self._peer is not None else None) not in self._trust:
            self._refuse("a peer that may not speak the PROXY protocol (--proxy-protocol-allow-ips)")
            return
        if service.is_draining:
            self.drain()
        self._on_readable()
        if self.state is State.IDLE:
            self.channel.start_reading()

    def turn_away(self, error: ProtocolError) -> None:
        """There is no room. Nothing can be said before it is known what is spoken here."""
        self.service.add(self)
        self.refuse(error)

    def refuse(self, error: ProtocolError) -> None:
        self.service.refusals.note(str(self), error, self.service.now())
        self.close()

    def expire(self, now: float) -> None:
        self._refuse("no PROXY protocol header in time")

    def _refuse(self, reason: str) -> None:
        self.refuse(ProtocolError(400, reason, "PROXY protocol 2"))

    def _on_readable(self) -> None:
        try:
            octets = self._socket.recv(_PEEKED, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            octets = b""
        if not octets:
            # A load balancer that only looks whether somebody is there does this every second.
            self.close()
            return
        try:
            found = read_header(self._header + octets)
        except ProtocolError as error:
            self.refuse(error)
            return
        # Taken is what belongs to the header, be it whole or not.
        taken = len(octets) if found is None else found[1] - len(self._header)
        self._header += self._socket.recv(taken)
        if found is not None:
            header = found[0]
            self._hand_over(header.client or self._peer, header.server or self.server)

    def _hand_over(self, client: Address | None, server: tuple[str, int | None]) -> None:
        """Leave the socket to the connection that begins."""
        self.channel.hand_over()
        self.state = State.CLOSED
        # Its place is free before the next one is counted; a drain looks only afterwards whether nobody is left.
        self.service.connections.discard(self)
        begin, self._begin = self._begin, None
        if begin is not None:
            begin(client, server)
        self.service.notice_idle()

    def _on_drained(self) -> None:
        """Nothing is ever written here."""
