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

_PATIENCE = 1.0
"""Seconds that the other side may take to make room. Its buffer holds thousands of words, so it mostly takes none."""


class Control:
    """One end of the line. `fileno` is for the event loop; the socket is closed with the line."""

    def __init__(self, sock: socket.socket) -> None:
        self.fileno, self.close = sock.fileno, sock.close
        self._socket = sock
        self._heard = b""
        sock.setblocking(False)

    def say(self, word: str, **more: Any) -> None:
        """Send a message. One that cannot arrive is lost without a word: the end of the other side is heard, not said."""
        self._socket.settimeout(_PATIENCE)
        with suppress(OSError):
            self._socket.sendall(json.dumps({"word": word, **more}).encode() + b"\n")
        self._socket.setblocking(False)

    def hear(self) -> list[dict[str, Any]] | None:
        """All that has come, called when the socket is readable; None when the other side is gone or talks nonsense."""
        has_ended = False
        try:
            while len(self._heard) <= LONGEST and not has_ended:
                octets = self._socket.recv(65536)
                self._heard += octets
                has_ended = not octets
        except BlockingIOError:
            pass
        except OSError:
            # Windows may say so where others have an end of file.
            has_ended = True
        *lines, self._heard = self._heard.split(b"\n")
        if len(self._heard) > LONGEST or (has_ended and not lines):
            return None
        try:
            messages = [json.loads(line) for line in lines]
        except ValueError:
            return None
        return messages if all(isinstance(each, dict) and "word" in each for each in messages) else None
