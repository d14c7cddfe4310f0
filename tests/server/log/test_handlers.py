import io
import logging
import sys

import pytest

from penstock.log.handlers import StreamHandler
from penstock.log.outlet import MOST_WAITING


def record(text: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("x", logging.INFO, "", 0, text, args, None)


def test_it_writes_as_loggings_own_does_but_later() -> None:
    stream = io.StringIO()
    handler = StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    handler.handle(record("number %d", 1))
    handler.flush()
    assert stream.getvalue() == "INFO number 1\n"
    handler.close()


def test_without_a_stream_it_is_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    handler = StreamHandler()
    assert handler.stream is sys.stderr
    handler.close()


def test_a_message_that_cannot_be_formatted_is_reported_and_does_not_raise(capsys: pytest.CaptureFixture[str]) -> None:
    handler = StreamHandler(io.StringIO())
    handler.handle(record("%d", "no number"))
    handler.close()
    assert "--- Logging error ---" in capsys.readouterr().err


def test_drops_are_told_in_the_look_of_the_handler() -> None:
    stream = io.StringIO()
    handler = StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s|%(message)s"))
    handler.outlet._put = MOST_WAITING + 1
    handler.handle(record("one too many"))
    handler.outlet._put = 0
    handler.handle(record("there is room"))
    handler.close()
    assert stream.getvalue() == "INFO|there is room\nWARNING|1 lines are missing here: nobody read them in time\n"
