"""The outbox: answers that are ready at once leave together, at the end of the turn of the loop.

A client that is woken for each answer of a busy turn sleeps in between, and both kernels work for it: a tenth of what a
small request costs. So connections that were answered without waiting are noted here, with their channels corked, and
sent when the turn is over; answers to pipelined requests share a packet then. Nobody waits long: an answer that took
its time is sent at once, and so is what was ready before it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .http import HttpConnection
    from .service import Service

QUICK = 0.001
"""Seconds in which an answer has to be ready for it to wait for others."""

FEW = 16
"""With fewer open connections than this a turn seldom brings several requests, and gathering costs what it saves."""


class Outbox:
    """Those of a service's connections that have an answer to send."""

    __slots__ = ("_service", "_waiting")

    def __init__(self, service: "Service") -> None:
        self._service = service
        self._waiting: list["HttpConnection"] = []

    def await_others(self, connection: "HttpConnection", duration: float) -> None:
        """An answer is ready after `duration` seconds: if that is quick, let it leave with others that are to come."""
        if duration >= QUICK:
            if self._waiting:
                self.send()
        elif len(self._service.connections) >= FEW or connection.codec.buffer.size:
            connection.channel.cork()
            if not self._waiting:
                self._service.loop.call_soon(self.send, context=self._service.context)
            self._waiting.append(connection)

    def send(self) -> None:
        """Send all that waits."""
        waiting, self._waiting = self._waiting, []
        for connection in waiting:
            channel = connection.channel
            channel.uncork()
            if channel.is_broken or connection.exchange is not None:
                connection.note_sent()
