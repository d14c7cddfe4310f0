"""Signals between processes, where the system has none: with this folder on PYTHONPATH each Python process takes them.

At its start it listens at a port of the loopback and writes that into a file named by its process id, in the folder
$SIGNALS_OF_TESTS. `support/processes.py` sends a number there, and the process raises that signal in itself, by the
way the interpreter takes for Ctrl+C. A real Ctrl+C is typed in tests/windows.
"""

import _thread
import os
import signal
import socket
import threading


def _listen(folder: str) -> None:
    door = socket.create_server(("127.0.0.1", 0))
    door.set_inheritable(False)
    with open(os.path.join(folder, str(os.getpid())), "w", encoding="ascii") as file:
        file.write(f"{door.getsockname()[1]}\n")
    threading.Thread(target=_serve, args=(door,), daemon=True).start()


def _serve(door: socket.socket) -> None:
    while True:
        caller, _ = door.accept()
        with caller:
            number = signal.Signals(int(caller.recv(10)))
            if signal.getsignal(number) is signal.SIG_DFL:
                os._exit(100 + number)
            _thread.interrupt_main(number)


if __name__ == "sitecustomize" and "SIGNALS_OF_TESTS" in os.environ:
    _listen(os.environ["SIGNALS_OF_TESTS"])
