"""The log of refused requests: one line for each, and never more than a disk can bear.

A line names the peer, the rule with its source, the place and the octets (escaped), and what they look like when that
is no HTTP at all. Anyone can send nonsense as fast as the network carries it, so beyond a few lines a second the rest
is only counted.
"""

import logging

from ..codec.errors import ProtocolError

MOST = 10
"""Lines in a second."""

_log = logging.getLogger("penstock.error")


class Refusals:
    """Notes refused requests, at most MOST lines a second, then one that counts the others."""

    def __init__(self) -> None:
        self._second = 0
        self._count = 0

    def note(self, peer: str, error: ProtocolError, now: float) -> None:
        """A request of `peer` was refused."""
        self.settle(now)
        self._count += 1
        if self._count <= MOST:
            _log.info("Refused %s: %s", peer, error)

    def settle(self, now: float) -> None:
        """Say how many were left out, when their second is over."""
        if int(now) != self._second:
            self.flush()
            self._second = int(now)

    def flush(self) -> None:
        """Say it at once."""
        if self._count > MOST:
            _log.info("Refused %d more requests in that second", self._count - MOST)
        self._count = 0
