"""Telling that requests are taken: a line for each address, for people, and a file for programs that wait.

The file is JSON, `{"addresses": ["http://127.0.0.1:8000"], "pid": 1234}`, and appears whole. It goes with the server that
made it; one that a killed server left behind goes at the start, lest it be taken for ours. One whose process lives stays
until ours takes its place (on Windows, where nobody is asked whether a process lives, it goes at the start, too).
"""

import json
import logging
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress

from .listener import ListenError, url_of
from .settings import Settings

_log = logging.getLogger("penstock.error")


class Announcement:
    """Made before anything is started: ListenError when the file could not be written later. """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._path = path = settings.ready_file
        if path is not None:
            try:
                # From now on whole, for the application may go to another folder.
                self._path = os.path.abspath(path)
                # Beside it, because only within a file system does renaming put it there whole.
                self._draft = f"{self._path}.{os.getpid()}"
                if _maker_of(self._path) in (None, os.getpid()) or sys.platform == "win32":
                    with suppress(FileNotFoundError):
                        os.unlink(path)
                self._write("")
            except OSError as error:
                raise ListenError(f"Cannot write {path}: {error.strerror or error}. Choose another with --ready-file.") from None

    def make(self, sockets: Sequence[socket.socket]) -> None:
        """Requests are taken on these."""
        addresses = [url_of(sock, self._settings) for sock in sockets]
        if self._path is not None:
            try:
                self._write(json.dumps({"addresses": addresses, "pid": os.getpid()}) + "\n")
                os.replace(self._draft, self._path)
            except OSError as error:
                _log.error("Cannot write %s: %s", self._path, error.strerror or error)
        for address in addresses:
            where = f"unix socket {address[5:]}" if address.startswith("unix:") else address
            _log.info("penstock running on %s (Press CTRL+C to quit)", where)

    def close(self) -> None:
        """Nothing is served any more."""
        for path in (self._path, self._draft) if self._path is not None else ():
            with suppress(OSError):
                if path == self._draft or _maker_of(path) == os.getpid():
                    os.unlink(path)

    def _write(self, text: str) -> None:
        with open(self._draft, "w", encoding="utf-8") as file:
            file.write(text)


def _maker_of(path: str) -> int | None:
    """The process of which the file tells; None for one that is no more, or when there is no such file."""
    with suppress(OSError, ValueError, LookupError, TypeError, OverflowError), open(path, encoding="utf-8") as file:
        maker = int(json.load(file)["pid"])
        if sys.platform != "win32":
            os.kill(maker, 0)
        return maker
    return None
