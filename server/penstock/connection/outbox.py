"""The outbox: answers that are ready at once leave together, at the end of the turn of the loop.

A client that is woken for each answer of a busy turn sleeps in between, and both kernels work for it: a tenth of what a
small request costs. So small answers that were ready without waiting are held in their channels, which are noted here, and
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

    __slots__ = ("_service", "_open", "_waiting")

    def __init__(self, service: "Service") -> None:
        self._service = service
        self._open = service.connections
        self._waiting: list["HttpConnection"] = []

    def post(self, connection: "HttpConnection", parts: list[bytes], duration: float) -> None:
        """Send the end of an answer that took `duration` seconds; if that is quick, together with others that are to come."""
        channel = connection.channel
        if duration >= QUICK or len(parts) != 1 or not (len(self._open) >= FEW or channel.held or connection.codec.buffer.size):
            if self._waiting and duration >= QUICK:
                self.send()
            channel.write(parts)
            return
        if not self._waiting:
            self._service.loop.call_soon(self.send, context=self._service.context)
        if not channel.held:
            self._waiting.append(connection)
        channel.hold(parts[0])

    def send(self) -> None:
        """Send all that waits."""
        waiting, self._waiting = self._waiting, []
        for connection in waiting:
            channel = connection.channel
            channel.release()
            if channel.is_broken:
                connection.close()
