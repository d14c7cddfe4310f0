"""Ctrl+C, typed at a real console: Wine gives one to a program that runs on a pseudo terminal.

Nothing is read from the terminal, which Wine fills with the orders of its screen: the server's log goes to a file, and
so does what the application says at its end.
"""

import fcntl
import os
import pty
import shutil
import struct
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

from . import wine

PATIENCE = 90.0

APP = """
import asyncio, os

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
        with open("ended", "a") as file:
            file.write(f"{os.getpid()}\\n")
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"data", "more_body": True})
    while scope["path"] == "/deaf":
        await asyncio.sleep(1)
    await send({"type": "http.response.body", "body": b""})
"""

# The log goes to a file, because the terminal is Wine's; the standard streams stay the console's.
START = """
import logging, sys
from penstock import log
from penstock.cli import main

real = log.configure

def configure(settings):
    real(settings)
    logging.getLogger("penstock.error").addHandler(logging.FileHandler("log"))
    logging.getLogger("penstock.error").setLevel("INFO")

log.configure = configure
code = main(["main:app", "--workers", "2", "--port", "0", "--no-access-log"])
open("code", "w").write(str(code))
sys.exit(code)
"""


def try_ctrl_c(program: str, version: str) -> str:
    """What went wrong, or nothing. Once it drains both workers; twice it ends them though one is busy."""
    for presses, code in ((1, "0"), (2, "1")):
        print(f"--- Ctrl+C typed at a console, {presses}x, Python {version} for Windows", flush=True)
        folder = Path(tempfile.mkdtemp(prefix="console"))
        try:
            trouble = _try(program, version, folder, presses, code)
        except TimeoutError as error:
            trouble = str(error)
        if trouble:
            log = (folder / "log").read_text() if (folder / "log").exists() else "no log"
            return f"{presses}x Ctrl+C: {trouble}\n{log}"
        shutil.rmtree(folder)
    return ""


def _try(program: str, version: str, folder: Path, presses: int, code: str) -> str:
    (folder / "main.py").write_text(APP)
    (folder / "start.py").write_text(START)
    terminal = _start([program, str(wine.python(version)), "start.py"], folder)
    try:
        url = _line(folder, "running on ").split()[0]
        if presses == 1:
            with urlopen(url, timeout=PATIENCE) as answer:
                assert answer.read() == b"data"
        else:
            stream = urlopen(url + "/deaf", timeout=PATIENCE)
        os.write(terminal, b"\x03")
        _line(folder, "Shutting down")
        if presses == 2:
            os.write(terminal, b"\x03")
        found = _wait(lambda: _read(folder / "code"), "an exit code")
        if presses == 2:
            stream.close()
        ended = len(_read(folder / "ended").split())
        log = _read(folder / "log")
    finally:
        os.close(terminal)
    if found != code or (presses == 1 and ended != 2):
        return f"exit code {found}, {ended} lifespans ended"
    return f"complained:\n{log}" if "Traceback" in log or "died" in log else ""


def _start(command: list[str], folder: Path) -> int:
    """Start it on a pseudo terminal, which is drained for ever; the terminal's other end."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(command[0], command, wine.environment())
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
    threading.Thread(target=_drain, args=(terminal, pid), daemon=True).start()
    return terminal


def _drain(terminal: int, pid: int) -> None:
    with suppress(OSError):
        while os.read(terminal, 65536):
            pass
    with suppress(OSError):
        os.waitpid(pid, 0)


def _line(folder: Path, words: str) -> str:
    """What follows these words in the log, once it has them."""
    return _wait(lambda: _read(folder / "log").partition(words)[2], f"{words!r} in the log")


def _wait(what: Callable[[], str], name: str) -> str:
    end = time.monotonic() + PATIENCE
    while True:
        found = what()
        if found:
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"{name} did not come within {PATIENCE:.0f} s")
        time.sleep(0.1)


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(try_ctrl_c(wine.prepare(sys.argv[1:2]), sys.argv[1]))
