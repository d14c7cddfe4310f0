"""TLS on top of any transport: towards the application a transport, towards the transport below a protocol.

`TlsEngine` does the cryptography; here is who sends what and when. It knows nothing of sockets, so it runs over
TCP, over UNIX sockets, and over another one of itself (TLS in TLS).

A connection's life is `Phase`. Its end is the hard part. Everything written leaves first, then a close_notify, then the peer's is
awaited: closing the socket over unread bytes would make the system send a reset, which can destroy what the peer has not
read yet. What the peer still sends meanwhile is skipped, up to a limit; what it sends after its own close_notify is not even read; and
the wait has a time limit too.
The sending half is `tls_sending.py`.
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio.constants import _SendfileMode
from asyncio.log import logger
from typing import Any

from .contract import ReactorLoop
from .reports import transport_failed
from .tls_engine import Phase, TlsEngine, TlsOptions
from .tls_sending import OPEN, SSLSending

# What a peer may go on sending after our close_notify, while we wait for its own.
SKIP_BYTES = 256 * 1024


class SSLTransport(SSLSending, asyncio.Transport, asyncio.Protocol):
    """A TLS connection; begins its handshake when the transport below calls `connection_made`.

    `is_awaited`: somebody will call `wait_shaken`. `is_told`: the protocol knows of the connection already (start_tls).
    """

    _start_tls_compatible = True
    _sendfile_compatible = _SendfileMode.FALLBACK

    def __init__(
        self,
        loop: ReactorLoop,
        protocol: Any,
        tls: TlsOptions,
        *,
        is_awaited: bool = False,
        is_told: bool = False,
        server: Any = None,
    ) -> None:
        super().__init__()
        self._loop = loop
        self._engine = TlsEngine(tls)
        self._timeouts = tls.handshake_timeout, tls.shutdown_timeout
        self._waiter: asyncio.Future[None] | None = loop.create_future() if is_awaited else None
        self._is_told = is_told
        self._server = server
        self._phase = Phase.HANDSHAKE
        self._timer: asyncio.TimerHandle | None = None
        self._lower: Any = None
        self._context: Any = None
        self._is_reading = True
        self._has_read_end = False
        self._skipped_bytes = 0
        self._failure: BaseException | None = None
        self._start_sending()
        self.set_protocol(protocol)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._phase.name.lower()} over {self._lower!r}>"

    # For the application: a transport.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """ssl_object, sslcontext, peercert, cipher, compression, and all that the transport below knows."""
        try:
            return self._engine.extra_info(name)
        except KeyError:
            return default if self._lower is None else self._lower.get_extra_info(name, default)

    def set_protocol(self, protocol: Any) -> None:
        """Switch protocols, also between Protocol and BufferedProtocol."""
        self._protocol = protocol
        self._is_buffered = isinstance(protocol, asyncio.BufferedProtocol)
        if self._engine.has_input:
            self._resume_soon()

    def get_protocol(self) -> Any:
        """The protocol; None once the connection is lost."""
        return self._protocol

    def is_closing(self) -> bool:
        """True from close(), abort(), the peer's close_notify or a failure on."""
        return self._phase not in (Phase.HANDSHAKE, OPEN)

    def is_reading(self) -> bool:
        """True while bytes may be handed to the protocol."""
        return self._is_reading and self._phase is OPEN

    def pause_reading(self) -> None:
        """Hand nothing more to the protocol, not even what has come already, until resume_reading()."""
        if self.is_reading():
            self._is_reading = False
            self._lower.pause_reading()

    def resume_reading(self) -> None:
        """Take up reading again; nothing is handed over before the next turn."""
        if self._phase is OPEN and not self._is_reading:
            self._is_reading = True
            self._resume_soon()

    def close(self) -> None:
        """Let what was written leave, say close_notify, wait for the peer's, then connection_lost(None)."""
        if self._phase is Phase.HANDSHAKE:
            self.abort()
        elif self._phase is OPEN:
            self._phase = Phase.FLUSHING
            self._watch_progress()
            self._lower.resume_reading()
            self._pump()

    def abort(self) -> None:
        """Drop everything, then connection_lost(None)."""
        self._phase = Phase.LOST
        self._stop_timer()
        if self._lower is not None:
            self._lower.abort()

    # For the transport below: a protocol.

    def connection_made(self, transport: Any) -> None:
        """Begin the handshake."""
        self._lower = transport
        self._context = getattr(transport, "_context", None)
        transport.set_write_buffer_limits(high=0)
        self._lower_is_full = transport.get_write_buffer_size() > 0
        if self._server is not None:
            self._server._attach(self)
        self._timer = self._loop.call_later(self._timeouts[0], self._on_handshake_timeout)
        self._shake_hands()

    def data_received(self, data: bytes) -> None:
        """Decrypt, and hand on."""
        self._engine.feed(data)
        if self._phase is OPEN:
            self._deliver()
        elif self._phase is Phase.HANDSHAKE:
            self._shake_hands()
        else:
            self._skip()

    def eof_received(self) -> bool:
        """The peer has closed its side, with or without a close_notify before."""
        self._has_read_end = True
        if self._phase is Phase.HANDSHAKE:
            gone = ConnectionResetError("the peer closed the connection during the TLS handshake")
            self._fail(gone, "SSL handshake failed")
        elif self._phase is OPEN:
            self._on_peer_done()
        elif self._phase is Phase.CLOSING:
            self._lower.close()
        return True  # nothing else may close the transport below

    def connection_lost(self, exc: BaseException | None) -> None:
        """The transport below has ended, and so have we."""
        failure, self._failure = self._failure or exc, None
        self._phase = Phase.LOST
        self._stop_timer()
        self._backlog.clear()
        self._backlog_bytes = 0
        self._wake_waiter(failure or ConnectionResetError("the connection was lost during the TLS handshake"))
        protocol, self._protocol = self._protocol, None
        try:
            if self._is_told:
                protocol.connection_lost(failure)
        finally:
            if self._server is not None:
                self._server._detach(self)
                self._server = None

    # The handshake.

    def _shake_hands(self) -> None:
        try:
            is_done = self._engine.shake_hands()
        except Exception as exc:
            self._send_output()  # the alert that says why
            what = " on verifying the certificate" if isinstance(exc, ssl.CertificateError) else ""
            self._fail(exc, "SSL handshake failed" + what)
            return
        self._send_output()
        if is_done:
            self._on_handshake_done()

    def _on_handshake_done(self) -> None:
        self._stop_timer()
        self._phase = OPEN
        self._wake_waiter(None)
        if not self._is_told:
            self._is_told = True
            try:
                self._protocol.connection_made(self)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                self._fail(exc, "Fatal error: protocol.connection_made() call failed.")
        # What came in the same packet; the protocol may have paused or closed by now.
        if self._phase is OPEN and self._engine.has_input:
            self._deliver()

    def _on_handshake_timeout(self) -> None:
        seconds = self._timeouts[0]
        text = f"SSL handshake is taking longer than {seconds} seconds: aborting the connection"
        self._fail(ConnectionAbortedError(text), "SSL handshake failed")

    async def wait_shaken(self) -> None:
        """Wait for the end of the handshake, and raise what it failed with; being cancelled cuts the connection."""
        try:
            if self._waiter is not None:
                await self._waiter
        except BaseException:
            self.abort()
            raise
        finally:
            # The exception knows this frame, so nothing here may know the future that knows the exception.
            self._waiter = None

    def _wake_waiter(self, exc: BaseException | None) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            if exc is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(exc)

    # Reading.

    def _deliver(self) -> None:
        if not self._is_reading:
            return
        engine = self._engine
        try:
            if self._is_buffered:
                self._fill_buffers()
            elif data := engine.read():
                self._protocol.data_received(data)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            method = "buffer_updated" if self._is_buffered else "data_received"
            self._fail(exc, f"Fatal error: protocol.{method}() call failed.")
            return
        if engine.has_output:
            self._send_output()
        if engine.is_over and self._phase is OPEN:
            if engine.failure is not None:
                self._fail(engine.failure, "Fatal error on TLS connection")
            else:
                self._on_peer_done()
        elif self._backlog:
            self._pump()

    def _fill_buffers(self) -> None:
        engine = self._engine
        while self._is_buffered and self.is_reading() and engine.has_input:
            buffer = self._protocol.get_buffer(-1)
            if not len(buffer):
                raise RuntimeError("get_buffer() returned an empty buffer")
            count = engine.read_into(buffer)
            if not count:
                return
            self._protocol.buffer_updated(count)

    def _resume_soon(self) -> None:
        # In the connection's context, if the transport below has one of its own, as ours do.
        self._loop.call_soon(self._resume, context=self._context)

    def _resume(self) -> None:
        if self.is_reading() and self._engine.has_input:
            self._deliver()
        if self.is_reading():
            self._lower.resume_reading()

    def _on_peer_done(self) -> None:
        """The peer says nothing more; answering is over too, because TLS has no half close."""
        try:
            if self._protocol.eof_received():
                logger.warning("returning true from eof_received() has no effect when using ssl")
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fail(exc, "Fatal error: protocol.eof_received() call failed.")
        self.close()

    # The end.

    def _say_goodbye(self) -> None:
        self._phase = Phase.CLOSING
        self._skipped_bytes = 0
        # A peer that has closed its side without a goodbye expects none.
        is_answered = self._has_read_end or self._engine.say_goodbye()
        self._send_output()
        if is_answered:
            self._lower.close()

    def _skip(self) -> None:
        """After close(): take what the peer sends, look for its close_notify, and give nothing to anyone."""
        self._skipped_bytes += len(self._engine.read())
        if self._engine.is_over:
            # It has said all, and we may still be flushing: what comes now would be kept, for nobody reads it.
            self._lower.pause_reading()
        self._send_output()
        if self._phase is Phase.CLOSING and (self._engine.is_over or self._skipped_bytes > SKIP_BYTES):
            self._lower.close()

    def _watch_progress(self) -> None:
        """Look again after the shutdown timeout: is anything still moving?"""
        unsent = self.get_write_buffer_size()
        self._timer = self._loop.call_later(self._timeouts[1], self._on_shutdown_timeout, unsent)

    def _on_shutdown_timeout(self, unsent_before: int) -> None:
        # A slow peer that takes its bytes is given the time; the timeout is for one that takes none, or does not answer.
        if self.get_write_buffer_size() < unsent_before:
            self._watch_progress()
        else:
            self._fail(TimeoutError("SSL shutdown timed out"), "TLS shutdown failed")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fail(self, exc: BaseException, message: str) -> None:
        """Report what broke and cut the connection."""
        transport_failed(self._loop, self, exc, message)
        self._failure = exc
        self._wake_waiter(exc)
        self.abort()
