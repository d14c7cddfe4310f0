"""`python -m bench`: the rounds.

Servers take turns within a round (A B C, A B C, ...), so that a noisy minute hits all of them, and a
ratio compares neighbouring seconds. Each sample is a server freshly started, checked, warmed up,
loaded for some seconds and stopped. A figure never makes the bench fail; a wrong answer does.
"""

import argparse
import resource
import signal
import sys
from collections.abc import Callable, Collection
from types import FrameType

from bench import figures, report, websocket
from bench.load import WORKLOADS, BenchError, Load, Workload, find_wrk, idle_connections, press
from bench.report import Sample, Samples
from bench.servers import BASELINE, KINDS, USUAL, Kind, cores, running


def main() -> int:
    """Measure, print; 1 when a server did not answer right, 130 when stopped by hand."""
    options = _options()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    samples: Samples = {}
    try:
        find_wrk()
        _raise_descriptor_limit()
        print(report.heading(options.servers, options.python), flush=True)
        if cores()[0] == cores()[1]:
            print("One core only: server and load share it, so requests per second mean little.")
        for name in options.workloads:
            _measure_all(WORKLOADS[name], options, samples)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    finally:
        _print(samples, options.servers)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__.partition("\n")[0])
    parser.add_argument("--servers", type=_names(KINDS), default=list(USUAL), help=f"of {', '.join(KINDS)}")
    parser.add_argument(
        "--workloads", type=_names(WORKLOADS), default=list(WORKLOADS), help=f"of {', '.join(WORKLOADS)}"
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each server is measured (default 5)")
    parser.add_argument("--seconds", type=int, default=4, help="how long each time (default 4)")
    parser.add_argument("--python", default=sys.executable, help="the interpreter the servers run on")
    parser.add_argument("--quick", action="store_true", help="one round of a second: shows that it works, no more")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 1
    return options


def _names(known: Collection[str]) -> Callable[[str], list[str]]:
    def split(text: str) -> list[str]:
        names = text.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"no {', '.join(unknown)}; there are {', '.join(known)}")
        return names

    return split


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _raise_descriptor_limit() -> None:
    # Children inherit it: the server holds as many sockets as the load does.
    needed = max(workload.idle for workload in WORKLOADS.values()) + 1_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise BenchError(f"c10k needs {needed} open files, the hard limit is {hard}: raise it (ulimit -Hn)")
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _measure_all(workload: Workload, options: argparse.Namespace, samples: Samples) -> None:
    by_server = samples.setdefault(workload.name, {})
    for turn in range(options.rounds):
        for server in options.servers:
            print(f"  {workload.name} {turn + 1}/{options.rounds} {server:<26}", end="", flush=True)
            if workload.is_compressed and not KINDS[server].deflates:
                print("  does not compress", flush=True)
                continue
            sample = _measure(workload, KINDS[server], options.python, options.seconds)
            by_server.setdefault(server, []).append(sample)
            print(f"{sample.cpu_us:7.1f} µs {sample.requests_per_second:10,.0f}/s", flush=True)


def _measure(workload: Workload, kind: Kind, python: str, seconds: int) -> Sample:
    with running(kind, python) as server:
        server.verify(workload)
        _press(workload, server.port, 1)
        idle_before = figures.memory_kib(server.pid)
        hold = idle_connections if workload.echo is None else websocket.idle_websockets
        with hold(workload.idle, server.port):
            idle_after = figures.memory_kib(server.pid)
            cpu_before = figures.cpu_seconds(server.pid)
            load = _press(workload, server.port, seconds)
            cpu = figures.cpu_seconds(server.pid) - cpu_before
            memory = figures.memory_kib(server.pid)
    return Sample(
        cpu_us=cpu / load.requests * 1e6,
        requests_per_second=load.requests / load.seconds,
        memory_mib=memory / 1024,
        idle_kib=(idle_after - idle_before) / workload.idle if workload.idle else None,
    )


def _press(workload: Workload, port: int, seconds: float) -> Load:
    return press(workload, port, seconds) if workload.echo is None else websocket.press(workload.echo, port, seconds)


def _print(samples: Samples, servers: list[str]) -> None:
    measured = {name: by_server for name, by_server in samples.items() if by_server}
    if not measured:
        return
    print("\n" + report.ratios(measured, BASELINE if BASELINE in servers else servers[0]))
    for name, by_server in measured.items():
        print("\n" + report.absolutes(name, WORKLOADS[name].about, by_server))


if __name__ == "__main__":
    sys.exit(main())
