"""docs/reload.md and docs/windows.md say what is so."""

import re
import subprocess
import sys

import pytest
from support.serving import CHECKOUT, PATIENCE, environment

from penstock.settings import options

RELOAD = (CHECKOUT / "docs" / "reload.md").read_text(encoding="utf-8")
WINDOWS = (CHECKOUT / "docs" / "windows.md").read_text(encoding="utf-8")


def test_every_option_of_processes_and_reload_is_in_the_table_with_its_default() -> None:
    table = dict(re.findall(r"^\| (`--.*?) \| (.*?) \|", RELOAD, re.MULTILINE))
    for option in options():
        if option.doc.group == "Processes and reload" or option.name == "timeout_reload":
            rows = [default for flags, default in table.items() if f"`{option.flag}`" in flags]
            assert len(rows) == 1, option.flag
            if isinstance(option.default, float):
                assert float(rows[0]) == option.default


def test_the_pages_name_only_options_and_files_that_there_are() -> None:
    flags = {"--json"} | {option.flag for option in options()}
    for page in (RELOAD, WINDOWS):
        assert set(re.findall(r"--[a-z-]+[a-z]", page)) <= flags
        for path in re.findall(r"`((?:tests|docs)/[\w/.]+)`", page):
            assert (CHECKOUT / path).exists(), path


def test_the_error_that_people_search_for_is_there_as_they_see_it() -> None:
    for line in ("Accept failed on a socket", "OSError: [WinError 87] The parameter is incorrect",
                 "_overlapped.CreateIoCompletionPort(obj.fileno(), self._iocp, 0, 0)"):
        assert line in WINDOWS


@pytest.mark.skipif(sys.platform == "win32", reason="there it shows the failure itself")
def test_the_example_of_the_failure_says_where_it_can_be_seen() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", CHECKOUT / "docs" / "examples" / "winerror87.py"], env=environment(),
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == ""
    assert f"not on {sys.platform}; on Windows" in done.stdout


@pytest.mark.skipif(sys.platform != "win32", reason="the proactor loop is Windows' own")
def test_the_example_shows_the_failure_and_the_way_out() -> None:
    done = subprocess.run(
        [sys.executable, CHECKOUT / "docs" / "examples" / "winerror87.py"], env=environment(),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines[0] == "proactor loop" and "accepted" in lines[1] and "87" in lines[2]
    assert lines[3] == "penstock loop" and "accepted" in lines[4] and "accepted" in lines[5]
