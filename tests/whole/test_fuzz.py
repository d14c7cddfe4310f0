"""A few hundred spoilt requests to a live server with every run of the tests."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

import fuzz


def test_a_short_run_on_a_live_server_finds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--inputs", "500", "--live", "--seed", str(random.randrange(1 << 32))]) == 0, capsys.readouterr().out


def test_a_short_run_of_frames_on_a_live_server_finds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--websocket", "--live", "--inputs", "500", "--seed", str(random.randrange(1 << 32))]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("program", ["fuzz.py", "soak.py", "soak_reload.py"])
def test_the_long_runs_need_nothing_but_the_checkout(program: str) -> None:
    """Without site-packages, where an installed penstock would be found."""
    command = [sys.executable, "-E", "-S", str(Path(__file__).parent.parent / program), "--help"]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).returncode == 0
