import ctypes
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from penstock import console


def test_where_a_terminal_says_it_by_a_signal_nothing_is_done() -> None:
    if sys.platform != "win32":
        console.on_close(lambda: 1 / 0)
        assert console._kept == []


def test_a_console_that_is_closed_asks_and_waits_and_other_events_are_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as that can be seen without Windows: what the system would be given, called as it would."""
    installed: list[Any] = []
    asked: list[str] = []
    system = SimpleNamespace(kernel32=SimpleNamespace(SetConsoleCtrlHandler=lambda *given: installed.append(given)))
    monkeypatch.setattr(console, "sys", SimpleNamespace(platform="win32"))
    monkeypatch.setattr(console, "_kept", [])
    monkeypatch.setattr(ctypes, "WINFUNCTYPE", lambda *kinds: lambda handler: handler, raising=False)
    monkeypatch.setattr(ctypes, "windll", system, raising=False)
    monkeypatch.setattr(time, "sleep", lambda seconds: asked.append(f"waits {seconds:.0f}"))
    console.on_close(lambda: asked.append("asked"))
    ((handler, add),) = installed
    assert add == 1 and console._kept == [handler]
    assert (handler(0), handler(1), asked) == (0, 0, [])
    for event in (2, 5, 6):
        asked.clear()
        assert handler(event) == 1 and asked == ["asked", "waits 60"]
