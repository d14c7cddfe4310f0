"""A real server as a child process: `python -m penstock` on a free port, as its users start it.

    with serving("apps:app", cwd=HERE) as server:
        ... speak to server.host, server.port ...
        assert server.stop() == 0

Every wait is bounded: a server that does not come up, say something or end in time fails the test, with
all it has written attached to the failure. Leaving the block always ends the child.
"""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from . import processes

CHECKOUT = Path(__file__).parent.parent.parent
BANNER = r"penstock running on (?P<url>\S+) \(Press CTRL\+C to quit\)"
# A process takes long to start on Windows, and longer under Wine.
_SLOWER = 4 if sys.platform == "win32" else 1
PATIENCE = 15.0 * _SLOWER


class ServingError(AssertionError):
    """The server did not do what every test expects of it: come up, end."""


def command(*arguments: str, options: Sequence[str] = ()) -> list[str]:
    """The command line of a server on this interpreter; `options` go to Python itself (`-X dev`)."""
    return [sys.executable, *options, "-m", "penstock", *arguments]


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment, with the checkout's packages importable from anywhere."""
    roots = [str(CHECKOUT / "reactor"), str(CHECKOUT / "server")]
    if sys.platform == "win32":
        roots.insert(0, str(processes.SIGNALLED))
    inherited = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path not in roots]
    path = os.pathsep.join(roots + inherited)
    return {**os.environ, **processes.environment(), "PYTHONPATH": path, **(changes or {})}


def run_to_end(
    *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None, patience: float = PATIENCE
) -> subprocess.CompletedProcess[str]:
    """Start a server that is expected to end by itself: a wrong option, an application that fails."""
    return subprocess.run(
        command(*arguments), cwd=cwd, env=environment(env), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=patience, check=False,
    )


class Server:
    """A running server. `url` is what its banner says; `host` and `port` are taken from it."""

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
        """Wait until either stream holds the pattern (a regular expression); ServingError when it does not come."""
        with self._news:
            self._news.wait_for(lambda: self._found(pattern) or not self._open, patience)
            found = self._found(pattern)
        if found is None:
            raise ServingError(f"{pattern!r} was not written within {patience} s; exit code {self.process.poll()}")
        return found

    def wait_end(self, patience: float = PATIENCE) -> int:
        """Wait until it has ended by itself, and give its exit code."""
        patience = min(PATIENCE, patience * _SLOWER)
        try:
            code = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise ServingError(f"the server did not end within {patience} s") from None
        with self._news:
            # What it wrote last is still on its way through the pipes; a grandchild may hold them open for longer.
            self._news.wait_for(lambda: not self._open, 2)
        return code

    def stop(self, number: int = signal.SIGTERM, patience: float = PATIENCE) -> int:
        """Ask it to end, wait until it has, and give its exit code."""
        if self.process.poll() is None:
            self.signal(number)
        return self.wait_end(patience)

    def signal(self, number: int) -> None:
        """Send it a signal that both systems know."""
        processes.send(self.pid, number)

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
def serving(
    *arguments: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    patience: float = PATIENCE,
) -> Iterator[Server]:
    """Start a server on a free port of 127.0.0.1 unless the arguments say otherwise, and wait for its banner."""
    if "--port" not in arguments:
        arguments = (*arguments, "--port", "0")
    process = subprocess.Popen(
        command(*arguments, options=options), cwd=cwd, env=environment(env), text=True, errors="backslashreplace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    server = Server(process)
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
