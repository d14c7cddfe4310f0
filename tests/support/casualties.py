"""Killing a process so that it is known afterwards which of its clients had to suffer.

    ports = kill(pid)

The process is stopped first: then it accepts nothing more, and the kernel's tables say which connections it has. Those
may fail, and no others.
"""

import contextlib
import os
import signal
import time
from pathlib import Path


def children(pid: int) -> list[int]:
    """The processes that `pid` has started and that have not ended."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and _status(int(entry.name))[1] == pid and _status(int(entry.name))[0] != "Z":
                found.append(int(entry.name))
    return sorted(found)


def kill(pid: int) -> set[int]:
    """SIGKILL; the ports of the clients whose connections the process had."""
    os.kill(pid, signal.SIGSTOP)
    try:
        while _status(pid)[0] not in "TtZX":
            time.sleep(0.0005)
        return client_ports(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


def client_ports(pid: int) -> set[int]:
    """The other ends of the TCP connections that a process has; 0 for a socket that listens."""
    inodes = set()
    for descriptor in os.scandir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            link = os.readlink(descriptor.path)
            if link.startswith("socket:["):
                inodes.add(link[8:-1])
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {int(row[2].rpartition(":")[2], 16) for row in rows if row[9] in inodes}


def _status(pid: int) -> tuple[str, int]:
    """proc(5), /proc/pid/stat: the state and the parent."""
    state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    return state, int(parent)
