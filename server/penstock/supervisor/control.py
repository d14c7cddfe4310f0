"""The control line between the supervisor and a worker: JSON objects, one a line, both ways, on a socket.

A socket, because everything else differs between platforms: it stands in the selector beside the clients' sockets, and
its end says that the other side is gone, however it went.
"""

import json
import socket
from contextlib import suppress
from typing import Any

LONGEST = 4 * 1024 * 1024
"""Octets without an end of line after which the line counts as broken."""

MOST_AT_ONCE = 256 * 1024
"""Octets that are heard in one turn of the loop: a flood does not keep it from its other work."""

_PATIENCE = 1.0
"""Seconds that the other side may take to make room. Its buffer holds thousands of words, so it mostly takes none."""


class Control:
    """One end of the line. `fileno` is for the event loop; the socket is closed with the line."""

    def __init__(self, sock: socket.socket) -> None:
        self.fileno, self.close = sock.fileno, sock.close
        self.fault = ""
        """What is wrong with what was heard; empty when the other side is only gone."""
        self._socket = sock
        self._heard = b""
        self._unsent = b""
        sock.setblocking(False)

    def say(self, word: str, **more: Any) -> None:
        """Send a message. One that cannot arrive is lost without a word: the end of the other side is heard, not said."""
        self._unsent += json.dumps({"word": word, **more}).encode() + b"\n"
        # A line that is closed has no timeout either.
        with suppress(OSError):
            self._socket.settimeout(_PATIENCE)
            self._send()
            self._socket.setblocking(False)

    def mention(self, word: str, **more: Any) -> None:
        """Send a message of which the next one says the same anew: waits for nobody, and is left out when there is no room."""
        if not self._unsent:
            self._unsent = json.dumps({"word": word, **more}).encode() + b"\n"
        self._send()

    def hear(self) -> list[dict[str, Any]] | None:
        """What has come, called when the socket is readable; None when the other side is gone or talks nonsense."""
        has_ended, room = False, MOST_AT_ONCE
        try:
            while room > 0 and not has_ended:
                octets = self._socket.recv(65536)
                self._heard += octets
                room -= len(octets)
                has_ended = not octets
        except BlockingIOError:
            pass
        except OSError:
            # Windows may say so where others have an end of file.
            has_ended = True
        *lines, self._heard = self._heard.split(b"\n")
        if len(self._heard) > LONGEST:
            self.fault = "it says more than anybody wants to hear"
        if self.fault or (has_ended and not lines):
            return None
        try:
            messages = [json.loads(line) for line in lines]
        except (ValueError, RecursionError):
            messages = [None]
        if all(isinstance(each, dict) and "word" in each for each in messages):
            return messages
        self.fault = "it talks nonsense"
        return None

    def _send(self) -> None:
        with suppress(OSError):
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
