"""A WebSocket connection: frames on the channel of an HTTP connection that was upgraded.

Readiness drives it, as it did before: what comes is read, and messages wait for the app in a queue with two limits, of
messages and of octets, above which nothing is read from the socket. Pings are answered here, whatever the app does. A
client is given up when it is silent after our ping for too long; while we do not read, or it has not taken what we
sent before, its time does not count. No task, and no timer but the deadline every connection has.

Closing (RFC 6455 7): whoever begins says Close, the other one answers it, then we end the connection first: FIN, a
moment for what still comes, the end. What came before a Close, or before a fault, may still be answered by the app.
"""

import logging
import random
from typing import TYPE_CHECKING

from ..codec.deflate import Deflate
from ..codec.errors import ProtocolError
from ..codec.events import Close, Ping, Pong
from ..codec.states import WebSocketState
from ..codec.websocket import WebSocketCodec
from .channel import NEVER
from .life import Connection
from .session import Session
from .states import State

if TYPE_CHECKING:
    from .http import HttpConnection

CLOSE_TIMEOUT = 10.0
"""Seconds to wait for the client's Close after ours."""

ANSWER_TIMEOUT = 1.0
"""Seconds the app has, when the client has said Close, to take and answer the messages that came before it."""

READ_SIZE = 122880
"""One `recv`: a message of 64 KiB comes whole with its head. From 128 KiB on memory would come by mmap."""

MOST_FRAMES = 256
"""Frames of one client that are looked at in one turn of the loop."""

_log = logging.getLogger("penstock.error")

_OPEN, _ENDING, _CLOSING, _FLUSHING = State.OPEN, State.ENDING, State.CLOSING, State.FLUSHING


class WebSocketConnection(Connection):
    """One client's WebSocket. It takes over what an HTTP connection had."""

    __slots__ = ("frames", "session", "_close", "_pong", "_awaits_pong", "_is_heard")

    def __init__(self, former: "HttpConnection", session: Session, deflate: Deflate | None) -> None:
        # Everything a Connection has; nothing is made anew.
        self.service = service = former.service
        self.channel = former.channel
        self.codec = former.codec
        self.client, self.server, self.scheme = former.client, former.server, former.scheme
        self.answered = former.answered + 1
        self.untaken = former.untaken
        self.state = _OPEN
        self.deadline = NEVER
        self.has_ended = False
        self.exchange = self.session = session
        self.frames = WebSocketCodec(service.settings.ws_max_size, deflate)
        # How it is to end when the app has taken the messages that came before.
        self._close: Close | None = None
        # The payload of a ping that could not be answered yet.
        self._pong: bytes | None = None
        self._awaits_pong = False
        self._is_heard = False
        service.replace(former, self)
        self.channel.hand_over(self._on_readable, self._on_drained)
        session.web = self

    def open(self, response: bytes, octets: bytes) -> None:
        """Begin: answer the handshake, and read what came behind it."""
        self.channel.write([response])
        if self.channel.is_broken:
            self.close()
            return
        self._await_ping()
        if octets:
            self.frames.feed(octets)
        self._take_frames()
        if self.service.is_draining:
            self.drain()

    # ── what the loop says ──

    def _on_readable(self) -> None:
        octets = self.channel.read(READ_SIZE)
        if octets:
            # After the last frame what comes is discarded.
            if self.state is _OPEN or self.state is _CLOSING:
                self._is_heard = True
                self.frames.feed(octets)
                self._take_frames()
        elif octets is not None:
            self._on_end()

    def _on_end(self) -> None:
        """The client will send no more. Without a Close before it that is 1006, whatever it is (RFC 6455 7.1.5)."""
        self.has_ended = True
        self.channel.stop_reading()
        if self.channel.is_broken or self.state is not _FLUSHING:
            self.close()

    def _on_drained(self) -> None:
        """The client took what was queued, or most of it, or is gone."""
        if self.untaken and not self.channel.queued and not self.channel.is_broken:
            # What was answered before the handshake.
            self.settle("ok")
        if self.channel.is_broken:
            self.close()
        elif self.state is _FLUSHING:
            self.finish()
        else:
            self.channel.trust()
            if self._pong is not None:
                self._answer_pings([self._pong])
            self.session.wake()

    # ── frames ──

    def _take_frames(self) -> None:
        """Hand on what has come, until the app has enough."""
        session, frames = self.session, self.frames
        pings: list[bytes] = []
        close: Close | None = None
        try:
            # Not for ever: a client that sends small frames without end must leave the others their turn.
            for _ in range(MOST_FRAMES):
                event = frames.next_event() if frames.octets and not session.is_sated else None
                if event is None:
                    break
                kind = type(event)
                if kind is str or kind is bytes:
                    # After our Close messages are read only to find the client's (RFC 6455 7.1.1).
                    if self.state is _OPEN:
                        session.feed_message(event)  # type: ignore[arg-type]  # the checker does not follow `kind`
                elif kind is Ping:
                    pings.append(event.payload)  # type: ignore[union-attr]
                elif kind is Pong:
                    self._await_ping()
                else:
                    close = event  # type: ignore[assignment]
            else:
                frames.is_behind = bool(frames.octets)
        except ProtocolError as error:
            self.service.refusals.note(str(self), error, self.service.now())
            close = Close(error.status, error.reason)
        if pings:
            self._answer_pings(pings)
        if close is not None:
            self._end(close)
        if session.is_sated or frames.is_behind or not self.channel.is_reading:
            self._choose_reading()

    def _choose_reading(self) -> None:
        """Read on, or leave what comes in the kernel while enough waits for the app."""
        channel = self.channel
        if self.state is not _OPEN and self.state is not _CLOSING:
            return
        if self.session.is_sated:
            channel.stop_reading()
        elif self.frames.is_behind:
            channel.stop_reading()
            self.resume_soon()
        elif not channel.is_reading and not self.has_ended:
            channel.start_reading()
            if self.state is _OPEN and self._awaits_pong and self.service.settings.ws_ping_timeout is not None:
                # Its answer may have waited here.
                self.deadline = self.service.now() + self.service.settings.ws_ping_timeout

    def _answer_pings(self, pings: list[bytes]) -> None:
        """RFC 6455 5.5.2 and 5.5.3: each ping gets its pong; of those a client does not take only the newest is kept."""
        if self.state is not _OPEN:
            return
        if self.channel.is_full:
            self._pong = pings[-1]
        else:
            self._pong = None
            self.channel.write([b"".join(map(self.frames.encode_pong, pings))])
            if self.channel.is_broken:
                self.close()

    def resume_soon(self) -> None:
        """The app has taken some: go on, but let the others have their turn."""
        self.service.loop.call_soon(self._resume)

    def _resume(self) -> None:
        if self.state is _OPEN or self.state is _CLOSING:
            self._take_frames()

    # ── the end ──

    def _end(self, close: Close) -> None:
        """It is to end so: the client said Close, broke a rule, or is told to go. First the app takes what came before."""
        if self.state is _CLOSING:
            self.finish()
        elif self.session.is_taken:
            self._answer_close(close)
        else:
            self.state = _ENDING
            self._close = close
            self.session.is_ending = True
            self.deadline = self.service.now() + ANSWER_TIMEOUT
            self.channel.stop_reading()

    def end_at_last(self) -> None:
        """The app has taken and, so far as it wanted, answered the last message there was."""
        if self.state is _ENDING and self._close is not None:
            self._answer_close(self._close)

    def say_close(self, close: Close) -> None:
        """The app ends it: our Close, unless the client's waits for its answer. ValueError for a code that cannot be sent."""
        self._answer_close(self._close or close)

    def _answer_close(self, close: Close) -> None:
        """Our Close, and what follows it: the end, or waiting for the client's (RFC 6455 7.1.1 and 7.1.2)."""
        # RFC 6455 5.5.1: to the client's Close its own code is the answer.
        self.channel.write([self.frames.encode_close(close.code, close.reason)])
        self._close = None
        self.session.leave(close)
        if self.frames.state is WebSocketState.CLOSED or self.channel.is_broken:
            self.finish()
            return
        self.state = _CLOSING
        self.deadline = self.service.now() + CLOSE_TIMEOUT
        self.session.is_sated = False
        self.resume_soon()

    # ── time ──

    def _await_ping(self) -> None:
        """All is well: the next ping is due in an interval."""
        interval = self.service.settings.ws_ping_interval
        self._awaits_pong = False
        if self.state is _OPEN:
            self.deadline = NEVER if interval is None else self.service.now() + interval

    def expire(self, now: float) -> None:
        if self.channel.stalls_at <= now:
            _log.debug("Cut %s: it took nothing for %g s", self, self.service.settings.timeout_write)
            self.close()
        elif self.state is _OPEN:
            self._keep_alive(now)
        elif self.state is _ENDING:
            self.end_at_last()
        elif self.state is _CLOSING:
            _log.debug("Closed %s: it did not answer our Close for %g s", self, CLOSE_TIMEOUT)
            self.finish()
        else:
            self.close()

    def _keep_alive(self, now: float) -> None:
        """Ask the client whether it is there, or give it up when it was asked and has said nothing since."""
        settings, channel = self.service.settings, self.channel
        patience = settings.ws_ping_timeout
        if self._awaits_pong and patience is not None and not self._is_heard:
            if channel.is_reading and not channel.queued:
                reason = f"no answer to a ping within {patience:g} s"
                _log.info("Closing the WebSocket of %s: %s", self, reason)
                self._answer_close(Close(1011, reason))
                return
        elif not channel.is_full:
            channel.write([self.frames.encode_ping(b"")])
            self._awaits_pong = True
            self._is_heard = False
        self.deadline = now + ((settings.ws_ping_interval or 0.0) if patience is None else patience)

    def drain(self) -> None:
        """The server stops: tell the client, at a moment of its own (RFC 6455 7.4.1, and IANA's registry for 1012)."""
        self.service.loop.call_later(random.uniform(0, self.service.farewells), self._say_farewell)

    def _say_farewell(self) -> None:
        if self.state is _OPEN:
            self._end(Close(1012, "the server stops" if self.service.keeps_idle is None else "the server restarts"))
