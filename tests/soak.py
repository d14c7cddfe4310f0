"""`make soak`: thousands of clients that drip or stop reading, all at once, beside a normal load that must not notice.

A server is started as its users start it, on a core of its own. wrk, connected first, keeps 64 connections busy: for a
while alone, then beside 5,000 clients that drip the head of a request, 2,000 that drip a body and 500 that never read
a stream they asked for; these come all at once and heed nothing (`support/offenders.py`). What is shown, second by
second and in sum: the rate of the normal load, what a request of it costs the server (everything the offenders cost is
counted on it), its memory, how many offenders are left and when the last of each kind was gone. Loopback only.

wrk and the offenders share the other core, and other programs may use either: then the rate says less than the server
can do. So the second figure counts. A normal request costs the server so much CPU time alone; what it spends beyond that
in each second beside the offenders is theirs, and the rest of a core's second is what it keeps for the others.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

TESTS = Path(__file__).parent
sys.path[:0] = [str(TESTS), str(TESTS.parent / "server"), str(TESTS.parent / "reactor")]

from bench.load import BROWSER, BenchError, find_wrk  # noqa: E402  # found through the line above
from bench.servers import cores  # noqa: E402
from support import offenders  # noqa: E402
from support.offenders import KINDS  # noqa: E402
from support.serving import Server, serving  # noqa: E402
from support.soaking import mapped  # noqa: E402

GOAL = 0.8
SLACK = 5.0
"""Seconds by which an offender may outlast its limit: half a second until the sweep, two until a closing connection is
cut, one until the next octet shows it, and the rest for a machine that has other things to do."""

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Sample:
    """The server's books at one moment."""

    at: float
    answered: int
    cpu: float
    rss: int
    kernel: int
    """Octets in all TCP sockets of the machine, both ends."""
    descriptors: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """What happened between two samples."""

    rate: float
    cpu_us: float
    busy: float

    @classmethod
    def between(cls, first: Sample, last: Sample) -> "Stretch":
        """From one sample to a later one."""
        seconds, answered, cpu = last.at - first.at, last.answered - first.answered, last.cpu - first.cpu
        return cls(answered / seconds, cpu / max(1, answered) * 1e6, cpu / seconds)


def main() -> int:
    """Soak, print, judge: 1 when a goal is missed, 130 when stopped by hand."""
    options = _options()
    try:
        find_wrk()
        _raise_descriptor_limit(sum(getattr(options, kind) for kind in KINDS) + 500)
        with ExitStack() as stack:
            return soak(options, stack)
    except BenchError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make soak ARGS=...", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--alone", type=int, help="seconds of normal load before the others come (default 8)")
    parser.add_argument("--seconds", type=int, help="seconds of normal load from then on (default 50)")
    parser.add_argument("--heads", type=int, help="clients that drip a head (default 5000)")
    parser.add_argument("--bodies", type=int, help="clients that drip a body (default 2000)")
    parser.add_argument("--readers", type=int, help="clients that do not read (default 500)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the clients, short limits: shows that it works, no more")
    options = parser.parse_args()
    options.limits = {"head": 2.0, "body": 3.0, "write": 3.0} if options.quick else {"head": 10.0, "body": 30.0, "write": 30.0}
    usual = {"alone": 8, "seconds": 50, "heads": 5000, "bodies": 2000, "readers": 500}
    quick = {"alone": 2, "seconds": 10, "heads": 500, "bodies": 200, "readers": 50}
    for name, value in (quick if options.quick else usual).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def _raise_descriptor_limit(needed: int) -> None:
    # The children inherit it.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise BenchError(f"so many clients need {needed} open files, the hard limit is {hard}: raise it (ulimit -Hn)")
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def soak(options: argparse.Namespace, stack: ExitStack) -> int:
    """Start everything, watch it, print the result."""
    server_core, load_core = cores()
    os.sched_setaffinity(0, load_core)
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    count = Path(folder, "count")
    count.write_bytes(bytes(8))
    server = stack.enter_context(_started(options, str(count)))
    os.sched_setaffinity(server.pid, server_core)
    books = Books(server.pid, mapped(str(count)))
    if server_core == load_core:
        print("One core only: server and load share it, so the rate means little.")
    with _normal_load(server.port, options.alone + options.seconds) as wrk:
        _wait_answers(books, wrk)
        print("second   normal/s  CPU us each  server busy   RSS MiB  sockets   left: heads  bodies  readers", flush=True)
        before = books.sample()
        alone = watch(books, before, options.alone, None)
        with _offenders(options, server.port) as crowd:
            beside = watch(books, alone[-1], options.seconds, crowd)
        said = wrk.communicate(timeout=60)[0]
    time.sleep(1)
    result = Result(options, before, alone, beside, books.sample(), crowd.last, crowd.began, said)
    print(result)
    if "Traceback" in server.stderr:
        print("The server wrote a traceback:\n" + server.stderr[-4000:])
        return 1
    return 0 if result.is_good else 1


def _started(options: argparse.Namespace, count: str) -> AbstractContextManager[Server]:
    limits = options.limits
    return serving(
        "soaking:app", "--app-dir", str(TESTS / "support"), "--no-access-log",
        "--timeout-first-byte", f"{limits['head']}", "--timeout-head", f"{limits['head']}",
        "--timeout-body", f"{limits['body']}", "--timeout-write", f"{limits['write']}",
        env={"SOAK_COUNT": count},
    )  # fmt: skip


class Books:
    """Reads what the kernel and the application count."""

    def __init__(self, pid: int, answered: memoryview) -> None:
        self._proc = Path(f"/proc/{pid}")
        self._answered = answered

    def sample(self) -> Sample:
        """How things stand."""
        # The command's name may hold blanks and brackets: fields are counted from its last bracket on.
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return Sample(
            time.monotonic(), self._answered[0], (int(fields[11]) + int(fields[12])) / _TICKS, int(fields[21]) * _PAGE,
            _kernel_memory(), len(os.listdir(self._proc / "fd")),
        )  # fmt: skip


def _kernel_memory() -> int:
    pages = re.search(r"^TCP:.* mem (\d+)", Path("/proc/net/sockstat").read_text(), re.MULTILINE)
    return int(pages[1]) * _PAGE if pages is not None else 0


@contextmanager
def _normal_load(port: int, seconds: int) -> Iterator[subprocess.Popen[str]]:
    command = [find_wrk(), "--threads", "1", "--connections", str(_CONNECTIONS), "--duration", f"{seconds + 1}s", "--latency"]
    for name, value in BROWSER.items():
        command += ["--header", f"{name}: {value}"]
    with _ended(subprocess.Popen([*command, f"http://127.0.0.1:{port}/"], stdout=subprocess.PIPE, text=True)) as process:
        yield process


def _wait_answers(books: Books, wrk: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 10
    while books.sample().answered < 1000:
        if time.monotonic() > deadline or wrk.poll() is not None:
            raise BenchError("the normal load got no answers")
        time.sleep(0.05)


class Crowd:
    """The offenders' process, and what it said last."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.began = time.monotonic()
        self.last: offenders.Report = {}
        assert process.stdout is not None
        threading.Thread(target=self._read, args=(process.stdout,), daemon=True).start()

    def _read(self, pipe: IO[str]) -> None:
        for line in pipe:
            self.last = json.loads(line)


@contextmanager
def _offenders(options: argparse.Namespace, port: int) -> Iterator[Crowd]:
    wanted = {"port": port, "seconds": options.seconds, **{kind: getattr(options, kind) for kind in KINDS}}
    command = [sys.executable, "-m", "support.offenders", json.dumps(wanted)]
    with _ended(subprocess.Popen(command, cwd=TESTS, stdout=subprocess.PIPE, text=True)) as process:
        yield Crowd(process)


@contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Whatever happens, the child is ended."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)


def watch(books: Books, begun: Sample, seconds: int, crowd: Crowd | None) -> list[Sample]:
    """A line for each second; the samples."""
    samples = [begun]
    for second in range(1, seconds + 1):
        time.sleep(max(0.0, begun.at + second - time.monotonic()))
        samples.append(books.sample())
        stretch = Stretch.between(*samples[-2:])
        left = "".join(f"{_left(crowd.last[kind]):9.0f}" for kind in KINDS) if crowd is not None and crowd.last else ""
        now = samples[-1]
        print(
            f"{second:6} {stretch.rate:10,.0f} {stretch.cpu_us:12.1f} {stretch.busy:12.0%} {now.rss / 2**20:9.1f}"
            f" {now.descriptors:8} {left:>33}",
            flush=True,
        )
    return samples


def _left(tally: dict[str, float]) -> float:
    return tally["waiting"] + tally["connected"] + tally["told"]


class Result:
    """The figures in sum, and whether they are what they should be."""

    def __init__(
        self, options: argparse.Namespace, before: Sample, alone: list[Sample], beside: list[Sample], after: Sample,
        crowd: offenders.Report, began: float, said: str,
    ) -> None:  # fmt: skip
        ended = max(tally["ended_at"] for tally in crowd.values()) or beside[-1].at
        self._options, self._crowd, self._began = options, crowd, began
        self._rss = before.rss, max(each.rss for each in beside), after.rss
        self._kernel = before.kernel, max(each.kernel for each in beside), after.kernel
        self._seconds = [Stretch.between(*pair) for pair in zip(beside, beside[1:], strict=False) if pair[0].at < ended]
        last = next((each for each in beside if each.at >= ended), beside[-1])
        self._alone, self._beside = Stretch.between(alone[0], alone[-1]), Stretch.between(beside[0], last)
        self._errors = re.findall(r"Socket errors:.*|Non-2xx or 3xx responses:.*", said)
        self._latency = " ".join(" ".join(line.split()) for line in re.findall(r"^ +(?:50|99)% +\S+", said, re.MULTILINE))
        self.rate_ratio = self._beside.rate / self._alone.rate
        self.kept = 1 - self._theirs(self._beside)
        self._least_kept = min(1 - self._theirs(each) for each in self._seconds)

    @property
    def is_good(self) -> bool:
        """Every goal is met."""
        return self.kept >= GOAL and not self._errors and not self._late()

    def _theirs(self, stretch: Stretch) -> float:
        """What the offenders cost: the part of a core that the normal requests do not account for."""
        return max(0.0, stretch.busy - stretch.rate * self._alone.cpu_us / 1e6)

    def _late(self) -> list[str]:
        limits = dict(zip(KINDS, self._options.limits.values(), strict=True))
        return [kind for kind, tally in self._crowd.items() if _left(tally) or tally["lasted"] > limits[kind] + SLACK]

    def __str__(self) -> str:
        alone, beside = self._alone, self._beside
        lines = [
            "",
            f"normal rate      {alone.rate:,.0f}/s alone, {beside.rate:,.0f}/s beside the offenders: {self.rate_ratio:.2f} of it"
            f" (the worst second {min(each.rate for each in self._seconds):,.0f}/s); server busy {alone.busy:.0%} and {beside.busy:.0%}",
            f"server's CPU     {alone.cpu_us:.1f} us for each normal request alone; the offenders took {1 - self.kept:.1%} of a core:"
            f" it keeps {self.kept:.2f} for the others (goal: {GOAL}; the worst second {self._least_kept:.2f})",
            f"normal errors    {'; '.join(self._errors) or 'none'} (goal: none); latency {self._latency}",
            "server's memory  RSS {:.1f} MiB before, {:.1f} at most, {:.1f} afterwards".format(*(each / 2**20 for each in self._rss)),
            "kernel's memory  {:.1f} MiB in sockets before, {:.1f} at most, {:.1f} afterwards".format(*(each / 2**20 for each in self._kernel)),
        ]
        limits = dict(zip(KINDS, self._options.limits.values(), strict=True))
        for kind, tally in self._crowd.items():
            when = f"the last was gone after {tally['ended_at'] - self._began:.1f} s" if not _left(tally) else f"{_left(tally):.0f} ARE LEFT"
            lines.append(
                f"{kind:16} {tally['gone']:.0f} gone; {when}; one lasted {tally['lasted']:.1f} s at most (limit {limits[kind]:g} s)"
            )
        lines.append("all goals met" if self.is_good else f"MISSED: kept {self.kept:.2f}, errors {self._errors}, late {self._late()}")
        return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
