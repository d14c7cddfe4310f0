"""What a workload of the loop bench is, and what is read before and after it."""

import gc
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path


class Gauge:
    """What was spent between `begin` and `end`: CPU time of this process in microseconds."""

    def __init__(self) -> None:
        self.spent = 0.0

    def begin(self) -> None:
        gc.collect()
        self.spent = -self.read()

    def end(self) -> None:
        self.spent += self.read()

    def read(self) -> float:
        return time.process_time() * 1e6


class MemoryGauge(Gauge):
    """The same for memory, in bytes. Freed memory is used again before more is asked for: one reading a process."""

    def read(self) -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


Work = Callable[[Gauge, int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Workload:
    """`count` operations make one sample; `unit` says what is counted. A new process for each sample if `is_fresh`."""

    work: Work
    count: int
    unit: str
    gauge: type[Gauge] = Gauge
    is_fresh: bool = False
