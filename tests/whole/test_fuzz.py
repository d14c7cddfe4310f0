"""A few hundred spoilt requests to a live server with every run of the tests."""

import random

import pytest

import fuzz


def test_a_short_run_on_a_live_server_finds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--inputs", "500", "--live", "--seed", str(random.randrange(1 << 32))]) == 0, capsys.readouterr().out


def test_a_short_run_of_frames_on_a_live_server_finds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--websocket", "--live", "--inputs", "500", "--seed", str(random.randrange(1 << 32))]) == 0, capsys.readouterr().out
