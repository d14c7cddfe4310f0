"""Whole processes that end without a thread are in test_runner.py."""

import os
import threading

import pytest
from support.serving import PATIENCE

from penstock import leaving


def test_leaving_waits_for_threads_as_long_as_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr("logging.shutdown", lambda: None)
    release = threading.Event()
    thread = threading.Thread(target=release.wait, args=(PATIENCE,))
    thread.start()
    assert leaving.leave(0, 0.05) == 0 and ended == [0]
    assert leaving.leave(1, None) == 1 and ended == [0, 1]
    threading.Timer(0.3, release.set).start()
    assert leaving.leave(0, None) == 0 and ended == [0, 1]
    thread.join()
    assert leaving.leave(0, 0) == 0 and ended == [0, 1]


def test_a_wait_for_a_thread_looks_now_and_then_whether_a_signal_has_come() -> None:
    waits: list[float | None] = []

    class Busy(threading.Thread):
        def is_alive(self) -> bool:
            return len(waits) < 3

        def join(self, timeout: float | None = None) -> None:
            waits.append(timeout)

    assert leaving._join([Busy()], None) == []
    assert len(waits) == 3 and all(each is not None and each <= 1 for each in waits)
