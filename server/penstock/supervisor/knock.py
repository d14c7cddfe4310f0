"""The other side of the door: `penstock ctl status|reload|stop|scale N`, which tells a supervisor what to do.

It imports nothing of the server, so that it answers at once. What the supervisor says is printed for people, or with
`--json` as it came. The exit code is 0 when it was done, 1 when not.
"""

import json
import os
import socket
import sys
from typing import Any

_USAGE = """usage: penstock ctl COMMAND [--control PATH] [--json]

Tell a running supervisor (penstock with --control PATH) what to do:

  status    show its workers
  reload    start new workers, and let the old ones go when they serve; waits for that
  scale N   want N workers
  stop      finish what is open, and end

  --control PATH   where it takes commands; $PENSTOCK_CONTROL when left out
  --json           print what it says as JSON"""

_PATIENCE = 10.0
"""Seconds in which a supervisor answers; but a reload is waited for."""

_COLUMNS = ("worker", "pid", "generation", "phase", "age", "running", "answered", "memory")


class CannotReach(Exception):
    """Nobody takes commands there; the text says why, the cause is an OSError, or a ValueError for an answer that is none."""


def main(words: list[str]) -> int:
    """Run `penstock ctl` with these arguments; the exit code."""
    rest, path, command = iter(words), os.environ.get("PENSTOCK_CONTROL", ""), list[str]()
    if not words or "-h" in words or "--help" in words:
        print(_USAGE)
        return 0 if words else 1
    for word in rest:
        if word == "--control":
            path = next(rest, "")
        elif word.startswith("--control="):
            path = word.partition("=")[2]
        elif word != "--json":
            command.append(word)
    try:
        if not path:
            raise CannotReach("where? Name the supervisor's control address with --control PATH")
        said = knock(path, command)
        if "error" in said:
            raise ValueError(said["error"])
    except (CannotReach, ValueError, KeyboardInterrupt) as error:
        print(f"penstock ctl: {str(error) or 'interrupted'}", file=sys.stderr)
        return 1
    try:
        print(json.dumps(said, indent=2) if "--json" in words else said.get("message") or table(said), flush=True)
    except BrokenPipeError:
        # Who reads has read enough. What is left is not to be tried again at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def knock(path: str, command: list[str], patience: float | None = None) -> dict[str, Any]:
    """Give a command to the supervisor at `path`, and wait for what it says. Raises CannotReach; ValueError for a strange file."""
    family, address, token = address_of(path)
    try:
        with socket.socket(family) as sock:
            sock.settimeout(None if command == ["reload"] else patience or _PATIENCE)
            sock.connect(address)
            sock.sendall(json.dumps({"command": command, "token": token}).encode() + b"\n")
            with sock.makefile("rb") as said:
                answer: dict[str, Any] = json.loads(said.readline())
    except OSError as error:
        raise CannotReach(f"nobody takes commands at {path} ({error.strerror or error})") from error
    except ValueError as error:
        raise CannotReach(f"who listens at {path} is no supervisor, or has just ended") from error
    return answer


def address_of(path: str) -> tuple[int, Any, str]:
    """Family, address and token of the supervisor whose door is at `path`. Raises CannotReach; ValueError for a strange file."""
    if sys.platform != "win32":
        return socket.AF_UNIX, path, ""
    try:
        with open(path, encoding="ascii") as file:
            told = json.load(file)
        return socket.AF_INET, ("127.0.0.1", int(told["port"])), str(told["token"])
    except OSError as error:
        raise CannotReach(f"nobody takes commands at {path} ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} does not say where a supervisor is") from None


def table(status: dict[str, Any]) -> str:
    """A status, for people."""
    rows = [_COLUMNS, *(tuple(_shown(name, each[name]) for name in _COLUMNS) for each in status["workers"])]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    head = "supervisor {pid}: generation {generation} is {state}, {wanted} workers are wanted".format(**status)
    return "\n".join([head, *lines])


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "?"
    if name == "age":
        hours, seconds = divmod(int(value), 3600)
        return f"{hours}:{seconds // 60:02}:{seconds % 60:02}"
    return f"{value / (1 << 20):.1f} MiB" if name == "memory" else str(value)
