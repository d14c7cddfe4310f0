"""What is printed: machine and versions, ratios first, absolutes after. Tables are Markdown, for the README."""

import datetime
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.servers import CHECKOUT, KINDS

VERSIONS = """
import importlib.metadata as metadata, json, platform, sys
print(json.dumps([platform.python_version(), {name: metadata.version(name) for name in sys.argv[1:]}]))
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One server under one workload in one round."""

    cpu_us: float
    requests_per_second: float
    memory_mib: float
    idle_kib: float | None


# By workload, then by server: one sample a round.
Samples = dict[str, dict[str, list[Sample]]]


def heading(servers: Sequence[str], python: str) -> str:
    """Date, machine and versions, in a few lines."""
    packages = sorted({package for server in servers for package in KINDS[server].packages})
    done = subprocess.run([python, "-c", VERSIONS, *packages], capture_output=True, text=True, check=True)
    version, installed = json.loads(done.stdout)
    lines = [
        f"{datetime.datetime.now():%Y-%m-%d %H:%M}, {_processor()}, {os.cpu_count()} cores, "
        f"{platform.system()} {platform.release()}",
        f"Python {version}; penstock {_own_version()}; " + ", ".join(f"{k} {v}" for k, v in installed.items()),
    ]
    return "\n".join(lines)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _own_version() -> str:
    done = subprocess.run(
        ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "(no commit)"


def ratios(samples: Samples, baseline: str) -> str:
    """CPU per request as a multiple of the baseline's in the same round: median, least and most."""
    rows = [["", *samples]]
    servers = list(dict.fromkeys(server for by_server in samples.values() for server in by_server))
    for server in servers:
        rows.append([server, *(_ratio(by_server, server, baseline) for by_server in samples.values())])
    return f"CPU per request, × {baseline} (median of rounds, least - most)\n\n{_table(rows)}"


def _ratio(by_server: dict[str, list[Sample]], server: str, baseline: str) -> str:
    pairs = zip(by_server.get(server, []), by_server.get(baseline, []), strict=False)
    found = [mine.cpu_us / base.cpu_us for mine, base in pairs]
    if not found:
        return "-"
    return f"{statistics.median(found):.2f} ({min(found):.2f} - {max(found):.2f})"


def absolutes(workload: str, about: str, by_server: dict[str, list[Sample]]) -> str:
    """One workload's figures, medians of the rounds."""
    rows = [["", "CPU µs a request", "requests/s", "memory MiB", "KiB an idle connection"]]
    for server, samples in by_server.items():
        idle = [sample.idle_kib for sample in samples if sample.idle_kib is not None]
        rows.append([
            server,
            f"{statistics.median(s.cpu_us for s in samples):.1f} (least {min(s.cpu_us for s in samples):.1f})",
            f"{statistics.median(s.requests_per_second for s in samples):,.0f}",
            f"{statistics.median(s.memory_mib for s in samples):.1f}",
            f"{statistics.median(idle):.2f}" if idle else "-",
        ])
    return f"{workload}: {about}\n\n{_table(rows)}"


def _table(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rows = [rows[0], ["-" * width for width in widths], *rows[1:]]
    return "\n".join("| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows)
