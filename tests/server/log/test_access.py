import json
import logging
import re
from typing import Any

import pytest

from penstock import log
from penstock.log.access import LogAccess
from penstock.settings import Settings
from support.logs import exchange

ENTRY = 'INFO:     127.0.0.1:5000 - "GET / HTTP/1.1" 200 OK\n'
FIVE = ("127.0.0.1:5000", "GET", "/", "1.1", 200)
LOGGER = logging.getLogger("penstock.access")


def now() -> float:
    return 3.5


def access(**options: Any) -> LogAccess:
    settings = Settings(**options)
    log.configure(settings)
    logger = log.access_logger(settings, now)
    assert logger is not None
    return logger


class Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def test_an_entry_names_client_request_and_status(out: Any) -> None:
    logger = access()
    logger(exchange())
    logger(exchange(b"/a", query=b"b=c", method="PUT", version="1.0", status=299, client=("::1", 7)))
    logger(exchange(client=None))
    logger(exchange(forwarded_client=("192.0.2.9", 0)))
    assert out.getvalue() == (
        ENTRY + 'INFO:     ::1:7 - "PUT /a?b=c HTTP/1.0" 299\nINFO:      - "GET / HTTP/1.1" 200 OK\n'
        + ENTRY.replace("127.0.0.1:5000", "192.0.2.9:0"))


def test_an_exchange_that_did_not_end_well_says_how(out: Any) -> None:
    access()(exchange(status=499, ending="client gone"))
    assert out.getvalue().endswith('" 499 (client gone)\n')


@pytest.mark.parametrize("path, written", [
    (b'/" 200\nINFO: x', "/\\x22 200\\x0aINFO: x"), (b"/\x1b[2J\\", "/\\x1b[2J\\x5c"), (b"/\xe9", "/\\xe9"),
])
def test_a_path_cannot_forge_a_line(out: Any, path: bytes, written: str) -> None:
    access()(exchange(path, status=404))
    assert out.getvalue() == f'INFO:     127.0.0.1:5000 - "GET {written} HTTP/1.1" 404 Not Found\n'


def test_in_colour_the_request_stands_out(out: Any) -> None:
    access(use_colors=True)(exchange())
    assert out.getvalue() == (
        '\x1b[32mINFO\x1b[0m:     127.0.0.1:5000 - "\x1b[1mGET / HTTP/1.1\x1b[0m" \x1b[32m200 OK\x1b[0m\n')


@pytest.mark.parametrize("options", [
    {"access_log": False}, {"log_level": "warning"}, {"access_log": False, "log_level": "debug"},
])
def test_there_is_no_access_logger_when_nobody_reads_it(options: Any) -> None:
    settings = Settings(**options)
    log.configure(settings)
    assert log.access_logger(settings, now) is None


def test_a_handler_added_later_gets_records_with_the_five_facts_and_the_others(out: Any) -> None:
    logger, collector = access(), Collector()
    LOGGER.addHandler(collector)
    logger(exchange(received=3, first_byte_at=2.0))
    found = collector.records[0]
    assert found.args == FIVE
    assert found.getMessage() == '127.0.0.1:5000 - "GET / HTTP/1.1" 200'
    more = {name: found.__dict__[name] for name in ("received", "sent", "duration", "first_byte", "ending", "request_id")}
    assert more == {"received": 3, "sent": 5, "duration": 2.5, "first_byte": 1.0, "ending": "ok", "request_id": None}
    assert found.__dict__["access_line"] + "\n" == out.getvalue() == ENTRY


def test_a_handler_there_before_gets_records_too_and_ours_is_left_out(out: Any) -> None:
    collector = Collector()
    LOGGER.addHandler(collector)
    access()(exchange())
    assert [record.args for record in collector.records] == [FIVE]
    assert out.getvalue() == ""


def test_a_filter_of_the_application_is_asked(out: Any) -> None:
    logger = access()
    LOGGER.addFilter(lambda record: "/health" not in record.getMessage())
    logger(exchange(b"/health"))
    logger(exchange())
    assert out.getvalue() == ENTRY


def test_a_filter_on_our_handler_is_asked_too(out: Any) -> None:
    logger = access()
    LOGGER.handlers[0].addFilter(lambda record: False)
    logger(exchange())
    assert out.getvalue() == ""


def test_a_formatter_of_the_application_is_used(out: Any) -> None:
    logger = access()
    LOGGER.handlers[0].setFormatter(logging.Formatter("%(levelname)s|%(message)s|%(duration)s"))
    logger(exchange())
    assert out.getvalue() == 'INFO|127.0.0.1:5000 - "GET / HTTP/1.1" 200|2.5\n'


def test_a_level_set_later_silences_the_access_log(out: Any) -> None:
    logger = access()
    LOGGER.setLevel(logging.WARNING)
    logger(exchange())
    LOGGER.setLevel(logging.INFO)
    LOGGER.handlers[0].setLevel(logging.ERROR)
    logger(exchange())
    assert out.getvalue() == ""


def test_lines_and_records_keep_their_order(out: Any) -> None:
    logger = access()
    logger(exchange())
    LOGGER.info("between")
    logger(exchange())
    assert out.getvalue() == ENTRY + "INFO:     between\n" + ENTRY


def test_a_format_of_atoms_is_filled_in_also_where_records_are_made(out: Any) -> None:
    logger = access(access_log_format="%(h)s %(s)s %(L)s %(B)s")
    logger(exchange())
    LOGGER.addFilter(lambda record: True)
    logger(exchange(method="HEAD"))
    # What an app gives for the body of such an answer is not sent.
    for status in (204, 205, 304):
        logger(exchange(status=status))
    assert [line.split()[1::2] for line in out.getvalue().splitlines()] == [["200", "5"], ["200", "0"], ["204", "0"], ["205", "0"], ["304", "0"]]


def test_json_is_one_object_a_line(out: Any) -> None:
    access(log_json=True, request_id_header="X-Request-ID")(exchange(b'/"\n\x1b', fields=[(b"x-request-id", b"a")]))
    text = out.getvalue()
    assert text.isascii() and text.count("\n") == 1
    entry = json.loads(text)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry.pop("time"))
    assert entry == {
        "level": "info", "logger": "penstock.access", "client": "127.0.0.1:5000", "method": "GET", "path": '/"\n\x1b',
        "http_version": "1.1", "status": 200, "received": 0, "sent": 5, "duration": 2.5, "first_byte": 2.5, "ending": "ok",
        "request_id": "a",
    }  # fmt: skip


def test_an_id_is_taken_from_the_request_bounded_and_escaped_or_made(out: Any) -> None:
    logger = access(request_id_header="X-Request-ID")
    logger(exchange(fields=[(b"x-request-id", b"abc\x1b" + b"d" * 1000)]))
    logger(exchange())
    logger(exchange(fields=[(b"x-request-id", b"")]))
    first, *made = [line.rpartition(" id=")[2] for line in out.getvalue().splitlines()]
    assert first == "abc\\x1b" + "d" * 124
    assert all(re.fullmatch(r"[0-9a-f]{12}-\d", each) for each in made)
    assert len(set(made)) == 2
