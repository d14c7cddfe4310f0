"""pytest as it runs inside: `python.exe -m windows.inside FOLDER AFTER [pytest's arguments]`.

What it says goes to the file `said` in FOLDER, because a console, where there is one, is Wine's to draw on. Two more
outlive an interpreter that a hang or a crash has ended: `failed` lists what has failed so far, `running` names the test
that runs, and nothing after a session that came to its end. AFTER and all tests before it are left out: they have run.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


class Notes:
    """A plugin: which test runs now, which have failed, and where to begin."""

    def __init__(self, folder: Path, after: str) -> None:
        self._running = folder / "running"
        self._failed = folder / "failed"
        self._after = after

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        names = [item.nodeid for item in items]
        if self._after in names:
            del items[: names.index(self._after) + 1]

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._running.write_text(nodeid, encoding="utf-8")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def pytest_sessionfinish(self) -> None:
        self._running.write_text("")

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.failed:
            with self._failed.open("a", encoding="utf-8") as file:
                file.write(f"{report.nodeid}\n")


def main(folder: Path, after: str, arguments: list[str]) -> int:
    said = os.open(folder / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(said, number)
    sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
    # Only now, so that a failure is said.
    import pytest

    return pytest.main(arguments, [Notes(folder, after)])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
