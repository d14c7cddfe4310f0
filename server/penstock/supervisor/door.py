"""The supervisor's side of `penstock ctl`: a private address at which it takes commands.

One line of JSON in, `{"command": [...], "token": "..."}`, one line out, `{...}` or `{"error": "..."}`. The address is a
Unix socket that only its owner may open. Where there are none (Windows) it is a TCP port of this machine, and a file
in the socket's place tells the port and a token, which whoever reads the file may use. Nobody's file is overwritten:
a socket on which anybody listens is in use, and what is neither a socket nor such a file is somebody's.
"""

import asyncio
import getpass
import hmac
import json
import os
import secrets
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, closing, suppress
from typing import Any, Protocol

from .fleet import Generation, Phase, Wanted
from .knock import CannotReach, knock
from .worker import Worker

_PATIENCE = 5.0
"""Seconds that a command may take to come."""

_LOOK = 0.1
"""Seconds between two looks whether a new generation serves."""


class DoorError(Exception):
    """The control address cannot be had; the text says which and why."""


class Fleet(Protocol):
    """What can be commanded."""

    def status(self) -> dict[str, Any]: ...
    def stop(self) -> None: ...
    def scale(self, count: int) -> None: ...
    def renew(self, cause: str) -> None: ...


@asynccontextmanager
async def open_door(path: str, fleet: Fleet) -> AsyncIterator[None]:
    """Take commands for `fleet` at `path`, for as long as the block lasts; nowhere when it is empty. Raises DoorError."""
    if not path:
        yield
        return
    token = secrets.token_hex(16)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(OSError, TimeoutError, ValueError):
            line = await asyncio.wait_for(reader.readline(), _PATIENCE)
            answer = await _answer(line, token if sys.platform == "win32" else "", fleet)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()

    try:
        _make_room(path)
        server = await _listen(path, token, serve)
        made = os.lstat(path)
    except OSError as error:
        raise DoorError(f"Cannot take commands at {path} (--control): {error.strerror or error}.") from None
    try:
        yield
    finally:
        server.close()
        with suppress(OSError):
            if os.path.samestat(made, os.lstat(path)):
                os.unlink(path)


async def obey(fleet: Fleet, command: list[str]) -> dict[str, Any]:
    """Do what is commanded, and what there is to tell. Raises ValueError, with what is wrong, for whoever commands."""
    match command:
        case ["status"]:
            return fleet.status()
        case ["stop"]:
            asyncio.get_running_loop().call_soon(fleet.stop)
            return {"message": "stopping"}
        case ["scale", count] if count.isdecimal() and int(count):
            fleet.scale(int(count))
            return {"message": f"{int(count)} workers are wanted"}
        case ["scale", *rest]:
            raise ValueError(f"scale needs a number of workers, at least 1, not {' '.join(rest) or 'nothing'}")
        case ["reload"]:
            fleet.renew("penstock ctl")
            # Or a later one, which somebody has asked for meanwhile: then this one will never serve.
            while (status := fleet.status())["state"] == "starting":
                await asyncio.sleep(_LOOK)
            if status["state"] != "serving":
                raise ValueError(f"generation {status['generation']} does not serve: {status['state']}; the log says why")
            return {"message": f"generation {status['generation']} serves"}
    raise ValueError(f"unknown command {' '.join(command)!r}")


def status_of(workers: Collection[Worker], generation: Generation, wanted: Wanted, now: float) -> dict[str, Any]:
    """What `penstock ctl status` shows: of the fleet, and of each worker."""
    is_down = all(each.member.phase is not Phase.READY for each in workers)
    state = "serving" if generation.is_proven else "failed" if generation.has_failed else "starting"
    return {
        "pid": os.getpid(), "generation": generation.number, "wanted": wanted.count,
        "state": "stopping" if wanted.exit_code is not None else "down" if is_down and state != "starting" else state,
        "workers": [{
            "worker": each.member.number, "pid": each.pid, "generation": each.member.generation,
            "phase": "worn" if each.member.is_worn and each.member.phase is Phase.READY else each.member.phase.value,
            "age": round(now - each.born, 1), "running": each.running, "answered": each.answered, "memory": each.memory,
        } for each in workers],
    }  # fmt: skip


async def _answer(line: bytes, token: str, fleet: Fleet) -> dict[str, Any]:
    try:
        order = json.loads(line)
        if token and not hmac.compare_digest(str(order.get("token")).encode(), token.encode()):
            raise ValueError("the token is wrong")
        return await obey(fleet, list(map(str, order["command"])))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return {"error": str(error)}


def _make_room(path: str) -> None:
    """Remove what a supervisor left that was killed. Raises DoorError when somebody is there."""
    if not os.path.lexists(path):
        return
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode) and sys.platform != "win32":
            raise ValueError
        knock(path, ["status"], _PATIENCE)
    except ValueError:
        raise DoorError(f"Cannot take commands at {path} (--control): there is a file that is not ours.") from None
    except CannotReach as error:
        # A socket is its listener's, whoever that is. A file of ours may name a port that is somebody else's by now.
        if not isinstance(error.__cause__, (ConnectionError, ValueError) if sys.platform == "win32" else ConnectionRefusedError):
            raise DoorError(f"Cannot take commands at {path} (--control): somebody may use it: {error}.") from None
        os.unlink(path)
    else:
        raise DoorError(f"Cannot take commands at {path} (--control): it is in use by another supervisor.")


async def _listen(path: str, token: str, serve: Any) -> asyncio.Server:
    if sys.platform != "win32":
        # The mode counts from the first moment on, not only after a chmod.
        before = os.umask(0o177)
        try:
            return await asyncio.start_unix_server(serve, path)
        finally:
            os.umask(before)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        if os.name == "nt":
            # The mode says nothing there. Where this fails, the folder's own list of readers holds.
            subprocess.run(["icacls", path, "/inheritance:r", "/grant:r", f"{getpass.getuser()}:F"], capture_output=True)
        json.dump({"port": server.sockets[0].getsockname()[1], "token": token}, file)
    return server
