"""Ctrl+C, typed at a real console: Wine gives one to a program that runs on a pseudo terminal.

Nothing is read from the terminal, which Wine fills with the orders of its screen: the server's log goes to a file, and
so does what the application says at its end.
"""

import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

PATIENCE = 90.0

APP = """
import asyncio, os

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
        # A file of its own: on Windows two that append to one may write over each other.
        open(f"ended-{os.getpid()}", "w").close()
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


class Started(NamedTuple):
    process: subprocess.Popen[bytes]
    terminal: int | None


def start(command: list[str], folder: Path, environment: dict[str, str], *, on_terminal: bool) -> Started:
    """Start it there: on a pseudo terminal, which is drained until it ends, or without standard streams."""
    if not on_terminal:
        nothing = subprocess.DEVNULL
        process = subprocess.Popen(command, cwd=folder, env=environment, stdin=nothing, stdout=nothing, stderr=nothing)
        return Started(process, None)
    terminal, its_end = pty.openpty()
    fcntl.ioctl(its_end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
    process = subprocess.Popen(
        ["setsid", "--ctty", *command], cwd=folder, env=environment, stdin=its_end, stdout=its_end, stderr=its_end
    )
    os.close(its_end)
    threading.Thread(target=_drain, args=(terminal,), daemon=True).start()
    return Started(process, terminal)


def _drain(terminal: int) -> None:
    # Closed here and nowhere else: a number that is read may not come to mean another file.
    with suppress(OSError):
        while os.read(terminal, 65536):
            pass
    os.close(terminal)


def try_ctrl_c(python: list[str], environment: dict[str, str], folder: Path, presses: int) -> str:
    """What went wrong, or nothing. Once it drains both workers; twice it ends them though one is busy."""
    (folder / "main.py").write_text(APP)
    (folder / "start.py").write_text(START)
    process, terminal = start([*python, "start.py"], folder, environment, on_terminal=True)
    assert terminal is not None
    try:
        trouble = _press(terminal, folder, presses)
    except (OSError, HTTPException) as error:
        trouble = f"{type(error).__name__}: {error}"
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
    return f"{trouble}\n{_read(folder / 'log') or 'no log'}" if trouble else ""


def _press(terminal: int, folder: Path, presses: int) -> str:
    url = _line(folder, "running on ").split()[0]
    with urlopen(url + ("/deaf" if presses == 2 else ""), timeout=PATIENCE) as answer:
        if answer.read(4) != b"data":
            return "no answer"
        os.write(terminal, b"\x03")
        _line(folder, "Shutting down")
        if presses == 2:
            os.write(terminal, b"\x03")
        code = _wait(lambda: _read(folder / "code"), "an exit code")
    log, ended = _read(folder / "log"), len(list(folder.glob("ended-*")))
    if (presses == 1 and (code, ended) != ("0", 2)) or (presses == 2 and code != "1"):
        return f"exit code {code}, {ended} lifespans ended"
    return "complained" if "Traceback" in log or "died" in log else ""


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

