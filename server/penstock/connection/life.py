"""The life of a connection: what it holds, and every way it ends.

Closing never loses an answer: unread octets in the kernel at `close` make it send RST, which can eat what the client
has not read yet. So what is queued goes first, then FIN; what still comes is discarded for a moment, and then the
socket is closed. Only an answer that cannot be completed ends with RST on purpose: the client must not take it for
whole. `states.py` has the states and moves; how requests are read and answered is `http.py`'s.
"""

import logging
import socket

from ..codec.errors import ProtocolError
from ..codec.http1 import Http1Codec
from .channel import NEVER, Channel
from .exchange import Exchange
from .service import Address, Service
from .states import State

LINGER_TIMEOUT = 2.0
"""Seconds to wait for the client's end after ours."""

DRAIN_FIRST_BYTE = 1.0
"""Seconds a connection that was never answered still gets for its first octet when the server drains."""

MOST_UNTAKEN = 1024
"""So many answers on their way are remembered. To a client that is always a little behind something waits at all times;
the earlier half it has taken long since, for what waits is bounded."""

NO_ANSWER = 499
"""In place of a status that was never sent, as nginx has it."""

SWITCHED = 101

_CLAUSE_408 = "RFC 9110 15.5.9"

_log = logging.getLogger("penstock.error")

# Looking a member up in its class costs a microsecond's tenth each time.
_, _IDLE, _HEAD, _RUNNING, _SKIPPING, _, _, _, _FLUSHING, _LINGERING, _CLOSED = State


class Connection:
    """One client's connection. `client` and `server` are addresses as ASGI has them."""

    __slots__ = (
        "service", "channel", "codec", "state", "deadline", "exchange", "answered", "client", "server", "scheme",
        "has_ended", "untaken", "__weakref__",
    )  # fmt: skip

    is_secure = False
    """What travels on it is encrypted."""
    begins_as = _IDLE
    """Its first state."""

    def __init__(self, service: Service, sock: socket.SocketType, client: Address | None, server: tuple[str, int | None]) -> None:
        self.service = service
        self.channel = self.make_channel(sock)
        self.codec = Http1Codec(service.limits)
        self.state = self.begins_as
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
        self.untaken: tuple[Exchange, ...] = ()
        """Those whose answers are complete, but the client has not taken all of them: how they end is open."""

    def make_channel(self, sock: socket.SocketType) -> Channel:
        """What its octets travel on."""
        service = self.service
        return Channel(sock, service.loop, self._on_readable, self._on_drained, service.settings.timeout_write)

    def __str__(self) -> str:
        return f"{self.client[0]}:{self.client[1]}" if self.client is not None else "a local client"

    def _on_readable(self) -> None:
        """The loop says that there is something to read."""
        raise NotImplementedError

    def _on_drained(self) -> None:
        """The client took what was queued, or most of it, or is gone."""
        raise NotImplementedError

    def turn_away(self, error: ProtocolError) -> None:
        """Instead of opening: answer at once that there is no room, whatever the client wants."""
        self.service.add(self)
        self.refuse(error)

    def refuse(self, error: ProtocolError) -> None:
        """The peer broke a rule or a limit: say so if an answer is still possible, log it, and close."""
        exchange = self.exchange
        self.service.refusals.note(str(self), error, self.service.now())
        if self.codec.is_response_begun:
            # A response that is not whole must not look so; one that is whole is not lost.
            if exchange is None:
                self.finish()
            else:
                self.cut("refused")
            return
        if exchange is not None:
            self.exchange = None
            exchange.status = error.status
            self._lose(exchange, "refused")
        self.channel.write([self.codec.encode_refusal(error.status, error.reason, self.service.defaults)], True)
        self.finish()

    def finish(self) -> None:
        """The last answer was given: let the client take it, then close."""
        channel = self.channel
        if channel.queued:
            channel.release()
        if channel.is_broken:
            self.close()
        elif channel.queued or not channel.say_goodbye():
            self.state = _FLUSHING
            self.deadline = NEVER
        elif self.has_ended or (self.codec.is_quiet and not self.is_secure):
            # Over TLS the client has its close_notify to say yet (RFC 8446 6.1), and a closed socket would answer it with RST.
            # The last octets wait for the end: a close alone would throw them away if something unread had come meanwhile.
            channel.finish()
            self.close()
        else:
            channel.finish()
            self.state = _LINGERING
            self.deadline = self.service.now() + LINGER_TIMEOUT
            channel.start_reading()

    def cut(self, ending: str) -> None:
        """A response cannot be completed: end so that the client cannot take it for whole."""
        self.channel.release()
        self.channel.end_by_reset()
        self.close(ending)

    def close(self, ending: str = "client gone") -> None:
        """Let go of everything; a running exchange ends so. Safe to call again."""
        if self.state is _CLOSED:
            return
        # What is held are answers that are complete.
        self.channel.release()
        exchange, self.exchange = self.exchange, None
        queued = self.channel.queued
        if self.untaken:
            self.untaken[-1].sent -= min(queued, self.untaken[-1].sent)
            self.settle(ending)
        if exchange is not None:
            exchange.sent -= min(queued, exchange.sent)
            # A WebSocket was noted when it was accepted.
            if exchange.status == SWITCHED:
                exchange.lose()
            else:
                if not self.codec.is_response_begun:
                    exchange.status = NO_ANSWER
                self._lose(exchange, ending)
        self.state = _CLOSED
        self.deadline = NEVER
        self.channel.close()
        self.service.discard(self)

    def note_end(self, exchange: Exchange) -> None:
        """A response is complete. It has ended well when the client has taken it."""
        if self.channel.queued and not self.channel.held:
            if len(self.untaken) == MOST_UNTAKEN:
                self.settle("ok", MOST_UNTAKEN // 2)
            self.untaken += (exchange,)
        elif self.service.on_answered is not None:
            self.service.on_answered(exchange)

    def settle(self, ending: str, later: int = 0) -> None:
        """It is known how those ended whose answers were on their way, but for so many of the later ones."""
        count = len(self.untaken) - later
        exchanges, self.untaken = self.untaken[:count], self.untaken[count:]
        for exchange in exchanges:
            exchange.ending = ending
            if self.service.on_answered is not None:
                self.service.on_answered(exchange)

    def _lose(self, exchange: Exchange, ending: str) -> None:
        """A running exchange ends without its answer's end."""
        exchange.lose()
        exchange.ending = ending
        if self.service.on_answered is not None:
            self.service.on_answered(exchange)

    def expire(self, now: float) -> None:
        """A limit has passed: 408 where the client can still be told (RFC 9110 15.5.9), else the end."""
        if self.channel.stalls_at <= now:
            _log.debug("Cut %s: it took nothing of its answer for %g s", self, self.service.settings.timeout_write)
            self.cut("write stall")
        elif self.state is _HEAD:
            self.refuse(ProtocolError(408, "the request's head took too long", _CLAUSE_408))
        elif self.state is _RUNNING and self.exchange is not None:
            self.refuse(self.exchange.overdue)
        elif self.state is _IDLE and self.channel.queued:
            # It still takes its last answer: no silence of its own.
            self.deadline = now + self.service.keep_alive
        elif self.state is _SKIPPING:
            self.finish()
        else:
            _log.debug("Closed %s: %s for too long", self, self.state.value)
            self.close()

    def drain(self) -> None:
        """The server stops: end as soon as what was begun is finished. A connection never answered is owed one."""
        kept = self.service.keeps_idle
        # A client that was told otherwise brings its next request here, where there is a successor.
        self.codec.wants_close |= kept is None or self.exchange is None or not self.codec.is_response_begun
        if self.state is _IDLE and self.answered:
            # A request that has come already is answered; a client that sends one later sees the end and tries again.
            self._on_readable()
        if self.exchange is not None:
            self.exchange.tell_to_leave()
        elif self.state is _IDLE and not self.answered:
            self.deadline = min(self.deadline, self.service.now() + max(DRAIN_FIRST_BYTE, kept or 0.0))
        elif self.state is _IDLE and self.codec.buffer.size:
            # A request that waits here is taken in the next turn, or when there is room for its answer.
            pass
        elif self.state is _IDLE and kept is not None:
            # Closed under its next request, the client would take that for a failure.
            self.deadline += min(0.0, kept - self.service.settings.timeout_keep_alive)
        elif self.state is _SKIPPING or (self.state is _IDLE and self.channel.queued):
            self.finish()
        elif self.state is _IDLE:
            self.close()
