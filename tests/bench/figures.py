"""What a request cost: the kernel's own books, read from /proc.

CPU is the user and system time of a server's whole process tree, because some servers work in a
child. It is taken over a window of seconds, so the clock tick of 10 ms is under a percent.
Memory is the proportional set size: pages shared with other processes are counted in shares.
"""

import os
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    # The command's name may hold blanks and brackets: fields are counted from its last bracket on.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def process_tree(root: int) -> list[int]:
    """The process and all its descendants, as they stand now."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int(_stat(int(entry.name))[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    tree = [root]
    for pid in tree:
        tree += children.get(pid, [])
    return tree


def cpu_seconds(root: int) -> float:
    """User and system time spent so far by the process and its descendants."""
    ticks = 0
    for pid in process_tree(root):
        fields = _stat(pid)
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_PER_SECOND


def memory_kib(root: int) -> int:
    """Proportional set size of the process and its descendants."""
    total = 0
    for pid in process_tree(root):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total
