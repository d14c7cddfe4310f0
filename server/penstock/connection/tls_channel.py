"""A channel over TLS: what is read is decrypted, what is written is encrypted, and nobody above sees a difference.

OpenSSL works on two memory buffers, and the plain channel below moves their octets: its queue, its limits and its
stalls then count what really travels. Nothing waits: "the peer has to speak first" is a normal answer. A record that
cannot be decrypted ends the channel like any error of the network.

Cost: one more copy each way. A read asks for one record's worth until the input is used up, because asking once more
costs an exception; small parts of one write share a record.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

from .channel import READ_SIZE, Channel

RECORD = 16384
"""The most plain text that one record carries (RFC 8446 5.1)."""

_HANDSHAKE = 0x16
"""The first octet of a client that speaks TLS: a handshake record (RFC 8446 5.1)."""


class TlsChannel(Channel):
    """A connected stream socket with TLS on it. Nothing can be read or written before `shake_hands` is done."""

    __slots__ = ("tls", "failure", "is_secure", "_incoming", "_outgoing", "_has_ended", "_hello")

    def __init__(
        self, sock: socket.SocketType, loop: asyncio.AbstractEventLoop,
        on_readable: Callable[[], object], on_drained: Callable[[], object], write_timeout: float, context: ssl.SSLContext,
    ) -> None:
        super().__init__(sock, loop, on_readable, on_drained, write_timeout)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        """What OpenSSL knows of this connection."""
        self.is_secure = False
        """The handshake is done."""
        self.failure = ""
        """Why it failed."""
        self._has_ended = False
        self._hello = b""

    @property
    def sends_files(self) -> bool:
        """The kernel knows nothing of our keys."""
        return False

    # ── the handshake ──

    def shake_hands(self) -> bool:
        """Go on with what has come; False while more must come, or when it failed (`is_broken`, `failure`)."""
        octets = super().read()
        if octets:
            self._hello = self._hello or octets[:80]
            self._incoming.write(octets)
        elif octets is not None:
            self._fail("the client has left")
            return False
        if self._hello and self._hello[0] != _HANDSHAKE:
            self._fail("the client does not speak TLS")
            return False
        try:
            self.tls.do_handshake()
            self.is_secure = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._push()
            self._fail(_reason_of(error))
        self._push()
        return self.is_secure

    @property
    def hello(self) -> bytes:
        """The first octets that came."""
        return self._hello

    def answer_in_plain(self, octets: bytes) -> None:
        """Tell a client that does not speak TLS so, in its own words; for once without encryption."""
        self.is_broken = False
        super().write([octets])

    # ── reading ──

    def read(self, most: int = READ_SIZE) -> bytes | None:
        octets = None if self._has_ended else super().read(most)
        if octets:
            self._incoming.write(octets)
        elif not self._incoming.pending or self._has_ended:
            return b"" if self._has_ended else octets
        plain = self._decrypt()
        if self._outgoing.pending:
            # Answers of the protocol itself (a key update). A peer that asks for them and takes none is given up.
            self.is_broken |= self.is_full
            self._push()
        if plain and self._has_ended:
            self._loop.call_soon(self._tell_end)
        return plain or (b"" if self._has_ended or octets == b"" else None)

    def start_reading(self) -> None:
        super().start_reading()
        if self._has_ended or self._incoming.pending:
            # The socket may have nothing more to say: what is here already must be told without it.
            self._loop.call_soon(self._tell_end)

    def _decrypt(self) -> bytes:
        """All plain octets there are; none may also mean that the peer has ended."""
        pieces = []
        try:
            while self._incoming.pending or self.tls.pending():
                piece = self.tls.read(RECORD)
                if not piece:
                    self._has_ended = True
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._has_ended = True
        except ssl.SSLError:
            # Forged or damaged: what stood before it was whole and signed, and is still given.
            self.is_broken = self._has_ended = True
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _tell_end(self) -> None:
        if self.is_reading:
            self._on_readable()

    # ── writing ──

    def write(self, parts: list[bytes], is_last: bool = False) -> None:
        self._encrypt(parts)
        self._push()

    def hold(self, octets: bytes) -> None:
        self._encrypt([octets])
        if self._outgoing.pending:
            super().hold(self._outgoing.read())

    def _encrypt(self, parts: list[bytes]) -> None:
        if self.is_broken:
            return
        if len(parts) > 1 and sum(map(len, parts)) <= RECORD:
            parts = [b"".join(parts)]
        try:
            for part in parts:
                if part:
                    self.tls.write(part)
        except ssl.SSLError:
            # Before the handshake is done, or after the peer broke the connection.
            self.is_broken = True

    def _push(self) -> None:
        """Send what OpenSSL has to say."""
        if self._outgoing.pending:
            super().write([self._outgoing.read()])

    # ── the end ──

    def say_goodbye(self) -> bool:
        """By close_notify (RFC 8446 6.1). FIN has to wait for it."""
        if self.is_secure and not self.is_broken:
            self.is_secure = False
            # Mostly "want read": ours is out, and the peer's is not waited for.
            with suppress(ssl.SSLError):
                self.tls.unwrap()
            self._push()
        return not self.queued

    def end_by_reset(self) -> None:
        # Without goodbye: a peer that sees no close_notify knows that what it got is not whole.
        self.is_broken = True
        super().end_by_reset()

    def close(self) -> None:
        self.say_goodbye()
        super().close()

    def _fail(self, reason: str) -> None:
        self.failure = reason
        self.is_broken = True


def _reason_of(error: ssl.SSLError) -> str:
    """OpenSSL's reason in words: NO_SHARED_CIPHER is "no shared cipher"."""
    return (error.reason or str(error)).replace("_", " ").lower()
