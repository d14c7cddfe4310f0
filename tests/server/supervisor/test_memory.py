import os
import sys
from typing import Any

import pytest

from penstock.supervisor.memory import resident


def test_it_is_that_of_this_process_and_grows_with_it() -> None:
    before = resident()
    assert before is not None and before > 1 << 20
    ballast = b"x" * (64 << 20)
    after = resident()
    assert after is not None and after - before > len(ballast) // 2
    del ballast


@pytest.mark.skipif(sys.platform == "win32", reason="another way is gone there")
@pytest.mark.parametrize("platform, octets", [("darwin", 5000), ("freebsd14", 5000 << 10)])
def test_where_the_present_is_not_told_it_is_the_most_there_ever_was(
    platform: str, octets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource")

    def most(who: int) -> Any:
        return os.times() and type("Usage", (), {"ru_maxrss": 5000})

    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", most)
    assert resident() == octets


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc elsewhere")
def test_nobody_knows_where_nobody_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> Any:
        raise PermissionError

    monkeypatch.setattr("builtins.open", refuse)
    assert resident() is None
