"""`make bench-parse`: what reading a browser's request head costs, beside httptools and h11; ratios first.

All three read the same octets in the same process, in turns. A ratio is that of the least figures, since whatever else a
machine does only adds to them; beside it, in brackets, the median of the ratios of neighbours in the same round. Time is
the process's CPU time. Each parser is made and each request answered outside of the measured time, and before anything
is measured all three must agree on what the heads say. What is measured is octets in, a whole request out:

    penstock   `feed` and `next_event`, with every check of docs/http.md
    httptools  `feed_data` with a server's callbacks: names in lower case into a list, the target taken apart, version,
               method, and whether the connection stays; as uvicorn has them, but without the scope
    h11        `receive_data` and `next_event`, twice: only the second says that no body follows

A figure never makes the bench fail; parsers that disagree do.
"""

import argparse
import gc
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import count
from typing import Any

from penstock.codec.events import RequestHead
from penstock.codec.http1 import Http1Codec, Limits
from penstock.codec.response import Defaults

# Only in the bench's environment.
import h11  # type: ignore[import-not-found, unused-ignore]  # isort: skip
import httptools  # type: ignore[import-not-found, unused-ignore]  # isort: skip

CONNECTIONS = 128
HEADS_EACH = 4

Read = tuple[bytes, bytes, bytes, list[tuple[bytes, bytes]]]
"""Method, target, version, fields."""


def head(line: int, secret: int, rest: int) -> bytes:
    """A page request of a browser: 12 fields, about 600 octets. Each number changes some of its lines and no length."""
    return (
        f"GET /shelf/{line:07}/item?page=2&sort=title HTTP/1.1\r\n"
        f"Host: s{rest:07}.books.example:8080\r\n"
        f"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/1{rest:07}.0\r\n"
        f"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.{rest:07}\r\n"
        f"Accept-Language: en-GB,en;q=0.7,de;q=0.{rest:07}\r\n"
        f"Accept-Encoding: gzip, deflate, br, x{rest:07}\r\n"
        f"Referer: http://s0000000.books.example:8080/shelf/{secret:07}\r\n"
        # The one line that cannot be another one: other words would ask for something else.
        f"Connection: keep-alive\r\n"
        f"Cookie: session=3f786850e387550fdab836ed7e6d{secret:07}; theme=dark\r\n"
        f"Upgrade-Insecure-Requests: 1{rest:07}\r\n"
        f"Sec-Fetch-Dest: document{rest:07}\r\n"
        f"Sec-Fetch-Mode: navigate{rest:07}\r\n"
        f"Sec-Fetch-Site: same-origin{rest:07}\r\n\r\n"
    ).encode()


_fresh = count(1)


def _all_new(steps: int) -> list[bytes]:
    return [head(number, number, number) for number in (next(_fresh) for _ in range(steps))]


def _other_page(steps: int) -> list[bytes]:
    return [head(number, number, 0) for number in (next(_fresh) for _ in range(steps))]


def _other_target(steps: int) -> list[bytes]:
    return [head(next(_fresh), 0, 0) for _ in range(steps)]


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of traffic: the heads of one connection, of which the first may be read without being measured."""

    name: str
    about: str
    heads: Callable[[int], list[bytes]]
    skips_first: bool
    goal: str = ""


CASES = (
    Case("first", "a connection's first head, no line of it seen before", _all_new, False, "<= 1.5"),
    Case("new", "a later head, no line of it seen before", _all_new, True, "<= 1.5"),
    Case("page", "a later head with another target, Referer and Cookie", _other_page, True, "< 1"),
    Case("target", "a later head with another target", _other_target, True, "< 1"),
    Case("same", "the same head again", lambda steps: [head(0, 0, 0)] * steps, True, "< 1"),
)


class Callbacks:
    """What a server does while httptools reads."""

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.is_whole = False

    def on_message_begin(self) -> None:
        self.url = b""
        self.expects_continue = False
        self.headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expects_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        parser = self.parser
        self.version = parser.get_http_version()
        self.method = parser.get_method().decode("ascii")
        self.upgrades = parser.should_upgrade()
        url = httptools.parse_url(self.url)
        self.raw_path = url.path
        self.path = self.raw_path.decode("ascii")
        self.query = url.query or b""
        self.keeps_alive = self.version != "1.0" and parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        raise AssertionError("no head here announces a body")

    def on_message_complete(self) -> None:
        self.is_whole = True


class Penstock:
    """Our codec."""

    name = "penstock"

    def make(self) -> Http1Codec:
        return Http1Codec(Limits(65536, 100))

    def read(self, connections: Sequence[Any], heads: Sequence[bytes]) -> None:
        for codec, octets in zip(connections, heads):
            codec.feed(octets)
            codec.next_event()

    def answer(self, connection: Any) -> None:
        connection.encode_head(200, [], Defaults(b"", b"", b""))
        connection.encode_body(b"", True)

    def understood(self, octets: bytes) -> Read:
        codec = self.make()
        codec.feed(octets)
        event = codec.next_event()
        assert type(event) is RequestHead and event.keeps_alive
        return event.method.encode(), event.path + b"?" + event.query, event.version.encode(), event.fields


class Httptools:
    """llhttp behind Cython."""

    name = "httptools"

    def make(self) -> Callbacks:
        return Callbacks()

    def read(self, connections: Sequence[Any], heads: Sequence[bytes]) -> None:
        for connection, octets in zip(connections, heads):
            connection.parser.feed_data(octets)

    def answer(self, connection: Any) -> None:
        connection.is_whole = False

    def understood(self, octets: bytes) -> Read:
        found = self.make()
        found.parser.feed_data(octets)
        assert found.is_whole and found.keeps_alive
        return found.method.encode(), found.raw_path + b"?" + found.query, found.version.encode(), found.headers


class H11:
    """h11, pure Python too."""

    name = "h11"

    def make(self) -> Any:
        return h11.Connection(h11.SERVER)

    def read(self, connections: Sequence[Any], heads: Sequence[bytes]) -> None:
        for connection, octets in zip(connections, heads):
            connection.receive_data(octets)
            connection.next_event()
            connection.next_event()

    def answer(self, connection: Any) -> None:
        connection.send(h11.Response(status_code=200, headers=[(b"content-length", b"0")]))
        connection.send(h11.EndOfMessage())
        connection.start_next_cycle()

    def understood(self, octets: bytes) -> Read:
        connection = self.make()
        connection.receive_data(octets)
        event = connection.next_event()
        return event.method, event.target, event.http_version, [(bytes(name), bytes(value)) for name, value in event.headers]


SUBJECTS = (Penstock(), Httptools(), H11())
Subject = Penstock | Httptools | H11
Figures = dict[str, list[float]]
"""By subject: microseconds a head, one figure a round."""


def main() -> int:
    """Measure, print; 1 when the parsers disagree, 130 when stopped by hand."""
    options = _options()
    sample = head(0, 0, 0)
    read = [subject.understood(sample) for subject in SUBJECTS]
    if not read[0] == read[1] == read[2]:
        print(f"the parsers read different things:\n{read}", file=sys.stderr)
        return 1
    print(
        f"{platform.python_implementation()} {platform.python_version()}, httptools {version('httptools')}, h11 {version('h11')}; "
        f"{len(sample)} octets, {len(read[0][3])} fields; {options.rounds} rounds, in turns; CPU time"
    )
    cases = [case for case in CASES if options.only in (None, case.name)]
    subjects = [subject for subject in SUBJECTS if options.subject in (None, subject.name)]
    figures: dict[str, Figures] = {case.name: {subject.name: [] for subject in subjects} for case in cases}
    gc.freeze()
    gc.disable()
    try:
        for turn in range(options.rounds):
            _show_progress(f"round {turn + 1} of {options.rounds}")
            for case in cases:
                for subject in subjects[turn % len(subjects) :] + subjects[: turn % len(subjects)]:
                    figures[case.name][subject.name].append(measure(subject, case))
            gc.collect()
    except KeyboardInterrupt:
        return 130
    finally:
        _show_progress("")
    print(table(cases, figures))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-parse ARGS=...", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=60, help="how often each parser reads each case (default 60)")
    parser.add_argument("--only", metavar="CASE", choices=[case.name for case in CASES], help="one kind of traffic")
    parser.add_argument("--subject", choices=[subject.name for subject in SUBJECTS], help="one parser, for a profiler")
    parser.add_argument("--quick", action="store_true", help="five rounds: shows that it works, no more")
    options = parser.parse_args()
    if options.quick:
        options.rounds = 5
    return options


def measure(subject: Subject, case: Case) -> float:
    """Microseconds a head: many connections, each with a few heads one after another."""
    connections = [subject.make() for _ in range(CONNECTIONS)]
    steps = 1 + HEADS_EACH if case.skips_first else 1
    traffic = [case.heads(steps) for _ in connections]
    spent = measured = 0
    for step in range(steps):
        heads = [each[step] for each in traffic]
        began = time.process_time_ns()
        subject.read(connections, heads)
        took = time.process_time_ns() - began
        if step or not case.skips_first:
            spent += took
            measured += len(heads)
        for connection in connections:
            subject.answer(connection)
    return spent / measured / 1000


def table(cases: Sequence[Case], figures: dict[str, Figures]) -> str:
    """A line for each kind of traffic."""
    rows = [["", "penstock ÷ httptools", "goal", "h11 ÷ penstock", "goal", "penstock µs", "httptools µs", "h11 µs", "what is read"]]
    for case in cases:
        found = figures[case.name]
        rows.append([
            case.name, _ratio(found, "penstock", "httptools"), case.goal, _ratio(found, "h11", "penstock"), ">= 7",
            *(_least(found, name) for name in ("penstock", "httptools", "h11")), case.about,
        ])  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows)


def _ratio(found: Figures, over: str, under: str) -> str:
    if not (found.get(over) and found.get(under)):
        return "-"
    ratios = [mine / other for mine, other in zip(found[over], found[under], strict=True)]
    return f"{min(found[over]) / min(found[under]):.2f} ({statistics.median(ratios):.2f})"


def _least(found: Figures, name: str) -> str:
    return f"{min(found[name]):.2f}" if found.get(name) else "-"


def _show_progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
