"""The sending half of a TLS transport: what is written becomes records, and records go to the transport below.

While nothing waits, a write is encrypted and passed down at once. The transport below is told to report anything it cannot send (its
high mark is 0), and while it does, plain bytes wait here. So a large write is not held twice, and
get_write_buffer_size is exact. Small writes that had to wait share records; large ones are cut into slices.

The other half, `tls_transport.py`, has the connection's phases; here only `OPEN` and `FLUSHING` count.
"""

from __future__ import annotations

import collections
import ssl
from asyncio.log import logger
from collections.abc import Iterable
from typing import Any

from .flow import WriteLimits
from .sending import QUIET_DROPS, Bytes, as_bytes_like
from .tls_engine import Phase, TlsEngine

# How much is encrypted before the transport below is asked whether it still takes more.
SLICE_BYTES = 64 * 1024

# The backlog of those who have never had to wait: a deque of one's own takes 600 bytes.
NOTHING: collections.deque[Bytes] = collections.deque(maxlen=0)

# On the hot path a global is found faster than an enum's member.
OPEN = Phase.OPEN


class SSLSending(WriteLimits):
    """write, writelines, and the flow control between application and transport below."""

    _phase: Phase
    _engine: TlsEngine
    _lower: Any

    def _start_sending(self) -> None:
        self._lower_is_full = False
        self._backlog = NOTHING
        self._backlog_bytes = 0
        self._drops = 0

    def get_write_buffer_size(self) -> int:
        """How many bytes wait, here and below."""
        return self._backlog_bytes + int(self._lower.get_write_buffer_size())

    def write(self, data: Bytes) -> None:
        """Encrypt and send `data`, now or when the transport below takes it; dropped once closing."""
        if type(data) is not bytes:
            data = as_bytes_like(data)
        if self._phase is not OPEN or self._lower_is_full or self._backlog or len(data) > SLICE_BYTES or not data:
            self._write_later(data)
            return
        try:
            is_taken = self._engine.encrypt(data)
        except ssl.SSLError as exc:
            self._fail(exc, "Fatal error on TLS connection")
            return
        if not is_taken:
            self._write_later(data)
            return
        self._lower.write(self._engine.take_output())
        if self._lower_is_full:
            self._pause_if_full(self.get_write_buffer_size())

    def writelines(self, list_of_data: Iterable[Bytes]) -> None:
        """Send the pieces in order, in as few records as they fit."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """False: TLS has no half close that everybody understands."""
        return False

    def write_eof(self) -> None:
        """Not with TLS."""
        raise NotImplementedError("a TLS connection cannot be closed one way; use close()")

    def pause_writing(self) -> None:
        """The transport below has bytes that it could not send."""
        self._lower_is_full = True

    def resume_writing(self) -> None:
        """They have left."""
        self._lower_is_full = False
        self._pump()
        if self._told_to_pause:
            self._resume_if_drained(self.get_write_buffer_size())

    def _write_later(self, data: Bytes) -> None:
        """Any write that cannot be encrypted at once and whole."""
        if not data:
            return
        if self._phase is not OPEN:
            # Never an exception: the peer may go at any moment, and no writer can know. But say it, in time.
            self._drops += 1
            if self._drops > QUIET_DROPS:
                logger.warning("SSL connection is closed")
            return
        if self._backlog is NOTHING:
            self._backlog = collections.deque()
        # A copy of what the caller can change before it has left.
        self._backlog.append(data if isinstance(data, bytes) else bytes(data))
        self._backlog_bytes += len(data)
        self._pump()
        self._pause_if_full(self.get_write_buffer_size())

    def _pump(self) -> None:
        """Encrypt what waits while the transport below takes it; when all is gone and we are closing, say goodbye."""
        while self._backlog and not self._lower_is_full and not self._lower.is_closing():
            piece = self._next_piece()
            try:
                is_taken = self._engine.encrypt(piece)
            except ssl.SSLError as exc:
                self._fail(exc, "Fatal error on TLS connection")
                return
            if not is_taken:
                self._backlog.appendleft(piece)
                return
            self._backlog_bytes -= len(piece)
            self._send_output()
        if self._phase is Phase.FLUSHING and not self._backlog:
            self._say_goodbye()

    def _next_piece(self) -> Bytes:
        """The front of the backlog: small writes share records, large ones are cut."""
        backlog = self._backlog
        first = backlog.popleft()
        if len(first) > SLICE_BYTES:
            backlog.appendleft(memoryview(first)[SLICE_BYTES:])
            return memoryview(first)[:SLICE_BYTES]
        pieces, size = [first], len(first)
        while backlog and size + len(backlog[0]) <= SLICE_BYTES:
            size += len(backlog[0])
            pieces.append(backlog.popleft())
        return first if len(pieces) == 1 else b"".join(pieces)

    def _send_output(self) -> None:
        if self._engine.has_output:
            self._lower.write(self._engine.take_output())

    # The other half.

    def _say_goodbye(self) -> None:
        raise NotImplementedError

    def _fail(self, exc: BaseException, message: str) -> None:
        raise NotImplementedError
