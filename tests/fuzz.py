"""Fuzzing: `python tests/fuzz.py [--seconds N | --inputs N] [--seed S] [--live] [--websocket]`.

On the codec: it never raises anything but ProtocolError, the same comes of an input however it is cut into pieces and
whatever the connection has read before, what it keeps is bounded, and where h11 can be imported, both agree where
requests end (support/opinions.py).
With --live a server is started and must answer each input as the codec would: no crash, no hang, no traceback, no
error of ours, no growth.
With --websocket, frames instead of requests: support/ws_mutation.py says what must hold. What fails is printed as a case for tests/cases; the seed makes the same inputs again.
"""

import argparse
import os
import random
import re
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent
sys.path[:0] = [str(TESTS), str(TESTS.parent / "server"), str(TESTS.parent / "reactor")]

from penstock.codec import fields, response, usual  # noqa: E402
from penstock.codec.http1 import Http1Codec  # noqa: E402
from penstock.codec.states import HeadPart  # noqa: E402
from support.cases import LIMIT_FIELDS, LIMIT_HEAD, Outcome, load  # noqa: E402
from support.mutation import Maker  # noqa: E402
from support.opinions import disagreement, is_there  # noqa: E402
from support.replay import LIMITS, play  # noqa: E402
from support.responses import read_responses  # noqa: E402
from support import ws_mutation  # noqa: E402
from support.serving import Server, serving  # noqa: E402
from support.ws_cases import MAX_SIZE  # noqa: E402

PATIENCE = 10.0
GROWTH = 40 << 20
"""Octets a process may grow by while it is fuzzed, tables and the allocator's habits included."""


class Found(Exception):
    """An input that shows a fault."""


def main(arguments: list[str] | None = None) -> int:
    """Run until the time or the inputs are used up. 0 when nothing was found."""
    options = _options(arguments)
    if options.websocket:
        return _fuzz_websocket(options)
    maker = Maker(options.seed, [case.octets for case in load() if len(case.octets) < 2000])
    print(f"seed {options.seed}, {'a live server' if options.live else 'the codec'}", flush=True)
    if not options.live:
        before = _memory(os.getpid())
        came: list[bytes] = []
        return _run(options, maker, lambda maker, octets: check_codec(maker, octets, came), as_case) or _has_grown("the process", os.getpid(), before)
    limits = ("--limit-head", str(LIMIT_HEAD), "--limit-fields", str(LIMIT_FIELDS), "--ws", "none", "--no-access-log")
    with serving("reporting:app", "--app-dir", str(TESTS / "support"), *limits) as server:
        before = _memory(server.pid)
        code = _run(options, maker, lambda maker, octets: check_live(server, maker, octets), as_case)
        if "Traceback" in server.stderr:
            print("the server wrote a traceback")
            return 1
        return code or _has_grown("the server", server.pid, before)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--inputs", type=int, default=0, help="how many inputs, instead of how long")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--live", action="store_true", help="a started server instead of the codec alone")
    parser.add_argument("--websocket", action="store_true", help="frames of a WebSocket instead of requests")
    return parser.parse_args(arguments)


def _fuzz_websocket(options: argparse.Namespace) -> int:
    maker = ws_mutation.Maker(options.seed)
    print(f"seed {options.seed}, WebSocket frames, {'a live server' if options.live else 'the codec'}", flush=True)
    if not options.live:
        before = _memory(os.getpid())
        code = _run(options, maker, lambda maker, made: ws_mutation.check_codec(maker, *made), repr)
        return code or _has_grown("the process", os.getpid(), before)
    limit = ("--ws-max-size", str(MAX_SIZE), "--ws-max-queue", "1000", "--no-access-log")
    with serving("support.ws_apps:app", "--app-dir", str(TESTS), *limit) as server:
        before = _memory(server.pid)
        code = _run(options, maker, lambda maker, made: ws_mutation.check_live(server, maker, *made), repr)
        if "Traceback" in server.stderr:
            print("the server wrote a traceback")
            return 1
        return code or _has_grown("the server", server.pid, before)


def _run(options: argparse.Namespace, maker: Any, check: Callable[[Any, Any], None], show: Callable[[Any], str]) -> int:
    start = time.monotonic()
    inputs = 0
    octets: Any = b""
    try:
        while inputs < options.inputs if options.inputs else time.monotonic() - start < options.seconds:
            octets = maker.make()
            check(maker, octets)
            inputs += 1
            if inputs % 100_000 == 0:
                print(f"{inputs} inputs, {time.monotonic() - start:.0f} s", flush=True)
    except Exception:
        traceback.print_exc()
        print(f"\ninput {inputs} of seed {options.seed}:\n{show(octets)}")
        return 1
    print(f"{inputs} inputs in {time.monotonic() - start:.1f} s, nothing found")
    return 0


def check_codec(maker: Maker, octets: bytes, before: list[bytes]) -> None:
    """Everything that must hold for any octets whatever, `before` being what came of late on the same connection."""
    codec = Http1Codec(LIMITS)
    whole = play([octets], codec)
    pieces = maker.pieces(octets)
    cut = play(pieces)
    if cut != whole:
        raise Found(f"cut as {pieces!r}\nit is {cut}\nand whole it is {whole}")
    behind = play([*before, octets])
    del behind.requests[: len(play(before).requests)]
    if behind != whole:
        raise Found(f"behind {before!r}\nit is {behind}\nand alone it is {whole}")
    # An empty line at its end would already be the next request's one.
    if whole.requests and whole.is_open and len(octets) < 2000 and codec._head_reader._part is HeadPart.NOTHING:
        before[:], maker.last = [*before[-3:], octets], octets
    if whole.status and (codec.buffer.size or not 400 <= whole.status <= 505 or whole.status == 500):
        raise Found(f"refused with {whole.status}, {codec.buffer.size} octets kept")
    if len(fields._NAMES) > 2048 or len(fields.HOSTS) > 256 or len(usual._ORDERS) > 512 or len(response._LINES) > 1024:
        raise Found("a table has outgrown its bound")
    if is_there() and (difference := disagreement(octets, whole)):
        raise Found(difference)


def check_live(server: Server, maker: Maker, octets: bytes) -> None:
    """A client that sends the input, in pieces, ends its half, and reads what it is owed."""
    expected = play([octets])
    received = _talk(server, maker.pieces(octets))
    responses = read_responses(received, [each.method for each in expected.requests])
    statuses = tuple(each.status for each in responses)
    if statuses not in _allowed(expected):
        raise Found(f"answered {statuses}, expected {_allowed(expected)}")
    if b"Traceback" in received or server.process.poll() is not None:
        raise Found("a traceback, or the server has ended")


def _allowed(expected: Outcome) -> set[tuple[int, ...]]:
    answers = (200,) * sum(each.is_finished for each in expected.requests)
    if expected.status:
        return {(*answers, expected.status)}
    return {answers, (*answers, 400), (*answers, 408)} if expected.wants_more else {answers}


def _talk(server: Server, pieces: list[bytes]) -> bytes:
    received = b""
    with socket.create_connection((server.host, server.port), PATIENCE) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                sock.sendall(piece)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has refused already
        try:
            while octets := sock.recv(65536):
                received += octets
        except ConnectionResetError:
            pass
    return received


def _has_grown(who: str, pid: int, before: int) -> int:
    grown = _memory(pid) - before
    print(f"{who} has grown by {grown / (1 << 20):.1f} MiB")
    return grown > GROWTH


def _memory(pid: int) -> int:
    """Octets of memory a process holds; 0 where nobody can tell."""
    status = Path(f"/proc/{pid}/status")
    match = re.search(r"VmRSS:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(match[1]) << 10 if match else 0


def as_case(octets: bytes) -> str:
    """The input as a case of the corpus: a title, a clause and an outcome are for a person to write."""
    names = {0x0D: "\\r", 0x0A: "\\n", 0x09: "\\t", 0: "\\0", 0x5C: "\\\\"}
    text = "".join(names.get(each) or (chr(each) if 0x20 <= each < 0x7F else f"\\x{each:02x}") for each in octets)
    return "=== found by fuzzing\n    RFC 9112\n" + text.replace("\\r\\n", "\n") + ("" if octets.endswith(b"\r\n") else "\\\n")


if __name__ == "__main__":
    sys.exit(main())
