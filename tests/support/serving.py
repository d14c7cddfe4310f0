"""A real server as a child process, from this checkout: `penstock.testing` has it for everybody.

    with serving("apps:app", cwd=HERE) as server:
        ... speak to server.host, server.port ...
        assert server.stop() == 0
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import cast

from penstock.testing.server import BANNER as BANNER
from penstock.testing.server import PATIENCE as PATIENCE
from penstock.testing.server import Process, serve_in_process
from penstock.testing.server import ProcessError as ServingError
from penstock.testing.server import command as command

from . import processes

__all__ = ["BANNER", "CHECKOUT", "PATIENCE", "Server", "ServingError", "command", "environment", "run_to_end", "serving"]

CHECKOUT = Path(__file__).parent.parent.parent

_SLOWER = 4 if sys.platform == "win32" else 1


class Server(Process):
    """The same, with signals and patience for every system."""

    def wait_end(self, patience: float = PATIENCE) -> int:
        return super().wait_end(min(PATIENCE, patience * _SLOWER))

    def stop(self, number: int = signal.SIGTERM, patience: float = PATIENCE) -> int:
        return super().stop(number, patience)

    def signal(self, number: int) -> None:
        """Send it a signal that both systems know."""
        processes.send(self.pid, number)


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


def serving(
    *arguments: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    patience: float = PATIENCE,
) -> AbstractContextManager[Server]:
    """Start a server on a free port of 127.0.0.1 unless the arguments say otherwise, and wait for its banner."""
    started = serve_in_process(*arguments, cwd=cwd, env=environment(env), options=options, patience=patience, kind=Server)
    return cast(AbstractContextManager[Server], started)
