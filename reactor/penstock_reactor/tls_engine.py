"""TLS without I/O: encrypted bytes in, plain bytes out, and the other way round.

OpenSSL works on two memory buffers. `feed` puts what came from the peer into one; what the peer shall get is taken from the
other with `take_output`, after every call here. Nothing waits: "needs more from the peer" is a normal answer.
Who sends, receives and keeps time is `tls_transport.py`.

Cost: a read asks for one record's worth, so it always takes a whole record, and stops when the input is empty, because asking
once more would cost an exception.
"""

from __future__ import annotations

import enum
import ssl
from typing import Any, NamedTuple

# The most plain text that one record carries (RFC 8446 section 5.1).
RECORD_BYTES = 16 * 1024


class TlsOptions(NamedTuple):
    """How to do TLS on one connection; the time limits in seconds."""

    context: ssl.SSLContext
    server_side: bool
    server_hostname: str | None
    handshake_timeout: float
    shutdown_timeout: float


class Phase(enum.Enum):
    """The life of a TLS connection that is a transport."""

    HANDSHAKE = enum.auto()
    OPEN = enum.auto()
    FLUSHING = enum.auto()  # close() was called: what was written leaves first
    CLOSING = enum.auto()  # our close_notify is out, the peer's is awaited
    LOST = enum.auto()  # connection_lost is told, or on its way


class TlsEngine:
    """One side of one TLS connection.

    `is_over`: the peer has said close_notify, or its bytes made no sense, which is then in `failure`.
    """

    def __init__(self, tls: TlsOptions) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = tls.context.wrap_bio(self._incoming, self._outgoing, tls.server_side, tls.server_hostname)
        self.is_over = False
        self.failure: ssl.SSLError | None = None
        # These are called for every packet.
        self.feed = self._incoming.write
        self.take_output = self._outgoing.read
        self._read = self._tls.read

    @property
    def has_input(self) -> bool:
        """True while fed bytes have not been read."""
        return bool(self._incoming.pending or self._tls.pending())

    @property
    def has_output(self) -> bool:
        """True while there is something to take."""
        return bool(self._outgoing.pending)

    def extra_info(self, name: str) -> Any:
        """What asyncio's get_extra_info documents for TLS; KeyError for other names."""
        return EXTRA_INFO[name](self._tls)

    def shake_hands(self) -> bool:
        """Go on with the handshake; False while the peer has to answer first, ssl.SSLError when it fails."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def read(self) -> bytes:
        """All plain bytes there are; none may also mean `is_over`."""
        try:
            data = self._read(RECORD_BYTES)
        except ssl.SSLWantReadError:
            return b""
        except ssl.SSLError as exc:
            self._end(exc)
            return b""
        if not data:
            self._end(None)
        elif self._incoming.pending:
            return self._read_on(data)
        return data

    def read_into(self, buffer: Any) -> int:
        """Plain bytes into `buffer`; how many. None may also mean `is_over`."""
        try:
            count = self._read(len(buffer), buffer)
        except ssl.SSLWantReadError:
            return 0
        except ssl.SSLError as exc:
            self._end(exc)
            return 0
        if not count:
            self._end(None)
        return count  # type: ignore[return-value]  # with a buffer, read gives a number

    def encrypt(self, data: bytes | bytearray | memoryview) -> bool:
        """Encrypt all of `data` into the output; False, and nothing done, while the peer has to speak first (renegotiation)."""
        try:
            self._tls.write(data)  # a memory buffer takes it all
        except ssl.SSLWantReadError:
            return False
        return True

    def say_goodbye(self) -> bool:
        """Put a close_notify out and drop what is unread; True when nothing more is to be expected from the peer."""
        if self.has_input:
            self.read()  # over unread data OpenSSL says goodbye too, but then refuses to read the peer's
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as exc:
            self._end(exc)
        return True

    def _read_on(self, first: bytes) -> bytes:
        """The rest of the records, after the first one."""
        pieces = [first]
        try:
            while self._incoming.pending:
                piece = self._read(RECORD_BYTES)
                if not piece:
                    self._end(None)
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass  # the last record is not whole yet
        except ssl.SSLError as exc:
            self._end(exc)
        return b"".join(pieces)

    def _end(self, exc: ssl.SSLError | None) -> None:
        self.is_over = True
        if not isinstance(exc, ssl.SSLZeroReturnError):
            self.failure = exc


EXTRA_INFO = {
    "ssl_object": lambda tls: tls,
    "sslcontext": lambda tls: tls.context,
    "peercert": lambda tls: tls.getpeercert(),
    "cipher": lambda tls: tls.cipher(),
    "compression": lambda tls: tls.compression(),
}
