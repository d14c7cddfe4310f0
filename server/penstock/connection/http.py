"""An HTTP/1.1 connection: a codec on a channel, and the life of both.

Readiness drives it: the loop says "readable", and in that very turn the octets are read, the head is parsed and the
app is started, with no task or future between them. Requests are answered in order, one at a time; the octets of
later ones wait in a bounded buffer.

    state      what it waits for                      limit                      ends in
    IDLE       the first octet of a request           first byte, keep-alive     HEAD, RUNNING, CLOSED
    HEAD       the rest of a request's head           head                       RUNNING, LINGERING
    RUNNING    the app, the body, the client taking   body, write                IDLE, FLUSHING, CLOSED
    FLUSHING   the client taking the last answer      write                      LINGERING, CLOSED
    LINGERING  the client's end (FIN), discarding     linger                     CLOSED
    CLOSED     nothing

Closing never loses an answer: unread octets in the kernel at `close` make it send RST, which can eat what the client
has not read yet. So FIN goes first, what still comes is discarded for a moment, and then the socket is closed.
"""

import asyncio
import socket
import sys
from collections.abc import Coroutine
from enum import Enum

from ..codec.errors import ProtocolError
from ..codec.events import BodyData, BodyEnd, RequestHead
from ..codec.http1 import MAX_SKIPPED_BODY, Http1Codec
from .channel import HIGH_WATER, NEVER, Channel
from .exchange import Exchange
from .service import Service

MAX_PIPELINED = 65536
"""Octets of later requests that are kept while one is running; above it reading stops."""

LINGER_TIMEOUT = 2.0
"""Seconds to wait for the client's end after ours."""

DRAIN_FIRST_BYTE = 1.0
"""Seconds a connection that was never answered still gets for its first octet when the server drains."""

Address = tuple[str, int]


class State(Enum):
    IDLE = "idle"
    HEAD = "reading head"
    RUNNING = "running"
    FLUSHING = "flushing"
    LINGERING = "lingering"
    CLOSED = "closed"


_IDLE, _HEAD, _RUNNING, _FLUSHING, _LINGERING, _CLOSED = State


class HttpConnection:
    """One client's connection. `client` and `server` are addresses as ASGI has them; `local` None asks the socket."""

    __slots__ = (
        "service", "channel", "codec", "state", "deadline", "exchange", "answered", "client", "server", "scheme",
        "has_ended", "_skipped", "__weakref__",
    )  # fmt: skip

    def __init__(self, service: Service, sock: socket.socket, client: Address | None, server: tuple[str, int | None]) -> None:
        self.service = service
        self.channel = Channel(sock, service.loop, self._on_readable, self._on_drained, service.settings.timeout_write)
        self.codec = Http1Codec(service.limits)
        self.state = _IDLE
        self.deadline = NEVER
        """When the present state has lasted too long; the sweep looks at it."""
        self.exchange: Exchange | None = None
        """The one that is running."""
        self.answered = 0
        """Responses completed on this connection."""
        self.client = client
        self.server = server
        self.scheme = "http"
        self.has_ended = False
        """The client has sent its end (FIN): no more will come, what came is still answered."""
        self._skipped = 0

    def open(self) -> None:
        """Begin: register with the service and look at once, for a client mostly sends with its first packet."""
        service = self.service
        service.add(self)
        self.deadline = service.loop.time() + service.settings.timeout_first_byte
        if service.is_draining:
            self.drain()
        self._on_readable()
        if self.state is not _CLOSED and not self.has_ended:
            self.channel.start_reading()

    def turn_away(self, error: ProtocolError) -> None:
        """Instead of `open`: answer at once that there is no room, whatever the client wants."""
        self.service.add(self)
        self.refuse(error)

    # ── what the loop says ──

    def _on_readable(self) -> None:
        octets = self.channel.read()
        if octets:
            if self.state is _LINGERING:
                return
            self.codec.feed(octets)
            if self.exchange is None:
                self._take_requests()
            elif not self.exchange.is_body_complete:
                self._take_body(self.exchange)
            elif self.codec.buffer.size > MAX_PIPELINED:
                self.channel.stop_reading()
        elif octets is not None:
            self._on_end()

    def _on_end(self) -> None:
        """The client will send no more: an error, an end, or only the end of its half (RFC 9112 9.6)."""
        self.has_ended = True
        self.channel.stop_reading()
        exchange = self.exchange
        if self.channel.is_broken or self.state in (_IDLE, _HEAD, _LINGERING):
            self.lose()
        elif exchange is not None and not exchange.is_body_complete:
            self.lose()
        elif exchange is not None:
            # Perhaps it still listens: the answer is sent, but an app that only waits should not wait on.
            exchange.tell_to_leave()

    def _on_drained(self) -> None:
        """The client took what was queued, or most of it, or is gone."""
        if self.channel.is_broken:
            self.lose()
        elif self.state is _FLUSHING:
            self._finish()
        elif self.exchange is not None:
            self.exchange.wake()
        else:
            self._take_requests()

    # ── requests ──

    def _take_requests(self) -> None:
        """Start what has come, one request after another, as long as each is answered at once."""
        channel, codec = self.channel, self.codec
        while self.exchange is None and (self.state is _IDLE or self.state is _HEAD):
            if channel.queued > HIGH_WATER:
                channel.uncork()
                if channel.is_full:
                    break
            try:
                event = codec.next_event() if codec.buffer.size else None
            except ProtocolError as error:
                self.refuse(error)
                break
            if type(event) is RequestHead:
                if codec.buffer.size and not event.body_length:
                    channel.cork()
                self._run(event)
            elif event is None:
                self._await_request()
                break
            elif type(event) is BodyData:
                self._skip(event)
        if channel.is_corked:
            channel.uncork()

    def _await_request(self) -> None:
        """Nothing more to start: wait for the next octets, or for the rest of a head."""
        if self.has_ended:
            self.lose()
            return
        if not self.channel.is_reading:
            self.channel.start_reading()
        if self.state is _IDLE and self.codec.buffer.size:
            self.state = _HEAD
            self.deadline = self.service.loop.time() + self.service.settings.timeout_head

    def _run(self, head: RequestHead) -> None:
        """Start the app on a request. Where tasks can start eagerly it may be done when this returns."""
        service = self.service
        exchange = Exchange(self, head, service.loop.time())
        self.exchange = exchange
        self.state = _RUNNING
        self.deadline = NEVER
        if head.body_length:
            limit = service.settings.limit_body
            if limit is not None and head.body_length > limit:
                self.refuse(ProtocolError(413, f"a body over {limit} octets", "RFC 9110 15.5.14"))
                return
            self._take_body(exchange)
        if service.settings.limit_concurrency is not None and len(service.running) >= service.settings.limit_concurrency:
            self.refuse(ProtocolError(503, "too many requests are running", "RFC 9110 15.6.4"))
            return
        service.running.add(exchange)
        task = _start_task(service.serve(exchange), service.loop)
        if exchange in service.running:
            exchange.task = task

    def end_answer(self, exchange: Exchange) -> None:
        """The response is complete: go on to the next request, or close."""
        service = self.service
        self.exchange = None
        self.answered += 1
        if service.on_answered is not None:
            service.on_answered(exchange)
        if self.codec.wants_close:
            self._finish()
            return
        self.state = _IDLE
        self._skipped = 0
        self.deadline = service.loop.time() + service.settings.timeout_keep_alive
        # Within `_run` its caller goes on with what has come; later, somebody must.
        if exchange.task is not None and (self.codec.buffer.size or self.has_ended or not self.channel.is_reading):
            service.loop.call_soon(self._take_requests)

    # ── bodies ──

    def _take_body(self, exchange: Exchange) -> None:
        """Hand what came of the body to the exchange, and stop reading when it has enough."""
        try:
            while exchange.is_hungry:
                event = self.codec.next_event()
                if type(event) is BodyData:
                    exchange.feed(event.octets)
                elif type(event) is BodyEnd:
                    exchange.feed_end()
                    self.deadline = NEVER
                    return
                else:
                    break
            limit = self.service.settings.limit_body
            if limit is not None and exchange.received > limit:
                raise ProtocolError(413, f"a body over {limit} octets", "RFC 9110 15.5.14")
        except ProtocolError as error:
            self.refuse(error)
            return
        if exchange.is_hungry:
            self.deadline = self.service.loop.time() + self.service.settings.timeout_body
        else:
            # The app is to blame for this pause: the client's time does not run.
            self.deadline = NEVER
            self.channel.stop_reading()

    def resume_body(self) -> None:
        """The app took what there was: read on."""
        if self.exchange is not None and not self.channel.is_reading and not self.has_ended:
            self._take_body(self.exchange)
            if self.exchange is not None and self.exchange.is_hungry and not self.channel.is_broken:
                self.channel.start_reading()

    def confirm_continue(self) -> None:
        """The app wants the body: let a client that waits for it send (RFC 9110 10.1.1)."""
        interim = self.codec.confirm_continue()
        if interim:
            self.channel.write([interim])

    def _skip(self, piece: BodyData) -> None:
        """Discard the body of a request that was answered without it, up to a limit."""
        self._skipped += len(piece.octets)
        if self._skipped > MAX_SKIPPED_BODY:
            self._finish()

    # ── the end ──

    def refuse(self, error: ProtocolError) -> None:
        """The peer broke the protocol: say so if an answer is still possible, log it, and close."""
        exchange, self.exchange = self.exchange, None
        if self.service.on_refused is not None:
            self.service.on_refused(self, error)
        if exchange is not None:
            exchange.lose()
        if self.codec.is_response_begun:
            self.close()
            return
        self.channel.write([self.codec.encode_refusal(error.status, error.reason, self.service.defaults)])
        self._finish()

    def _finish(self) -> None:
        """The last answer was given: let the client take it, then close."""
        channel = self.channel
        if channel.queued:
            channel.uncork()
        if channel.is_broken:
            self.lose()
        elif channel.queued:
            self.state = _FLUSHING
            self.deadline = NEVER
        elif self.has_ended or self.codec.is_quiet:
            self.close()
        else:
            channel.finish()
            self.state = _LINGERING
            self.deadline = self.service.loop.time() + LINGER_TIMEOUT
            channel.start_reading()

    def cut(self) -> None:
        """A response cannot be completed: end so that the client cannot take it for whole."""
        if self.exchange is not None:
            self.exchange.lose()
        self.channel.reset()
        self.close()

    def lose(self) -> None:
        """The client is gone."""
        if self.exchange is not None:
            self.exchange.lose()
        self.close()

    def close(self) -> None:
        """Let go of everything. Safe to call again."""
        if self.state is not _CLOSED:
            self.state = _CLOSED
            self.deadline = NEVER
            self.exchange = None
            self.channel.close()
            self.service.discard(self)

    def drain(self) -> None:
        """The server stops: end as soon as what was begun is finished. A connection never answered is owed one."""
        self.codec.wants_close = True
        if self.state is _IDLE and self.answered:
            self.close()
        elif self.state is _IDLE:
            self.deadline = min(self.deadline, self.service.loop.time() + DRAIN_FIRST_BYTE)
        elif self.exchange is not None:
            self.exchange.tell_to_leave()

    def expire(self, now: float) -> None:
        """A limit has passed: 408 where the client can still be told (RFC 9110 15.5.9), else the end."""
        if self.channel.stalls_at <= now:
            self.lose()
        elif self.state is _HEAD:
            self.refuse(ProtocolError(408, "the request's head took too long", "RFC 9110 15.5.9"))
        elif self.state is _RUNNING:
            self.refuse(ProtocolError(408, "the request's body took too long", "RFC 9110 15.5.9"))
        else:
            self.close()


if sys.version_info >= (3, 12):

    def _start_task(answer: Coroutine[None, None, None], loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
        """Run the app at once: one that never really waits is done when this returns, without a turn of the loop."""
        return asyncio.Task(answer, loop=loop, eager_start=True)

else:

    def _start_task(answer: Coroutine[None, None, None], loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
        """Run the app in the next turn."""
        return loop.create_task(answer)
