"""Loggers as they were after each test, and what has been written to the standard streams."""

import logging
import sys
from collections.abc import Iterator

import pytest

from support.logs import LOGGERS, flush


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    yield
    for name in LOGGERS:
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
            handler.close()
        for each in list(logger.filters):
            logger.removeFilter(each)
        logger.setLevel(logging.NOTSET)
        logger.propagate = True


class Written:
    """All that has come out of one standard stream."""

    def __init__(self, capsys: pytest.CaptureFixture[str], which: int) -> None:
        self._capsys = capsys
        self._which = which
        self._so_far = ""

    def getvalue(self) -> str:
        flush()
        self._so_far += self._capsys.readouterr()[self._which]
        return self._so_far


@pytest.fixture
def out(capsys: pytest.CaptureFixture[str]) -> Written:
    return Written(capsys, 0)


@pytest.fixture
def err(capsys: pytest.CaptureFixture[str]) -> Written:
    return Written(capsys, 1)


@pytest.fixture
def no_console(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program without a console, as under pythonw."""
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "stdout", None)
