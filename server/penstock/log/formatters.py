"""Formatters, under the names and with the fields that log configurations written for uvicorn use.

    DefaultFormatter   %(levelprefix)s, which is `INFO:    `, coloured on a terminal
    AccessFormatter    the same and %(client_addr)s, %(request_line)s, %(status_code)s, of an access record's five arguments
    JsonFormatter      one JSON object a line

Whatever they are given to show comes out tame: no message forges an entry or steers a terminal. They leave the record
as it is, for the other handlers.
"""

import json
import logging
import os
import sys
import time
from copy import copy
from typing import Any, Literal, TextIO

from .text import each_second, escape, tame

TRACE = 5

DEFAULT_FORMAT = "%(levelprefix)s %(message)s"

_COLOURS = {"WARNING": "33", "ERROR": "31", "CRITICAL": "1;31", "INFO": "32", "DEBUG": "36", "TRACE": "34"}
_STATUS_COLOURS = {2: "32", 3: "33", 4: "31", 5: "1;31"}


def paint(text: str, colour: str | None) -> str:
    """`text` in a colour (the parameters of SGR, ECMA-48 8.3.117), None for none."""
    return f"\x1b[{colour}m{text}\x1b[0m" if colour else text


def wants_colours(stream: TextIO | None) -> bool:
    """Whether whoever reads `stream` sees colours, and wants to (https://no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or stream is None or not stream.isatty():
        return False
    # The old console of Windows shows colour codes as text.
    return os.name != "nt" or "WT_SESSION" in os.environ


class ColourizedFormatter(logging.Formatter):
    """An ordinary formatter with one more field, `levelprefix`. `use_colors` is None for "on a terminal"."""

    stream = "stdout"
    """Which stream is asked whether it is a terminal."""

    def __init__(
        self, fmt: str | None = None, datefmt: str | None = None, style: Literal["%", "{", "$"] = "%",
        use_colors: bool | None = None,
    ) -> None:
        super().__init__(fmt, datefmt, style)
        self.use_colors = wants_colours(getattr(sys, self.stream)) if use_colors is None else use_colors

    def prefix(self, level: str) -> str:
        return paint(level, _COLOURS.get(level) if self.use_colors else None) + ":" + " " * (8 - len(level))

    def format(self, record: logging.LogRecord) -> str:
        record = copy(record)
        # What another formatter made of the exception is not tame.
        record.exc_text = None
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = tame(record.message)
        record.__dict__["levelprefix"] = self.prefix(record.levelname)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        return tame("\n" + super().formatException(ei))[1:]

    def formatStack(self, stack_info: str) -> str:
        return tame("\n" + stack_info)[1:]


class DefaultFormatter(ColourizedFormatter):
    """For the error log."""

    stream = "stderr"


class AccessFormatter(ColourizedFormatter):
    """For the access log. Without a `fmt` it shows the line that `access.py` has made ready."""

    def __init__(
        self, fmt: str | None = None, datefmt: str | None = None, style: Literal["%", "{", "$"] = "%",
        use_colors: bool | None = None,
    ) -> None:
        from http import HTTPStatus  # costs a millisecond that a server without an access log saves

        super().__init__(fmt, datefmt, style, use_colors)
        self.is_ready_made = fmt is None
        self.statuses = {each.value: self._painted(f"{each.value} {each.phrase}", each.value) for each in HTTPStatus}
        self.info = self.prefix("INFO")

    def _painted(self, text: str, status: int) -> str:
        return paint(text, _STATUS_COLOURS.get(status // 100)) if self.use_colors else text

    def outcome(self, status: int, ending: str, request_id: str) -> str:
        """`200 OK`, and behind it how it ended when not well, and its id when it has one."""
        text = self.statuses.get(status) or self._painted(str(status), status)
        if ending != "ok":
            text += f" ({ending})"
        return f"{text} id={request_id}" if request_id else text

    def formatMessage(self, record: logging.LogRecord) -> str:
        more = record.__dict__
        if self.is_ready_made and "access_line" in more:
            return str(more["access_line"])
        if not isinstance(record.args, tuple) or len(record.args) != 5:
            return f"{self.prefix(record.levelname)} {tame(record.message)}"
        client, method, path, version, status = record.args
        request = escape(f"{method} {path} HTTP/{version}")
        more["client_addr"] = escape(str(client))
        more["request_line"] = paint(request, "1") if self.use_colors else request
        more["status_code"] = self.outcome(int(str(status)), more.get("ending", "ok"), more.get("request_id") or "")
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """Entries of the error log as JSON objects; those of the access log are made in `access.py`."""

    is_ready_made = True

    def format(self, record: logging.LogRecord) -> str:
        if "access_line" in record.__dict__:
            return str(record.__dict__["access_line"])
        entry = {"time": json_time(record.created), "level": record.levelname.lower(), "logger": record.name}
        entry["message"] = record.getMessage()
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


_second_of = each_second(lambda second: time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))


def json_time(now: float) -> str:
    """The time as RFC 3339 has it, in UTC."""
    return f"{_second_of(now)}.{int(now % 1 * 1000):03d}Z"
