"""An HTTP/1.1 connection: a codec on a channel, and requests answered one after another.

Readiness drives it: the loop says "readable", and in that very turn the octets are read, the head is parsed and the
app is started, with no task or future between them. Requests are answered in order, one at a time; the octets of
later ones wait in a bounded buffer. `states.py` says what a connection can be waiting for, `life.py` how it ends.
"""

import asyncio
import socket
import sys
from collections.abc import Coroutine
from functools import partial

from ..codec.deflate import Deflate
from ..codec.errors import ProtocolError
from ..codec.events import BodyData, BodyEnd, Event, RequestHead
from ..codec.handshake import read_handshake
from ..codec.http1 import MAX_SKIPPED_BODY
from .channel import HIGH_WATER, NEVER
from .exchange import Exchange
from .life import Connection
from .service import Address, Service, ServeWebSocket
from .session import Session
from .states import State
from .websocket import WebSocketConnection

MAX_PIPELINED = 65536
"""Octets of later requests that are kept while one is running; above it reading stops."""

_CLAUSE_413 = "RFC 9110 15.5.14"

# An app that never really waits is done when its eager task is made, without a turn of the loop; Python 3.11 has none.
if sys.version_info >= (3, 12):
    _start_task = partial(asyncio.Task, eager_start=True)
else:
    _start_task = asyncio.Task

_IDLE, _HEAD, _RUNNING, _SKIPPING, _FLUSHING = State.IDLE, State.HEAD, State.RUNNING, State.SKIPPING, State.FLUSHING

# Where the next thing to read is a request, or what stands before it.
_BETWEEN = (_IDLE, _HEAD, _SKIPPING)


class HttpConnection(Connection):
    """One client's connection, read and answered as HTTP/1.1."""

    __slots__ = ("_skipped", "_waits_since")

    def __init__(self, service: Service, sock: socket.SocketType, client: Address | None, server: tuple[str, int | None]) -> None:
        super().__init__(service, sock, client, server)
        self._skipped = 0
        self._waits_since = NEVER

    def open(self) -> None:
        """Begin: register with the service and look at once, for a client mostly sends with its first packet."""
        service = self.service
        service.add(self)
        self.deadline = service.now() + service.settings.timeout_first_byte
        if service.is_draining:
            self.drain()
        self._on_readable()
        if self.state is not State.CLOSED and not self.has_ended:
            self.channel.start_reading()

    # ── what the loop says ──

    def _on_readable(self) -> None:
        octets = self.channel.read()
        if octets:
            exchange = self.exchange
            if exchange is None:
                # After the last answer what comes is discarded.
                if self.state in _BETWEEN:
                    self.codec.feed(octets)
                    self._take_requests()
                return
            self.codec.feed(octets)
            if not exchange.is_body_complete:
                self._take_body(exchange)
            elif self.codec.buffer.size > MAX_PIPELINED:
                self.channel.stop_reading()
        elif octets is not None:
            self._on_end()

    def _on_end(self) -> None:
        """The client will send no more: an error, an end, or only the end of its half (RFC 9112 9.6)."""
        self.has_ended = True
        self.channel.stop_reading()
        exchange = self.exchange
        if exchange is None and self.state in _BETWEEN and not self.channel.is_broken:
            # Whole requests may wait here, to be taken in the next turn: they are answered yet.
            self._take_requests()
        elif exchange is None:
            self.finish()
        elif self.channel.is_broken or not exchange.is_body_complete:
            self.close()
        else:
            # Perhaps it still listens: the answer is sent, but an app that only waits should not wait on.
            exchange.tell_to_leave()

    def _on_drained(self) -> None:
        """The client took what was queued, or most of it, or is gone."""
        if self.untaken and not self.channel.queued and not self.channel.is_broken:
            self.settle("ok")
        if self.channel.is_broken:
            self.close()
        elif self.exchange is not None:
            self.exchange.wake()
        elif self.state in _BETWEEN:
            self._take_requests()
        elif self.state is _FLUSHING:
            self.finish()

    # ── requests ──

    def _take_requests(self) -> None:
        """Start what has come, one request after another, as long as each is answered at once."""
        channel, codec = self.channel, self.codec
        while self.state in _BETWEEN:
            # As `is_full` has it: what is held waits for us alone, and nobody tells when it has left.
            if channel.queued > HIGH_WATER and not channel.held:
                # A client that takes no answers gets no further ones.
                channel.stop_reading()
                break
            try:
                event = codec.next_event() if codec.buffer.size or self.state is _SKIPPING else None
            except ProtocolError as error:
                self.refuse(error)
                break
            if type(event) is RequestHead:
                self._run(event)
                if self.state is _IDLE:
                    if not codec.buffer.size and channel.is_reading and not self.has_ended:
                        # Answered at once, and nothing came behind it: mostly that is all.
                        break
                elif not channel.is_reading:
                    self._read_on()
            elif event is None:
                if codec.buffer.size or self.has_ended or not channel.is_reading:
                    self._await_request()
                break
            else:
                self._skip(event)

    def _read_on(self) -> None:
        """Reading stopped while an earlier request ran. This one may have a body, and its client may leave."""
        exchange = self.exchange
        is_wanted = exchange is not None and exchange.is_hungry and self.codec.buffer.size <= MAX_PIPELINED
        if is_wanted and self.answered and not self.has_ended:
            self.channel.start_reading()

    def _await_request(self) -> None:
        """Nothing more to start: wait for the next octets, or for the rest of a head."""
        if self.has_ended:
            self.finish()
            return
        self.channel.start_reading()
        if self.state is _IDLE and self.codec.buffer.size:
            self.state = _HEAD
            self.deadline = self.service.now() + self.service.settings.timeout_head

    def _run(self, head: RequestHead) -> None:
        """Start the app on a request. Where tasks can start eagerly it may be done when this returns."""
        service = self.service
        if head.upgrade and service.serve_websocket is not None and self._run_websocket(head, service.serve_websocket):
            return
        exchange = Exchange(self, head, service.now())
        self.exchange = exchange
        self.state = _RUNNING
        self.deadline = NEVER
        most = service.settings.limit_concurrency
        if most is not None and len(service.running) >= most:
            self.refuse(ProtocolError(503, "too many requests are running", "RFC 9110 15.6.4"))
            return
        if head.body_length:
            self._waits_since = NEVER
            self._take_body(exchange)
            if self.exchange is None:
                return
        if self.has_ended or service.is_draining:
            exchange.tell_to_leave()
        self._start(exchange, service.serve(exchange))

    def _run_websocket(self, head: RequestHead, serve: ServeWebSocket) -> bool:
        """Start the app on a request for a WebSocket; False when it is another request after all.

        Until the app accepts it is a request like others: it can be refused, and answered by any response.
        """
        service, settings = self.service, self.service.settings
        try:
            handshake = read_handshake(head)
            if handshake is None:
                return False
            if settings.limit_concurrency is not None and len(service.running) >= settings.limit_concurrency:
                raise ProtocolError(503, "too many requests are running", "RFC 9110 15.6.4")
        except ProtocolError as error:
            self.refuse(error)
            return True
        session = Session(self, head, service.now(), handshake, settings.ws_max_queue)
        self.exchange = session
        self.state = _RUNNING
        patience = settings.ws_accept_timeout
        self.deadline = NEVER if patience is None else session.started_at + patience
        self.codec.wants_close |= service.is_draining
        if self.has_ended:
            session.tell_to_leave()
        self._start(session, serve(session))
        return True

    def _start(self, exchange: Exchange, answering: Coroutine[None, None, None]) -> None:
        """Make the task of an exchange, unless it is done at once."""
        service = self.service
        # A context of its own: this may run in that of the app whose answer made room for this request.
        task = _start_task(answering, loop=service.loop, context=service.context.copy())
        if not task.done():
            exchange.task = task
            service.running.add(exchange)

    def upgrade(self, session: Session, response: bytes, deflate: Deflate | None) -> None:
        """The app accepts a WebSocket: it has the channel from here on, and what came behind the handshake."""
        octets = self.codec.buffer.take(self.codec.buffer.size)
        self.exchange = None
        self.state = State.CLOSED
        WebSocketConnection(self, session, deflate).open(response, octets)

    def end_answer(self, exchange: Exchange, now: float) -> None:
        """The response is complete: go on to the next request, or close."""
        service = self.service
        self.exchange = None
        self.answered += 1
        if service.on_answered is not None:
            self.note_end(exchange)
        if self.codec.wants_close:
            self.finish()
            return
        self.state = _IDLE if exchange.is_body_complete else _SKIPPING
        self.deadline = now + service.keep_alive
        # Within `_run` its caller goes on with what has come; later, somebody must.
        if exchange.task is not None and (self.codec.buffer.size or self.has_ended or not self.channel.is_reading):
            service.loop.call_soon(self._take_requests)

    # ── bodies ──

    def _take_body(self, exchange: Exchange) -> None:
        """Hand what came of the body to the exchange, and stop reading when it has enough."""
        limit = self.service.settings.limit_body
        before = exchange.received
        try:
            while True:
                if limit is not None and max(exchange.received, exchange.head.body_length) > limit:
                    raise ProtocolError(413, f"a body over {limit} octets", _CLAUSE_413)
                event = self.codec.next_event() if exchange.is_hungry else None
                if type(event) is BodyData:
                    exchange.feed(event.octets)
                elif type(event) is BodyEnd:
                    exchange.feed_end()
                else:
                    break
        except ProtocolError as error:
            self.refuse(error)
            return
        if exchange.is_body_complete or exchange.received != before:
            self.stop_clock(exchange)
        if not exchange.is_hungry:
            self.channel.stop_reading()
        elif self.has_ended and not exchange.is_body_complete:
            # The client has ended in the middle of a body, while an earlier request ran.
            self.close()

    def resume_body(self) -> None:
        """The app took what there was: read on."""
        exchange = self.exchange
        if exchange is not None and not self.channel.is_reading:
            self._take_body(exchange)
            if self.exchange is exchange and exchange.is_hungry:
                self.channel.start_reading()

    def want_body(self, exchange: Exchange) -> None:
        """The app waits for more of the body. A client that waits for 100 Continue may send (RFC 9110 10.1.1); one that
        has begun does not wait.

        Only from here does the client's time run: not while the app does something else. It may be silent for
        `timeout_body`, and be behind `min_body_rate` by as much.
        """
        interim = self.codec.confirm_continue()
        if interim and not exchange.received:
            self.channel.write([interim])
        settings = self.service.settings
        patience = settings.timeout_body
        if settings.min_body_rate:
            patience += min(0.0, exchange.received / settings.min_body_rate - exchange.waited)
        # Another task of the app may wait already: the client gets no further time for this one.
        if self._waits_since is NEVER:
            self._waits_since = self.service.now()
            self.deadline = self._waits_since + patience

    def stop_clock(self, exchange: Exchange) -> None:
        """The app waits no longer. Where its exchange is over already, the deadline is another one."""
        if self._waits_since is not NEVER and self.exchange is exchange:
            exchange.waited += self.service.now() - self._waits_since
            self._waits_since = NEVER
            self.deadline = NEVER

    def _skip(self, piece: Event) -> None:
        """Discard the body of a request that was answered without it, up to a limit."""
        if type(piece) is BodyData:
            self._skipped += len(piece.octets)
            if self._skipped > MAX_SKIPPED_BODY:
                self.finish()
        else:
            self.state = _IDLE
            self._skipped = 0
            self.deadline = self.service.now() + self.service.keep_alive
