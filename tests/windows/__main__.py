"""Run the tests on CPython for Windows under Wine: `python -m windows [--quick] [pytest's arguments]`.

Each run is pytest in an interpreter of its own kind: by itself or behind a virtual environment's launcher, both
without a console; then Ctrl+C is typed at a console (`console.py`). The control is in all of them: WinError 87 must come
where asyncio's proactor loop is asked (`tests/whole/test_windows.py`). SKIPPED and why, where Wine cannot be had.
"""

import subprocess
import sys
import time
from typing import NamedTuple

from . import console, wine

WHOLE = ("tests/whole/test_windows.py", "tests/whole/test_supervisor.py")
WORKERS = ("tests/server/supervisor",)
REACTOR = ("tests/reactor",)
# The short form: what differs most between systems, and one reload.
RELOAD = "tests/whole/test_supervisor.py::test_the_new_code_serves_soon_after_a_save_and_no_request_is_lost[write]"
FEW_WORKERS = tuple(f"tests/server/supervisor/test_{name}.py" for name in ("child", "control", "handover", "reload", "watch", "worker"))
CONSOLE = "tests/server/test_console.py"
FEW_REACTOR = tuple(f"tests/reactor/test_{name}.py" for name in ("child", "poller", "signals", "subprocess", "threaded_pipes"))


class Run(NamedTuple):
    version: str
    venv: bool
    tests: tuple[str, ...]
    limit: float

    def __str__(self) -> str:
        return f"Python {self.version} for Windows" + (", behind a launcher" if self.venv else "")


QUICK = (
    Run("3.11", False, (*FEW_WORKERS, *FEW_REACTOR, CONSOLE), 420),
    Run("3.13", True, ("tests/whole/test_windows.py", "tests/server/supervisor/test_handover.py", RELOAD), 420),
)
ALL = (
    Run("3.11", False, (*REACTOR, *WORKERS, *WHOLE, CONSOLE), 3000),
    Run("3.13", False, (*REACTOR, *WORKERS, *WHOLE, CONSOLE), 3000),
    Run("3.11", True, WORKERS + WHOLE, 3000),
    Run("3.13", True, WORKERS + WHOLE, 3000),
)


def main(words: list[str]) -> int:
    runs = QUICK if "--quick" in words else ALL
    versions = sorted({run.version for run in runs})
    more = [word for word in words if word != "--quick"]
    try:
        program = wine.prepare(versions)
    except wine.NotHere as error:
        print(f"SKIPPED: {error}")
        return 0
    failed = []
    try:
        for run in runs:
            if not _succeeds(program, run, more):
                failed.append(str(run))
        for version in versions:
            if trouble := console.try_ctrl_c(program, version):
                print(trouble)
                failed.append(f"Ctrl+C, Python {version}")
    finally:
        wine.end()
    print("FAILED on Windows: " + "; ".join(failed) if failed else "all that was run on Windows passed")
    return 1 if failed else 0


def _succeeds(program: str, run: Run, more: list[str]) -> bool:
    print(f"--- {run}", flush=True)
    begin = time.monotonic()
    command = [
        program, str(wine.python(run.version, venv=run.venv)), "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider",
        # There is no SIGALRM: a hang is ended by this.
        "-o", "faulthandler_timeout=150", "-o", "faulthandler_exit_on_timeout=true", *run.tests, *more,
    ]  # fmt: skip
    # Through a pipe: Python for Windows starts with no standard stream that Wine has as a file.
    with subprocess.Popen(
        command, cwd=wine.CHECKOUT, env=wine.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process, subprocess.Popen(["cat"], stdin=process.stdout):  # fmt: skip
        try:
            code = process.wait(run.limit)
        except subprocess.TimeoutExpired:
            print(f"no end after {run.limit:.0f} s")
            wine.end()
            process.wait()
            # Which Wine makes 0 of.
            code = -1
    print(f"--- {run}: code {code}, {time.monotonic() - begin:.0f} s", flush=True)
    return code == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
