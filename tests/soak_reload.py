"""`make soak-reload`: reloads, restarts, recycling and killed workers, over and over, under a load that must not notice.

A server is started as its users start it. Sixteen clients ask it again and again, half of them on connections that they
keep, half on new ones; a connection that ends under a request, a refusal, and any answer but 200 is a failure. Shown
are, for each scene, requests and failures, the longest wait of a request in quiet seconds and during the scene, and how
long it took from a save to the first answer of new code. Of killed workers only the clients may suffer that they had
accepted: the kernel's tables tell which. At the end, how long requests spread over workers with and without balance.
"""

import argparse
import contextlib
import itertools
import os
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

TESTS = Path(__file__).parent
sys.path[:0] = [str(TESTS), str(TESTS.parent / "server"), str(TESTS.parent / "reactor")]

from support.casualties import children, kill  # noqa: E402  # found through the line above
from support.client import Client, request  # noqa: E402
from support.pressure import Pressure  # noqa: E402
from support.serving import Server, serving  # noqa: E402

CLIENTS = 16
QUIET = 3.0

APP = """
import asyncio, os
VERSION = b"VERSION"

if os.environ.get("SOAK_UNBALANCED"):
    from penstock.connection.service import Service
    Service.fair_share = property(lambda self: None, lambda self, share: None)

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": kind + ".complete"})
            if kind == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/long":
        await send({"type": "http.response.body", "body": b"%d\\n" % os.getpid(), "more_body": True})
        await asyncio.sleep(float(scope["query_string"]))
        await send({"type": "http.response.body"})
    else:
        await send({"type": "http.response.body", "body": VERSION})
"""


def main() -> int:
    """Play the scenes that are wanted; 1 when one of them lost a request that it should not have."""
    parser = argparse.ArgumentParser(prog="make soak-reload ARGS=...", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--reloads", type=int, default=50)
    parser.add_argument("--restarts", type=int, default=50)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--recycling", type=float, default=20, metavar="SECONDS")
    parser.add_argument("--long", type=int, default=200, metavar="REQUESTS")
    options = parser.parse_args()
    scenes: list[Callable[[], bool]] = [
        lambda: reloads(options.reloads), lambda: restarts(options.restarts), lambda: kills(options.kills),
        lambda: recycling(options.recycling), lambda: balance(options.long),
    ]  # fmt: skip
    # All of them are played, whatever the first ones bring.
    return 0 if all([scene() for scene in scenes]) else 1


@contextlib.contextmanager
def started(*options: str, **environment: str) -> Iterator[tuple[Server, Path]]:
    """A server of the application in a folder of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(folder, b"0")
        with serving("main:app", "--no-access-log", *options, cwd=folder, env=environment) as server:
            yield server, folder


def save(folder: Path, version: bytes) -> None:
    """As editors do that write a new file and rename it."""
    (folder / "new").write_bytes(APP.encode().replace(b"VERSION\"", version + b"\""))
    os.replace(folder / "new", folder / "main.py")


def quiet(load: Pressure) -> float:
    """The longest wait while nothing happens."""
    begin = time.monotonic()
    time.sleep(QUIET)
    return load.longest_between(begin, time.monotonic())


def reloads(count: int) -> bool:
    """Save, and wait until the new code answers."""
    with started("--reload") as (server, folder), Pressure(server, CLIENTS) as load:
        normal, took, begin = quiet(load), [], time.monotonic()
        for number in range(1, count + 1):
            version = b"%d" % number
            saved = time.monotonic()
            save(folder, version)
            took.append(load.wait_until_answered(version) - saved)
            load.wait_for_answers(CLIENTS * 4)
        longest = load.longest_between(begin, time.monotonic())
    told = f"save to new code {median(took):.2f} s, at most {max(took):.2f}" if took else ""
    return report(f"{count} reloads", load, normal, longest, told)


def restarts(count: int) -> bool:
    """SIGHUP, and wait until all workers are others."""
    with started("--workers", "4") as (server, _), Pressure(server, CLIENTS) as load:
        normal, took, begin = quiet(load), [], time.monotonic()
        for _ in range(count):
            asked, former = time.monotonic(), set(children(server.pid))
            server.process.send_signal(signal.SIGHUP)
            while former & set(present := children(server.pid)) or len(present) != 4:
                time.sleep(0.02)
            took.append(time.monotonic() - asked)
        longest = load.longest_between(begin, time.monotonic())
    told = f"{median(took):.1f} s each" if took else ""
    return report(f"{count} rolling restarts of 4 workers", load, normal, longest, told)


def kills(count: int) -> bool:
    """SIGKILL to a worker each second; only its own clients may suffer."""
    condemned, dead = set[int](), set[int]()
    with started("--workers", "4") as (server, _), Pressure(server, CLIENTS) as load:
        normal, begin = quiet(load), time.monotonic()
        for number in range(count):
            victims: list[int] = []
            while not victims:
                time.sleep(0.02)
                are_ready = map(int, re.findall(r"Ready: worker \d+ \(process (\d+)\)", server.stderr))
                alive = set(children(server.pid)) - dead
                victims = [pid for pid in are_ready if pid in alive]
            dead.add(victim := victims[number % len(victims)])
            condemned |= kill(victim)
            time.sleep(max(0.0, begin + number + 1 - time.monotonic()))
        longest = load.longest_between(begin, time.monotonic())
        time.sleep(QUIET)
        left = len(children(server.pid))
    strangers = [(port, failure) for port, failure in zip(load.lost, load.failures, strict=True) if port not in condemned]
    told = f"{len(load.failures) - len(strangers)} of the killed workers' own; {left} workers left"
    return report(f"{count} kill -9 of 4 workers", load, normal, longest, told, strangers) and left == 4


def recycling(seconds: float) -> bool:
    """Each worker goes after a thousand requests."""
    options = ("--workers", "4", "--limit-max-requests", "1000", "--limit-max-requests-jitter", "200")
    with started(*options) as (server, _), Pressure(server, CLIENTS) as load:
        begin = time.monotonic()
        time.sleep(seconds)
        longest = load.longest_between(begin, time.monotonic())
        worn = server.stderr.count("answers: another takes its place")
    return report(f"{worn} workers replaced after 1,000 requests", load, 0.0, longest, "")


def balance(count: int) -> bool:
    """Long requests, one after the other: a quarter of them at a single worker, then three more come, and so do the others."""
    spread: dict[str, list[int]] = {}
    for name, environment in (("without", {"SOAK_UNBALANCED": "1"}), ("with", {})):
        with started("--control", "ctl", "--timeout-graceful-shutdown", "0", **environment) as (server, _):
            spread[name] = _spread(server, count)
    print(f"{count} long requests, a quarter of them when there was one worker yet, run in 4: {spread['without']} without "
          f"balance, {spread['with']} with", flush=True)  # fmt: skip
    return max(spread["with"]) <= count / 4 * 1.25 + 8


def _spread(server: Server, count: int) -> list[int]:
    """How many run in each worker, the first one first. Short requests beside them keep all awake, as in life."""
    running: Counter[bytes] = Counter()
    with contextlib.ExitStack() as stack, Pressure(server, 4):
        for number in range(count):
            if number == count // 4:
                for worker in (2, 3, 4):
                    server.process.send_signal(signal.SIGTTIN)
                    server.wait_line(f"Ready: worker {worker}")
                time.sleep(1.5)
            client = stack.enter_context(Client((server.host, server.port)))
            client.send(request("/long?60"))
            client.head()
            client.line()
            running[client.line()] += 1
            time.sleep(0.005)
    return [*running.values(), *itertools.repeat(0, 4 - len(running))]


def report(
    scene: str, load: Pressure, normal: float, longest: float, told: str, failures: list[tuple[int, str]] | None = None
) -> bool:
    """A line, and whether all is well."""
    failures = list(zip(load.lost, load.failures, strict=True)) if failures is None else failures
    waits = f"longest wait {longest * 1e3:.0f} ms" + (f", {normal * 1e3:.0f} ms in quiet" if normal else "")
    print(f"{scene}: {load.count} requests, {len(failures)} failed; {waits}" + (f"; {told}" if told else ""), flush=True)
    for failure in failures[:5]:
        print(f"    {failure}")
    return not failures


if __name__ == "__main__":
    sys.exit(main())
