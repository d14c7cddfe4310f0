"""Processes other than the test's own, on every system: whose children there are, who lives, and signals to them.

On Windows, where a process cannot be sent a signal, those that tests start take them by other means
(support/signalled); and a virtual environment's launcher, which has started the interpreter, counts as that.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

SIGNALLED = Path(__file__).with_name("signalled")
PATIENCE = 60.0


def children(pid: int) -> list[int]:
    """The processes that `pid` has started and that have not ended."""
    table = _table()
    if sys.platform == "win32":
        found = [child for child in _children_of(_interpreter(pid, table), table)]
        return sorted(filter(is_alive, (_interpreter(child, table) for child in found)))
    return sorted(_children_of(pid, table))


def is_alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    if sys.platform != "win32":
        return pid in _table()
    import _winapi

    try:
        handle = _winapi.OpenProcess(0x00100000, False, pid)  # SYNCHRONIZE
    except OSError:
        return False
    try:
        return _winapi.WaitForSingleObject(handle, 0) != _winapi.WAIT_OBJECT_0
    finally:
        _winapi.CloseHandle(handle)


def has_begun(pid: int) -> bool:
    """Whether it runs Python already. Under Wine one whose parent is killed just before may neither begin nor end."""
    return sys.platform != "win32" or _takes_signals(pid)


def send(pid: int, number: int) -> None:
    """Send a signal that both systems know."""
    if sys.platform != "win32":
        os.kill(pid, number)
        return
    with socket.create_connection(("127.0.0.1", _port(_interpreter(pid, _table()))), timeout=PATIENCE) as caller:
        caller.sendall(str(number).encode())


def kill(pid: int) -> None:
    """End it without asking: SIGKILL, TerminateProcess."""
    os.kill(pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)


def eventually(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Until it holds: for what nobody announces."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.05)


@cache
def signals_folder() -> str:
    """Where the processes of this run write down at which port they take signals."""
    return tempfile.mkdtemp(prefix="signals")


def environment() -> dict[str, str]:
    """What a child needs in its environment, beside SIGNALLED on its import path."""
    return {"SIGNALS_OF_TESTS": signals_folder()} if sys.platform == "win32" else {}


def bare_environment() -> dict[str, str]:
    """For a child that is to find nothing of the checkout."""
    path = {"PYTHONPATH": str(SIGNALLED)} if sys.platform == "win32" else {}
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**kept, **environment(), **path}


def _children_of(pid: int, table: dict[int, tuple[int, str]]) -> list[int]:
    return [child for child, (parent, _) in table.items() if parent == pid and child != pid]


def _interpreter(pid: int, table: dict[int, tuple[int, str]]) -> int:
    """The process itself; of a launcher the one it has started."""
    found = [child for child in _children_of(pid, table) if table[child][1].startswith("python")]
    return found[0] if len(found) == 1 and not _takes_signals(pid) else pid


def _port(pid: int) -> int:
    """Where it takes signals. It may have started only just now."""
    end = time.monotonic() + PATIENCE
    path = Path(signals_folder()) / str(pid)
    while not _takes_signals(pid) or not path.read_text().endswith("\n"):
        assert time.monotonic() < end, f"process {pid} takes no signals"
        time.sleep(0.01)
    return int(path.read_text())


def _table() -> dict[int, tuple[int, str]]:
    """All processes that run: id to the parent's id and the program's name."""
    if sys.platform == "win32":
        return _windows_table()
    if sys.platform == "linux":
        return _linux_table()
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat=,comm="], capture_output=True, text=True, check=True)
    rows = [line.split(None, 3) for line in listed.stdout.splitlines()]
    return {int(pid): (int(parent), name) for pid, parent, state, name in rows if not state.startswith("Z")}


def _linux_table() -> dict[int, tuple[int, str]]:
    found = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit():
                head, _, rest = (entry / "stat").read_text().rpartition(")")
                state, parent = rest.split()[:2]
                if state != "Z":
                    found[int(entry.name)] = int(parent), head.partition("(")[2]
    return found


def _takes_signals(pid: int) -> bool:
    """Whether it has written down where; a file from before its begin is of another process that had its number."""
    try:
        return (Path(signals_folder()) / str(pid)).stat().st_mtime >= _begin(pid)
    except OSError:
        return False


def _begin(pid: int) -> float:
    """When the process was made, in seconds since 1970. OSError when it is gone. On Windows only."""
    windows: Any = ctypes
    kernel = windows.WinDLL("kernel32")
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(kernel.OpenProcess(0x1000, False, pid))  # PROCESS_QUERY_LIMITED_INFORMATION
    times = (ctypes.c_uint64 * 4)()
    each = [ctypes.byref(times, 8 * number) for number in range(4)]
    known = kernel.GetProcessTimes(handle, *each)
    kernel.CloseHandle(handle)
    if not known:
        raise OSError(f"process {pid} is gone")
    return float(times[0]) / 1e7 - 11_644_473_600


class _Entry(ctypes.Structure):
    """PROCESSENTRY32."""

    _fields_ = [
        ("size", ctypes.c_uint32), ("usage", ctypes.c_uint32), ("pid", ctypes.c_uint32), ("heap", ctypes.c_void_p),
        ("module", ctypes.c_uint32), ("threads", ctypes.c_uint32), ("parent", ctypes.c_uint32), ("priority", ctypes.c_int32),
        ("flags", ctypes.c_uint32), ("name", ctypes.c_char * 260),
    ]


def _windows_table() -> dict[int, tuple[int, str]]:
    windows: Any = ctypes
    kernel = windows.WinDLL("kernel32")
    kernel.CreateToolhelp32Snapshot.restype = ctypes.c_void_p
    snapshot = ctypes.c_void_p(kernel.CreateToolhelp32Snapshot(2, 0))  # TH32CS_SNAPPROCESS
    entry, found = _Entry(size=ctypes.sizeof(_Entry)), {}
    try:
        more = kernel.Process32First(snapshot, ctypes.byref(entry))
        while more:
            found[entry.pid] = entry.parent, entry.name.decode(errors="replace").lower()
            more = kernel.Process32Next(snapshot, ctypes.byref(entry))
    finally:
        kernel.CloseHandle(snapshot)
    return found
