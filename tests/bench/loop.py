"""Our event loop beside asyncio's selector loop and uvloop: what each operation costs, ratios first.

    python tests/bench/loop.py [--quick] [--rounds N] [--only NAME,NAME] [--loops ours,asyncio,uvloop] [--into PAGE]

Each workload on each loop has a process of its own, so that none leaves its mark on another's interpreter or heap
(glibc's malloc remembers the largest block that was ever freed, and serves a loop's read buffers accordingly). The
loops take turns within a round, and a ratio compares neighbours of the same round; what is printed is the median of
those ratios with the least and the most. uvloop is left out where it is not installed. A figure never makes the bench
fail; a workload that does, does.
"""

import argparse
import asyncio
import datetime
import importlib.util
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent.parent
sys.path[0:1] = [str(CHECKOUT / folder) for folder in ("reactor", "tests")]

from bench.loop_gauges import Gauge  # noqa: E402  # found through the line above
from bench.loop_talk import IDLE  # noqa: E402
from bench.loop_work import LINES, WORKLOADS  # noqa: E402

OURS, STOCK, UVLOOP = "ours", "asyncio", "uvloop"
# A workload that hangs fails.
PATIENCE = 120
# By workload, then by loop: the cost of an operation, one for each round.
Figures = dict[str, dict[str, list[float]]]
# What stands between two of these in a page is ours to replace.
MARK = "<!-- bench-loop -->"


def new_loop(kind: str) -> asyncio.AbstractEventLoop:
    """A new loop of this kind."""
    if kind == OURS:
        from penstock_reactor import new_event_loop

        return new_event_loop()
    if kind == STOCK:
        return asyncio.SelectorEventLoop()
    import uvloop  # type: ignore[import-not-found, unused-ignore]  # only in the bench's environment

    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


# The measuring process: reads a workload's name and its size, writes microseconds.


def measure(kind: str) -> None:
    """Serve requests from standard input until it ends."""
    raise_descriptor_limit()
    for line in sys.stdin:
        name, count = json.loads(line)
        gauge = WORKLOADS[name].gauge()
        loop = new_loop(kind)
        loop.run_until_complete(asyncio.wait_for(bounded(name, gauge, count), PATIENCE))
        loop.close()
        print(json.dumps(gauge.spent / count), flush=True)


async def bounded(name: str, gauge: Gauge, count: int) -> None:
    await WORKLOADS[name].work(gauge, count)


def raise_descriptor_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = IDLE + 1000
    if hard != resource.RLIM_INFINITY:
        needed = min(needed, hard)
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


class Worker:
    """A measuring process for one kind of loop."""

    def __init__(self, kind: str) -> None:
        command = [sys.executable, __file__, "--worker", kind]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, name: str, count: int) -> float:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, count]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"bench-loop: {name} failed, see above")
        return float(json.loads(answer))

    def stop(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


# The asking process.


def main() -> int:
    """Measure and print; 0 unless a workload failed."""
    options = parse_options()
    if options.worker:
        measure(options.worker)
        return 0
    head = heading(options.loops)
    print(head, flush=True)
    figures: Figures = {}
    try:
        for name in options.only:
            show_progress(name)
            figures[name] = measure_rounds(name, options.loops, options.rounds, options.share)
    finally:
        show_progress("")
        tail = f"{table(figures, options.loops)}\n{verdict(figures)}"
        print(tail)
    if options.into:
        insert(options.into, f"{head}\n{tail}")
    return 0


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-loop ARGS=...", description=(__doc__ or "").partition("\n")[0])
    kinds = [OURS, STOCK] + ([UVLOOP] if importlib.util.find_spec("uvloop") else [])
    parser.add_argument("--rounds", type=int, default=9, help="how often each loop is measured (default 9)")
    parser.add_argument("--only", type=names_of(WORKLOADS), default=list(WORKLOADS), help=f"of {', '.join(WORKLOADS)}")
    parser.add_argument("--loops", type=names_of(kinds), default=kinds, help=f"of {', '.join(kinds)}")
    parser.add_argument("--quick", action="store_true", help="one short round: shows that it works, no more")
    parser.add_argument("--into", type=Path, metavar="PAGE", help=f"write the figures there, between two {MARK}")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.share = 0.05 if options.quick else 1.0
    if options.quick:
        options.rounds = 1
    return options


def names_of(known: object) -> Callable[[str], list[str]]:
    def split(text: str) -> list[str]:
        names = text.split(",")
        assert isinstance(known, (dict, list))
        # "10,000 idle transports" has a comma of its own.
        if text in known:
            return [text]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"no {', '.join(unknown)}; there are {', '.join(known)}")
        return names

    return split


def measure_rounds(name: str, loops: list[str], rounds: int, share: float) -> dict[str, list[float]]:
    workload = WORKLOADS[name]
    if workload.is_fresh:
        return {kind: [ask_once(kind, name, workload.count)] for kind in loops}
    count = max(int(workload.count * share) // 100 * 100, 100)
    found: dict[str, list[float]] = {kind: [] for kind in loops}
    workers = {kind: Worker(kind) for kind in loops}
    try:
        for worker in workers.values():
            worker.ask(name, max(count // 10 // 100 * 100, 100))  # warm the interpreter's caches
        for round_number in range(rounds):
            # Whoever comes first in one round comes last in the next.
            for kind in loops[:: -1 if round_number % 2 else 1]:
                found[kind].append(workers[kind].ask(name, count))
    finally:
        for worker in workers.values():
            worker.stop()
    return found


def ask_once(kind: str, name: str, count: int) -> float:
    worker = Worker(kind)
    try:
        return worker.ask(name, count)
    finally:
        worker.stop()


def ratio(figures: dict[str, list[float]], over: str, under: str) -> tuple[float, float, float]:
    """Median, least and most of the rounds' ratios."""
    found = [a / b for a, b in zip(figures[over], figures[under])]
    return statistics.median(found), min(found), max(found)


def heading(loops: list[str]) -> str:
    uvloop_version = ""
    if UVLOOP in loops:
        from importlib.metadata import version

        uvloop_version = f", uvloop {version('uvloop')}"
    return (
        f"{datetime.datetime.now():%Y-%m-%d %H:%M}, {processor()}, {os.cpu_count()} cores, "
        f"{platform.system()} {platform.release()}\n{platform.python_implementation()} {platform.python_version()}"
        f"{uvloop_version}\n\nCost of an operation, the other loop's over ours: above 1, ours is cheaper "
        "(median of the rounds, least - most)\n"
    )


def processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()


def table(figures: Figures, loops: list[str]) -> str:
    rows = [["", "asyncio ÷ ours", "uvloop ÷ ours", *loops, "what is counted"]]
    for name, found in figures.items():
        rows.append([
            f"*{name}*" if name not in LINES else name,
            *(shown(found, other) for other in (STOCK, UVLOOP)),
            *(f"{statistics.median(found[kind]):.4g}" for kind in loops),
            WORKLOADS[name].unit,
        ])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows)


def shown(found: dict[str, list[float]], other: str) -> str:
    if not {OURS, other} <= found.keys():
        return "-"
    middle, least, most = ratio(found, other, OURS)
    return f"{middle:.2f} ({least:.2f} - {most:.2f})" if least < most else f"{middle:.2f}"


def verdict(figures: Figures) -> str:
    """The median over the lines that count, and every line on which the stock loop is better."""
    ratios = {name: ratio(found, STOCK, OURS)[0] for name, found in figures.items() if {OURS, STOCK} <= found.keys()}
    counted = [value for name, value in ratios.items() if name in LINES]
    if not counted:
        return ""
    worse = [f"{name} ({value:.2f})" for name, value in ratios.items() if value < 1]
    return (
        f"\nMedian of the {len(counted)} upright lines: {statistics.median(counted):.2f} times as fast as asyncio's "
        f"selector loop. Behind it on: {', '.join(worse) or 'none'}."
    )


def insert(page: Path, text: str) -> None:
    """Replace what stands between the two marks of a page."""
    before, _, after = page.read_text(encoding="utf-8").split(MARK)
    page.write_text(f"{before}{MARK}\n{text}\n{MARK}{after}", encoding="utf-8")


def show_progress(name: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{name}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
