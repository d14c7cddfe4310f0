"""WinError 87: two processes, one listening socket, and what becomes of it on two kinds of event loop.

    python winerror87.py

First asyncio's default loop on Windows, the proactor loop. It binds a listening socket to its completion port, and a
socket can be bound to one port for as long as it lives, in whatever process: the second process cannot accept, though
the first one is gone. Then penstock's loop, which asks `select()` and binds nothing: both processes accept. Other systems
have no proactor loop; there the example says what it would show, and shows ours. The story is in docs/windows.md.
"""

import asyncio
import base64
import os
import socket
import subprocess
import sys
from typing import Any

from penstock_reactor import new_event_loop

IS_WINDOWS = sys.platform == "win32"


def main() -> None:
    if not IS_WINDOWS:
        print("proactor loop")
        print(f"  not on {sys.platform}; on Windows the second process gets OSError: [WinError 87]")
    for kind in ("proactor", "penstock") if IS_WINDOWS else ("penstock",):
        print(f"{kind} loop")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            for number in (1, 2):
                print(f"  process {number}:", accept_in_a_process(listener, kind))


def accept_in_a_process(listener: Any, kind: str) -> str:
    """What a new process says that takes a connection from the listener and ends."""
    inherited = [] if IS_WINDOWS else [listener.fileno()]
    with socket.create_connection(listener.getsockname()):
        child = subprocess.Popen(
            [sys.executable, __file__, kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=inherited
        )  # fmt: skip
        assert child.stdin is not None and child.stdout is not None
        # The child speaks first: in a virtual environment child.pid is a launcher's, not the interpreter's.
        pid = int(child.stdout.readline())
        token = base64.b64encode(listener.share(pid)).decode() if IS_WINDOWS else str(listener.fileno())
        said, _ = child.communicate(token + "\n", timeout=60)
        return said.strip()


def accept_one(kind: str) -> None:
    """The child: accept one connection from the socket that is given to us."""
    print(os.getpid(), flush=True)
    token = sys.stdin.readline()
    windows: Any = (socket, asyncio)  # names that type checkers know on Windows only
    listener = windows[0].fromshare(base64.b64decode(token)) if IS_WINDOWS else socket.socket(fileno=int(token))
    listener.setblocking(False)
    loop = windows[1].ProactorEventLoop() if kind == "proactor" else new_event_loop()
    try:
        connection, _ = loop.run_until_complete(loop.sock_accept(listener))
        connection.close()
        print("accepted a connection")
    except OSError as error:
        print(f"OSError: {error}")
    finally:
        loop.close()


if __name__ == "__main__":
    accept_one(sys.argv[1]) if sys.argv[1:] else main()
