import asyncio
import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from penstock import log
from penstock.settings import Settings
from support.serving import environment

LOGGERS = ("penstock", "penstock.error", "penstock.access")
GET = ("127.0.0.1:5000", "GET", "/", "1.1", 200)
ENTRY = 'INFO:     127.0.0.1:5000 - "GET / HTTP/1.1" 200 OK\n'


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class BrokenStream(io.StringIO):
    def flush(self) -> None:
        raise OSError(28, "No space left on device")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    yield
    for name in LOGGERS:
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
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
        self._so_far += self._capsys.readouterr()[self._which]
        return self._so_far


@pytest.fixture
def out(capsys: pytest.CaptureFixture[str]) -> Written:
    return Written(capsys, 0)


@pytest.fixture
def err(capsys: pytest.CaptureFixture[str]) -> Written:
    return Written(capsys, 1)


def access(settings: Settings | None = None) -> log.AccessLogger:
    settings = settings or Settings()
    log.configure(settings)
    logger = log.access_logger(settings)
    assert logger is not None
    return logger


def test_messages_go_to_standard_error_under_their_level(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(Settings())
    logging.getLogger("penstock.error").info("up %d", 1)
    logging.getLogger("penstock").critical("down")
    logging.getLogger("penstock.error").debug("not at this level")
    assert capsys.readouterr() == ("", "INFO:     up 1\nCRITICAL: down\n")


def test_trace_is_a_level_below_debug(err: Written) -> None:
    log.configure(Settings(log_level="trace"))
    logging.getLogger("penstock.error").log(log.TRACE, "each byte")
    assert err.getvalue() == "TRACE:    each byte\n"


def test_configuring_again_replaces_the_handlers(err: Written) -> None:
    log.configure(Settings())
    log.configure(Settings(log_level="warning"))
    logging.getLogger("penstock.error").info("quiet")
    logging.getLogger("penstock.error").warning("once")
    assert err.getvalue() == "WARNING:  once\n"


def test_the_handlers_of_a_program_stay_and_ours_are_left_out(err: Written) -> None:
    own = io.StringIO()
    logging.getLogger("penstock").addHandler(logging.StreamHandler(own))
    log.configure(Settings())
    logging.getLogger("penstock.error").info("hello")
    assert (own.getvalue(), err.getvalue()) == ("hello\n", "")


def test_a_program_without_a_console_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "stdout", None)
    log.configure(Settings())
    assert log.access_logger(Settings()) is not None
    logging.getLogger("penstock.error").info("nowhere")


@pytest.mark.parametrize("text, written", [
    ("one\nINFO:     forged", "one\n    INFO:     forged"),
    ("one\n\ntwo", "one\n\n    two"),
    ("colour \x1b[31m", "colour \\x1b[31m"),
    ("back \r\x08\x9b", "back \\x0d\\x08\\x9b"),
    ("turned \u202e\u2028", "turned \\u202e\\u2028"),
    ("tab\tand umlaut ä", "tab\tand umlaut ä"),
])
def test_no_message_can_forge_an_entry_or_steer_a_terminal(err: Written, text: str, written: str) -> None:
    log.configure(Settings())
    logging.getLogger("penstock.error").info("%s", text)
    assert err.getvalue() == f"INFO:     {written}\n"


def test_a_traceback_is_indented_and_tame(err: Written) -> None:
    log.configure(Settings())
    try:
        raise ValueError("bad\nERROR:    forged \x1b[0m")
    except ValueError:
        logging.getLogger("penstock.error").exception("failed")
    first, *others = err.getvalue().splitlines()
    assert first == "ERROR:    failed"
    assert all(line.startswith("    ") for line in others)
    assert others[-2:] == ["    ValueError: bad", "    ERROR:    forged \\x1b[0m"]


@pytest.mark.parametrize("environ, coloured", [
    ({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False),
])
def test_a_terminal_gets_colours_unless_they_are_unwanted(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], coloured: bool
) -> None:
    monkeypatch.setattr(os, "environ", {**environ, "WT_SESSION": "1"})
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    log.configure(Settings())
    logging.getLogger("penstock.error").warning("x")
    expected = "\x1b[33mWARNING\x1b[0m:  x\n" if coloured else "WARNING:  x\n"
    assert terminal.getvalue() == expected


def test_an_access_line_names_client_request_and_status(out: Written) -> None:
    access()(*GET)
    access()("::1:7", "PUT", "/a?b=c", "1.0", 299)
    assert out.getvalue() == ENTRY + 'INFO:     ::1:7 - "PUT /a?b=c HTTP/1.0" 299\n'


def test_access_lines_of_one_turn_leave_together(out: Written) -> None:
    logger = access()

    async def turn() -> None:
        logger(*GET)
        logger(*GET)
        assert out.getvalue() == ""
        await asyncio.sleep(0)
        assert out.getvalue() == ENTRY * 2

    asyncio.run(turn())


def test_what_waits_is_written_when_the_program_ends(out: Written) -> None:
    logger = access()

    async def turn() -> None:
        logger(*GET)
        logging.getLogger("penstock.access").handlers[0].flush()
        assert out.getvalue() == ENTRY

    asyncio.run(turn())


@pytest.mark.parametrize("path, written", [
    ('/" 200\nINFO: x', "/\\x22 200\\x0aINFO: x"),
    ("/\x1b[2J\\", "/\\x1b[2J\\x5c"),
    ("/é\u202e\U0001f600", "/\\xe9\\u202e\\U0001f600"),
])
def test_a_path_cannot_forge_a_line(out: Written, path: str, written: str) -> None:
    access()("1.2.3.4:5", "GET", path, "1.1", 404)
    assert out.getvalue() == f'INFO:     1.2.3.4:5 - "GET {written} HTTP/1.1" 404 Not Found\n'


@pytest.mark.parametrize("settings", [
    Settings(access_log=False), Settings(log_level="warning"), Settings(access_log=False, log_level="debug"),
])
def test_there_is_no_access_logger_when_nobody_reads_it(settings: Settings) -> None:
    log.configure(settings)
    assert log.access_logger(settings) is None


class Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def test_a_handler_added_later_gets_records_with_the_five_facts(out: Written) -> None:
    logger, collector = access(), Collector()
    logging.getLogger("penstock.access").addHandler(collector)
    logger(*GET)
    assert collector.records[0].args == GET
    assert collector.records[0].getMessage() == '127.0.0.1:5000 - "GET / HTTP/1.1" 200'
    assert out.getvalue() == ENTRY


def test_a_handler_there_before_gets_records_too(out: Written) -> None:
    collector = Collector()
    logging.getLogger("penstock.access").addHandler(collector)
    access()(*GET)
    assert [record.args for record in collector.records] == [GET]
    assert out.getvalue() == ""


def test_a_filter_of_the_application_is_asked(out: Written) -> None:
    logger = access()
    logging.getLogger("penstock.access").addFilter(lambda record: "/health" not in record.getMessage())
    logger("1.2.3.4:5", "GET", "/health", "1.1", 200)
    logger(*GET)
    assert out.getvalue() == ENTRY


def test_a_formatter_of_the_application_is_used(out: Written) -> None:
    logger = access()
    logging.getLogger("penstock.access").handlers[0].setFormatter(logging.Formatter("%(levelname)s|%(message)s"))
    logger(*GET)
    assert out.getvalue() == 'INFO|127.0.0.1:5000 - "GET / HTTP/1.1" 200\n'


def test_a_level_set_later_silences_the_access_log(out: Written) -> None:
    logger = access()
    logging.getLogger("penstock.access").setLevel(logging.WARNING)
    logger(*GET)
    assert out.getvalue() == ""


def test_lines_and_records_keep_their_order(out: Written) -> None:
    logger = access()

    async def turn() -> None:
        logger(*GET)
        logging.getLogger("penstock.access").info("between")
        logger(*GET)
        await asyncio.sleep(0)

    asyncio.run(turn())
    assert out.getvalue() == ENTRY + "INFO:     between\n" + ENTRY


def test_a_full_disk_costs_lines_not_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", BrokenStream())
    access()(*GET)


PROGRAM = """
import logging, sys
from penstock import log
from penstock.settings import Settings
log.configure(Settings())
access = log.access_logger(Settings())
sys.stdin.readline()
for _ in range(3):
    access("1.2.3.4:5", "GET", "/", "1.1", 200)
    logging.getLogger("penstock.access").info("a record")
    logging.getLogger("penstock.error").error("a message")
"""


@pytest.mark.skipif(os.name == "nt", reason="a pipe without a reader is another error there")
@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_reader_that_leaves_is_no_error(closed: str) -> None:
    pipe, command = subprocess.PIPE, [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, env=environment(), stdin=pipe, stdout=pipe, stderr=pipe) as child:
        stream = getattr(child, closed)
        stream.close()
        setattr(child, closed, None)
        out, err = child.communicate(b"go\n", timeout=15)
    assert child.returncode == 0
    if closed == "stdout":
        assert err == b"ERROR:    a message\n" * 3
    else:
        assert out.count(b"a record") == 3
