"""Clients that behave badly, thousands of them in one process: they drip heads, drip bodies, or stop reading.

    python -m support.offenders '{"port": 8000, "heads": 5000, "bodies": 2000, "readers": 500, "seconds": 60}'

They all connect at once. What the server says they do not heed: a client that is told to go drips on until its
connection is cut off. Twice a second a line of JSON says how many of each kind are connected, have been told to go
and are gone, and how long the last of them lasted. Linux only: epoll.
"""

import json
import select
import socket
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

DRIP_INTERVAL = 1.0
"""Seconds between two octets of one client."""

REPORT_INTERVAL = 0.5

_TICK = 0.02
_RECEIVE_BUFFER = 65536

HEAD, BODY, READER = "heads", "bodies", "readers"
KINDS = (HEAD, BODY, READER)

# What each says at once, and what it goes on dripping.
_OPENINGS = {
    HEAD: b"GET / HTTP/1.1\r\nHost: soak\r\nX-Slow: ",
    BODY: b"POST /upload HTTP/1.1\r\nHost: soak\r\nContent-Length: 100000000\r\n\r\n",
    READER: b"GET /stream HTTP/1.1\r\nHost: soak\r\n\r\n",
}

Report = dict[str, dict[str, float]]
"""By kind: the fields of `Tally`."""


@dataclass(slots=True)
class Tally:
    """What became of one kind."""

    waiting: int = 0
    """Not connected yet: the server's backlog is full."""
    connected: int = 0
    """As long as the server does not say or do anything about it."""
    told: int = 0
    """The server has ended its half of the connection."""
    gone: int = 0
    """Nothing is left of the connection."""
    lasted: float = 0.0
    """Seconds from connecting to being told or cut: the longest."""
    ended_at: float = 0.0
    """When the last one was gone, by the monotonic clock."""


class Offender:
    """One client."""

    __slots__ = ("kind", "socket", "connected_at", "is_told")

    def __init__(self, kind: str, port: int) -> None:
        self.kind = kind
        self.socket = socket.socket()
        self.socket.setblocking(False)
        # The kernel must not swallow megabytes on behalf of a client that never reads.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self.socket.connect_ex(("127.0.0.1", port))
        self.connected_at = 0.0
        self.is_told = False


class Crowd:
    """All of them, and what became of them."""

    def __init__(self, port: int, numbers: dict[str, int]) -> None:
        self.tallies = {kind: Tally(waiting=numbers[kind]) for kind in KINDS}
        self._epoll = select.epoll()
        self._all: dict[int, Offender] = {}
        self._dripping: list[Offender] = []
        # Mixed, as a crowd is.
        for _, kind in sorted((place / numbers[kind], kind) for kind in KINDS for place in range(numbers[kind])):
            offender = Offender(kind, port)
            self._all[offender.socket.fileno()] = offender
            self._epoll.register(offender.socket, select.EPOLLOUT)
        self._turn = 0

    @property
    def is_over(self) -> bool:
        """Nobody is left."""
        return not self._all

    def watch(self, seconds: float) -> None:
        """Note what happens to whom."""
        for fd, mask in self._epoll.poll(seconds):
            offender = self._all[fd]
            if mask & (select.EPOLLERR | select.EPOLLHUP):
                self._lose(offender)
            elif mask & select.EPOLLOUT:
                self._begin(offender)
            elif mask & select.EPOLLRDHUP:
                self._notice_end(offender)

    def drip(self) -> None:
        """Some of those who drip send an octet: each gets its turn once in an interval."""
        slots = round(DRIP_INTERVAL / _TICK)
        self._turn = (self._turn + 1) % slots
        for offender in self._dripping[self._turn :: slots]:
            try:
                offender.socket.send(b"x")
            except BlockingIOError:
                pass
            except OSError:
                self._lose(offender)
        if not self._turn:
            self._dripping = [each for each in self._dripping if each.socket.fileno() >= 0]

    def close(self) -> None:
        """Let go of all."""
        for offender in self._all.values():
            offender.socket.close()
        self._all.clear()
        self._epoll.close()

    def _begin(self, offender: Offender) -> None:
        offender.connected_at = time.monotonic()
        tally = self.tallies[offender.kind]
        tally.waiting -= 1
        tally.connected += 1
        self._epoll.modify(offender.socket, select.EPOLLRDHUP)
        try:
            offender.socket.send(_OPENINGS[offender.kind])
        except OSError:
            self._lose(offender)
            return
        if offender.kind != READER:
            self._dripping.append(offender)

    def _notice_end(self, offender: Offender) -> None:
        offender.is_told = True
        tally = self.tallies[offender.kind]
        tally.connected -= 1
        tally.told += 1
        tally.lasted = max(tally.lasted, time.monotonic() - offender.connected_at)
        # Level-triggered: it would be reported for ever. Errors are reported all the same.
        self._epoll.modify(offender.socket, 0)

    def _lose(self, offender: Offender) -> None:
        fd = offender.socket.fileno()
        if fd < 0:
            return
        now = time.monotonic()
        tally = self.tallies[offender.kind]
        if offender.is_told:
            tally.told -= 1
        elif offender.connected_at:
            tally.connected -= 1
            tally.lasted = max(tally.lasted, now - offender.connected_at)
        else:
            tally.waiting -= 1
        tally.gone += 1
        tally.ended_at = now
        self._epoll.unregister(offender.socket)
        offender.socket.close()
        del self._all[fd]


def main() -> int:
    """Offend until nobody is left or the time is over."""
    wanted: dict[str, Any] = json.loads(sys.argv[1])
    crowd = Crowd(wanted["port"], wanted)
    now = time.monotonic()
    end, next_drip, next_report = now + wanted["seconds"], now, now
    try:
        while not crowd.is_over and now < end:
            crowd.watch(max(0.0, min(next_drip, next_report) - now))
            now = time.monotonic()
            if now >= next_drip:
                next_drip = max(next_drip + _TICK, now)
                crowd.drip()
            if now >= next_report:
                next_report = now + REPORT_INTERVAL
                _report(crowd)
        _report(crowd)
    except (KeyboardInterrupt, BrokenPipeError):
        return 130
    finally:
        crowd.close()
    return 0


def _report(crowd: Crowd) -> None:
    print(json.dumps({kind: asdict(tally) for kind, tally in crowd.tallies.items()}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
