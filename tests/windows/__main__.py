"""Run the tests on CPython for Windows under Wine: `python -m windows [--quick] [pytest's arguments]`.

Each run is pytest in an interpreter of its own kind: by itself or behind a virtual environment's launcher, with a
console or without; then Ctrl+C is typed at a console (`console.py`). The control is in all of them: WinError 87 must
come where asyncio's proactor loop is asked (`tests/whole/test_windows.py`). Both versions run at once, for mostly a test
waits. A test that hangs or takes the interpreter along is named, and the run goes on behind it.
SKIPPED and why, where Wine cannot be had.
"""

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TextIO

from . import console, wine

WINDOWS = "tests/whole/test_windows.py"
SUPERVISOR = "tests/whole/test_supervisor.py"
WORKERS = ("tests/server/supervisor", WINDOWS, SUPERVISOR)
REACTOR = ("tests/reactor", "tests/server/test_console.py")

# The short form: what differs most between systems, and one reload under load.
CONTROL = f"{WINDOWS}::test_the_second_process_fails_on_the_proactor_loop_and_not_on_ours"
RELOAD = f"{SUPERVISOR}::test_the_new_code_serves_soon_after_a_save_and_no_request_is_lost[write]"
HANDOVER = "tests/server/supervisor/test_handover.py"
PARTS = tuple(f"tests/server/supervisor/test_{name}.py" for name in ("control", "door", "reload", "watch", "worker"))
CHILD = tuple(f"tests/server/supervisor/test_child.py::test_{name}" for name in (
    "it_says_when_it_is_ready_and_that_it_lives", "told_to_drain_it_ends_in_peace",
    "when_the_supervisor_is_gone_it_finishes_and_ends", "signals_of_the_terminal_are_not_for_it",
))  # fmt: skip
LOOP = (*(f"tests/reactor/test_{name}.py" for name in ("child", "pipe_ends", "poller", "signals", "subprocess", "threaded_pipes")), REACTOR[1])

# There is no SIGALRM: a test that takes so many seconds, several times what any takes, ends the interpreter.
HANG = 150
OPTIONS = ("-q", "--tb=short", "-p", "no:cacheprovider",
           "-o", f"faulthandler_timeout={HANG}", "-o", "faulthandler_exit_on_timeout=true")  # fmt: skip
# Of the interpreter in one run; with more something is broken for good.
MOST_ENDS = 5


class Run(NamedTuple):
    version: str
    venv: bool
    console: bool
    tests: tuple[str, ...]
    limit: float

    def __str__(self) -> str:
        launcher = ", behind a launcher" if self.venv else ""
        return f"Python {self.version} for Windows{launcher}, {'with a' if self.console else 'no'} console"


class Typing(NamedTuple):
    """Ctrl+C, so many times."""

    version: str
    venv: bool
    presses: int

    def __str__(self) -> str:
        return f"Ctrl+C typed {self.presses}x, Python {self.version} for Windows" + (", behind a launcher" if self.venv else "")


QUICK: tuple[Run | Typing, ...] = (
    Run("3.11", False, False, (CONTROL, *PARTS, HANDOVER, *CHILD, *LOOP, RELOAD), 420),
    Typing("3.11", False, 1),
    Run("3.13", True, True, (WINDOWS, HANDOVER), 420),
    Typing("3.13", True, 1),
    Typing("3.13", True, 2),
)
ALL: tuple[Run | Typing, ...] = (
    Run("3.11", False, False, REACTOR + WORKERS, 3000),
    Run("3.11", True, True, WORKERS, 3000),
    Run("3.13", False, True, REACTOR + WORKERS, 3000),
    Run("3.13", True, False, WORKERS, 3000),
    *(Typing(version, venv, presses) for version in ("3.11", "3.13") for venv in (False, True) for presses in (1, 2)),
)

_saying = threading.Lock()
_is_over = threading.Event()


def main(words: list[str]) -> int:
    steps = QUICK if "--quick" in words else ALL
    versions = sorted({step.version for step in steps})
    more = [word for word in words if word != "--quick"]
    try:
        program = wine.prepare(versions)
    except wine.NotHere as error:
        print(f"SKIPPED: {error}")
        return 0

    def take(version: str) -> list[str]:
        return [line for step in steps if step.version == version for line in _failures(program, step, more)]

    with ThreadPoolExecutor(len(versions)) as threads:
        try:
            failed = [line for found in list(threads.map(take, versions)) for line in found]
        finally:
            # Interrupted, perhaps: then nothing is begun any more.
            _is_over.set()
            for version in versions:
                wine.end(version)
    print("\n".join(failed) if failed else "all that was run on Windows passed")
    return 1 if failed else 0


def _failures(program: str, step: Run | Typing, more: list[str]) -> list[str]:
    """Take the step; what failed, each in a line that begins with FAILED."""
    if _is_over.is_set():
        return []
    _say(step.version, f"--- {step}")
    begin = time.monotonic()
    wine.keep(step.version)
    python = wine.python(step.version, venv=step.venv)
    with tempfile.TemporaryDirectory(prefix="windows", ignore_cleanup_errors=True) as folder:
        if isinstance(step, Run):
            failed = _run(program, python, step, more, Path(folder))
        else:
            trouble = console.try_ctrl_c([program, str(python)], wine.environment(step.version), Path(folder), step.presses)
            failed = [trouble] if trouble else []
    if failed:
        wine.end(step.version)
    _say(step.version, f"--- {step}: {'FAILED' if failed else 'passed'}, {time.monotonic() - begin:.0f} s")
    return [f"FAILED on {step}: {line}" for line in failed]


def _run(program: str, python: Path, run: Run, more: list[str], folder: Path) -> list[str]:
    """Run pytest, and where it hangs or dies, again from there; what failed."""
    end = time.monotonic() + run.limit
    failed: list[str] = []
    last = ""
    for _ in range(MOST_ENDS):
        for name, text in (("said", ""), ("failed", ""), ("running", "pytest's start")):
            (folder / name).write_text(text)
        words = ["-m", "windows.inside", wine.windows_path(folder), last, *OPTIONS, *run.tests, *more]
        code = _session([program, str(python), *words], run, folder, end)
        failed += (folder / "failed").read_text(encoding="utf-8").splitlines()
        running = (folder / "running").read_text(encoding="utf-8")
        if not running:
            return failed or ([f"pytest ended with code {code}"] if code else [])
        failed.append(f"{running} did not come to its end, nor did the interpreter (code {code})")
        wine.end(run.version)
        if running == last or time.monotonic() > end or _is_over.is_set():
            break
        last = running
    return [*failed, "what is behind that has not been run"]


def _session(command: list[str], run: Run, folder: Path, end: float) -> int | None:
    """One pytest, said as it goes; its exit code, None if it had to be ended."""
    process = console.start(command, wine.CHECKOUT, wine.environment(run.version), on_terminal=run.console).process
    with open(folder / "said", encoding="utf-8", errors="replace") as said:
        for line in _lines(said, process, end):
            _say(run.version, line)
    code = process.poll()
    process.kill()
    process.wait()
    return code


def _lines(said: TextIO, process: subprocess.Popen[bytes], end: float) -> Iterator[str]:
    """What is said, line by line, until the process ends or the time is up."""
    line = ""
    while True:
        has_ended = time.monotonic() > end
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
            has_ended = True
        while part := said.readline():
            line += part
            if line.endswith("\n"):
                yield line.rstrip()
                line = ""
        if has_ended:
            break
    if line:
        yield line


def _say(version: str, line: str) -> None:
    with _saying:
        print(f"{version} | {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
