"""A server in a process of its own, on a free port, as its users start it: for tests of a whole application.

    with serve_in_process("main:app", "--workers", "2") as server:
        ... speak to server.url ...
        assert server.stop() == 0

Every wait is bounded: a server that does not come up, say something or end in time is a ProcessError, with all it has
written attached. Leaving the block always ends the process. What a test can see of an application object is quicker to
have by `penstock.serve_in_thread(app, port=0)`.
"""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO
from urllib.parse import urlsplit

BANNER = r"penstock running on (?P<url>\S+) \(Press CTRL\+C to quit\)"
# A process takes long to start on Windows.
PATIENCE = 60.0 if sys.platform == "win32" else 15.0

# Windows knows no signals between processes, but a key of the console for a group of them.
_END: int = getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM)


class ProcessError(AssertionError):
    """The server did not do what every test expects of it: come up, end."""


def command(*words: str, options: Sequence[str] = ()) -> list[str]:
    """The command line of a server on this interpreter; `options` go to Python itself (`-X dev`)."""
    return [sys.executable, *options, "-m", "penstock", *words]


class Process:
    """A running server. `url` is what it says itself; `host` and `port` are taken from it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.url = ""
        self.host = ""
        self.port = 0
        self._written: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._news = threading.Condition()
        self._open = 2
        for name, pipe in (("stdout", process.stdout), ("stderr", process.stderr)):
            threading.Thread(target=self._read, args=(name, pipe), daemon=True).start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stdout(self) -> str:
        """All it has written there so far: the access log, and what the application prints."""
        with self._news:
            return "".join(self._written["stdout"])

    @property
    def stderr(self) -> str:
        """All it has written there so far: its own log."""
        with self._news:
            return "".join(self._written["stderr"])

    def wait_line(self, pattern: str, patience: float = PATIENCE) -> re.Match[str]:
        """Wait until either stream holds the pattern (a regular expression); ProcessError when it does not come."""
        with self._news:
            self._news.wait_for(lambda: self._found(pattern) or not self._open, patience)
            found = self._found(pattern)
        if found is None:
            # One whose streams have ended is about to end.
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(0 if self._open else 2)
            raise ProcessError(f"{pattern!r} was not written within {patience} s; exit code {self.process.poll()}")
        return found

    def wait_end(self, patience: float = PATIENCE) -> int:
        """Wait until it has ended by itself, and give its exit code."""
        try:
            code = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise ProcessError(f"the server did not end within {patience} s") from None
        with self._news:
            # What it wrote last is still on its way through the pipes; a grandchild may hold them open for longer.
            self._news.wait_for(lambda: not self._open, 2)
        return code

    def stop(self, number: int = _END, patience: float = PATIENCE) -> int:
        """Ask it to end, wait until it has, and give its exit code."""
        if self.process.poll() is None:
            self.signal(number)
        return self.wait_end(patience)

    def signal(self, number: int) -> None:
        """Send it a signal; on Windows only CTRL_BREAK_EVENT asks, the others end it."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it without asking, if it still runs."""
        self.process.kill()
        self.process.wait(PATIENCE)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None and not self._open:
                pipe.close()

    def _found(self, pattern: str) -> re.Match[str] | None:
        for lines in self._written.values():
            found = re.search(pattern, "".join(lines), re.MULTILINE)
            if found:
                return found
        return None

    def _read(self, name: str, pipe: IO[str]) -> None:
        for line in pipe:
            with self._news:
                self._written[name].append(line)
                self._news.notify_all()
        with self._news:
            self._open -= 1
            self._news.notify_all()


@contextmanager
def serve_in_process(
    *words: str, cwd: str | os.PathLike[str] | None = None, env: Mapping[str, str] | None = None,
    options: Sequence[str] = (), patience: float = PATIENCE, kind: type[Process] = Process,
) -> Iterator[Process]:
    """Start a server with this command line, on a free port unless that says otherwise, and wait until it takes requests.

    `env` is the whole environment (that of this process when None), `options` go to Python itself (`-X dev`).
    """
    if not any(word == "--port" or word.startswith("--port=") for word in words):
        words = (*words, "--port", "0")
    process = subprocess.Popen(
        command(*words, options=options), cwd=cwd, env=env, text=True, errors="backslashreplace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )  # fmt: skip
    server = kind(process)
    try:
        server.url = server.wait_line(BANNER, patience)["url"]
        address = urlsplit(server.url)
        server.host, server.port = address.hostname or "", address.port or 0
        yield server
        server.stop()
    except BaseException as error:
        error.add_note(f"the server's stdout:\n{server.stdout}\nthe server's stderr:\n{server.stderr}")
        raise
    finally:
        server.kill()
