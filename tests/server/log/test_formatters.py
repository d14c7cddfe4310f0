import io
import json
import logging
import os
import sys
from typing import Any

import pytest

from penstock.log.formatters import AccessFormatter, ColourizedFormatter, DefaultFormatter, JsonFormatter, wants_colours

ACCESS = ("1.2.3.4:5", "GET", "/a?b=c", "1.1", 404)
MESSAGE = "%s - \"%s %s HTTP/%s\" %d"
ACCESS_FORMAT = '%(levelprefix)s %(client_addr)s - "%(request_line)s" %(status_code)s'


def record(text: str, *args: Any, level: int = logging.INFO, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord("penstock.error", level, "x.py", 1, text, args, more.pop("exc_info", None))
    made.__dict__.update(more)
    return made


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_level_is_a_prefix_of_even_width() -> None:
    plain = DefaultFormatter("%(levelprefix)s %(message)s", use_colors=False)
    assert plain.format(record("up %d", 1)) == "INFO:     up 1"
    assert plain.format(record("down", level=logging.CRITICAL)) == "CRITICAL: down"


def test_colours_when_told_to_and_none_when_told_not_to() -> None:
    coloured = ColourizedFormatter("%(levelprefix)s %(message)s", use_colors=True)
    assert coloured.format(record("x", level=logging.WARNING)) == "\x1b[33mWARNING\x1b[0m:  x"


@pytest.mark.parametrize("environ, coloured", [
    ({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False),
])
def test_a_terminal_gets_colours_unless_they_are_unwanted(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], coloured: bool
) -> None:
    monkeypatch.setattr(os, "environ", {**environ, "WT_SESSION": "1"})
    assert wants_colours(Terminal()) is coloured
    assert not wants_colours(io.StringIO())
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert DefaultFormatter().use_colors is coloured
    assert not ColourizedFormatter().use_colors


def test_other_formats_and_styles_are_loggings_own() -> None:
    made = DefaultFormatter("{asctime} {levelprefix} {message}", datefmt="%Y", style="{", use_colors=False)
    assert made.format(record("x", created=0.0)) == "1970 INFO:     x"


def test_the_record_stays_as_it_was_for_other_handlers() -> None:
    given = record("one\ntwo %d", 3)
    before = dict(given.__dict__)
    DefaultFormatter(use_colors=True).format(given)
    given.__dict__.pop("message", None)
    assert given.__dict__ == before


def test_a_traceback_is_indented_and_tame_whoever_formatted_it_before() -> None:
    try:
        raise ValueError("bad\nERROR:    forged \x1b[0m")
    except ValueError:
        given = record("failed", exc_info=sys.exc_info(), exc_text="as another\nformatter made it")
    first, *others = DefaultFormatter("%(levelprefix)s %(message)s", use_colors=False).format(given).splitlines()
    assert first == "INFO:     failed"
    assert all(line.startswith("    ") for line in others)
    assert others[-2:] == ["    ValueError: bad", "    ERROR:    forged \\x1b[0m"]


def test_a_stack_is_indented_too() -> None:
    given = record("here", stack_info="Stack:\n  one")
    assert DefaultFormatter("%(message)s").format(given) == "here\n    Stack:\n      one"


def test_an_access_record_has_the_fields_of_uvicorns() -> None:
    made = AccessFormatter(ACCESS_FORMAT, use_colors=False)
    assert made.format(record(MESSAGE, *ACCESS)) == 'INFO:     1.2.3.4:5 - "GET /a?b=c HTTP/1.1" 404 Not Found'
    coloured = AccessFormatter(ACCESS_FORMAT, use_colors=True)
    assert coloured.format(record(MESSAGE, *ACCESS)) == (
        '\x1b[32mINFO\x1b[0m:     1.2.3.4:5 - "\x1b[1mGET /a?b=c HTTP/1.1\x1b[0m" \x1b[31m404 Not Found\x1b[0m')


def test_an_access_record_that_did_not_end_well_says_so() -> None:
    made = AccessFormatter(ACCESS_FORMAT, use_colors=False)
    text = made.format(record(MESSAGE, *ACCESS[:4], 299, ending="client gone", request_id="a-1"))
    assert text.endswith('" 299 (client gone) id=a-1')


def test_nothing_in_an_access_record_can_forge_a_line() -> None:
    made = AccessFormatter(ACCESS_FORMAT, use_colors=False)
    text = made.format(record(MESSAGE, "\n", "GET", '/" 200\x1b[0m', "1.1", 200))
    assert text == 'INFO:     \\x0a - "GET /\\x22 200\\x1b[0m HTTP/1.1" 200 OK'


def test_another_record_on_the_access_log_is_shown_as_a_message() -> None:
    assert AccessFormatter(ACCESS_FORMAT, use_colors=False).format(record("a\nb %s", "c")) == "INFO:     a\n    b c"


def test_a_line_made_ready_is_shown_unless_there_is_a_format() -> None:
    given = record(MESSAGE, *ACCESS, access_line="ready")
    assert AccessFormatter().format(given) == "ready"
    assert AccessFormatter("%(client_addr)s").format(given) == "1.2.3.4:5"
    assert JsonFormatter().format(given) == "ready"


def test_json_is_one_object_a_line_with_the_traceback_in_it() -> None:
    try:
        raise ValueError("bad")
    except ValueError:
        given = record("one\ntwo", exc_info=sys.exc_info(), created=1.5)
    text = JsonFormatter().format(given)
    assert "\n" not in text
    entry = json.loads(text)
    assert entry.pop("exception").endswith("ValueError: bad")
    assert entry == {"time": "1970-01-01T00:00:01.500Z", "level": "info", "logger": "penstock.error", "message": "one\ntwo"}
