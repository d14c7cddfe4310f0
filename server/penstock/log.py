"""Log: the loggers `penstock`, `penstock.error` (standard error) and `penstock.access` (standard output).

Ordinary `logging` loggers, under the names people filter by and with the records they read. Handlers
that a program has put on them stay, and then ours are left out. Whatever a client sent may stand in a
message: characters that could move a cursor, colour a terminal or begin a line are written as escapes,
and every further line of an entry is indented, so that nothing can forge an entry.

The access line is on the way of each request. While nobody has changed its logger, it is one formatted
string, without a LogRecord, and the lines of one turn of the event loop leave in one write.
"""

import logging
import os
import sys
from asyncio import get_running_loop
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TextIO

from .settings import Settings

TRACE = 5
LEVELS = {
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": TRACE,
}

# client, method, full path, HTTP version, status
AccessLogger = Callable[[str, str, str, str, int], None]

ACCESS_MESSAGE = '%s - "%s %s HTTP/%s" %d'

_COLOURS = {"WARNING": "33", "ERROR": "31", "CRITICAL": "1;31", "INFO": "32", "DEBUG": "36", "TRACE": "34"}
_INDENT = "    "


def configure(settings: Settings) -> None:
    """Make the loggers ready; a second call replaces the first one's handlers."""
    logging.addLevelName(TRACE, "TRACE")
    level = LEVELS[settings.log_level]
    for name, stream, kind in (
        ("penstock", sys.stderr, _Handler),
        ("penstock.access", sys.stdout, _AccessHandler),
    ):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        for old in [each for each in logger.handlers if isinstance(each, _Handler)]:
            logger.removeHandler(old)
        # A program without a console (pythonw) has no streams.
        if not logger.handlers and stream is not None:
            logger.addHandler(kind(stream))
            logger.propagate = False


def tell(notes: Iterable[tuple[str, str]]) -> None:
    """Log what others found before there was a log: pairs of a level and a line."""
    for level, line in notes:
        logging.getLogger("penstock.error").log(LEVELS[level], "%s", line)


def access_logger(settings: Settings) -> AccessLogger | None:
    """What writes one access line at the end of an exchange; None when nobody wants to see them.

    Called with the client's address, the method, the path with its query, the HTTP version and the
    status. Filters, handlers and formatters that an application puts on `penstock.access` get an ordinary
    record whose `args` are these five.
    """
    logger = logging.getLogger("penstock.access")
    if not settings.access_log or not logger.isEnabledFor(logging.INFO):
        return None
    ours = [each for each in logger.handlers if isinstance(each, _AccessHandler)]
    if not ours:
        return _record_each(logger)
    handler, untouched = ours[0], list(ours)

    def log_access(client: str, method: str, full_path: str, http_version: str, status: int) -> None:
        if not logger.isEnabledFor(logging.INFO):
            return
        if logger.handlers == untouched and not logger.filters and handler.is_plain():
            handler.write_soon(handler.line(client, method, full_path, http_version, status))
        else:
            logger.info(ACCESS_MESSAGE, client, method, full_path, http_version, status)

    return log_access


def escape(text: str) -> str:
    """`text` from a client, fit for a log: printable ASCII without quotes; all else as \\x escapes."""
    # One look in C for nearly all of them; then, and only then, character by character.
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return "".join(map(_escape_character, text))


def _escape_character(char: str) -> str:
    if " " <= char <= "~" and char not in '"\\':
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _record_each(logger: logging.Logger) -> AccessLogger:
    def log_access(client: str, method: str, full_path: str, http_version: str, status: int) -> None:
        logger.info(ACCESS_MESSAGE, client, method, full_path, http_version, status)

    return log_access


class _Formatter(logging.Formatter):
    """`INFO:     message`; further lines and tracebacks indented, control characters escaped."""

    def __init__(self, with_colours: bool) -> None:
        super().__init__()
        self._with_colours = with_colours

    def format(self, record: logging.LogRecord) -> str:
        return self.prefix(record.levelname) + _tame(super().format(record))

    def prefix(self, level: str) -> str:
        padding = " " * (9 - len(level))
        colour = _COLOURS.get(level) if self._with_colours else None
        return f"\x1b[{colour}m{level}\x1b[0m:{padding}" if colour else f"{level}:{padding}"


class _AccessFormatter(_Formatter):
    """The same, with the status' reason phrase behind it."""

    def __init__(self, with_colours: bool) -> None:
        from http import HTTPStatus  # costs a millisecond that a server without an access log saves

        super().__init__(with_colours)
        self._info = self.prefix("INFO")
        self._statuses = {each.value: f"{each.value} {each.phrase}" for each in HTTPStatus}

    def format(self, record: logging.LogRecord) -> str:
        if record.msg != ACCESS_MESSAGE or not isinstance(record.args, tuple) or len(record.args) != 5:
            return super().format(record)
        client, method, path, version, status = record.args
        return self.line(str(client), str(method), str(path), str(version), int(str(status)))

    def line(self, client: str, method: str, full_path: str, http_version: str, status: int) -> str:
        request = f"{method} {full_path} HTTP/{http_version}"
        return f'{self._info}{escape(client)} - "{escape(request)}" {self._statuses.get(status, status)}'


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to a standard stream, and gives up quietly when its reader has gone."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.setFormatter(self._make_formatter(_wants_colours(stream, os.environ)))

    def _make_formatter(self, with_colours: bool) -> _Formatter:
        return _Formatter(with_colours)

    def handleError(self, record: logging.LogRecord) -> None:
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            self._give_up()
        else:
            super().handleError(record)

    def _give_up(self) -> None:
        # `penstock app | head`: what still waits in the stream would fail again when the program ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())
        os.close(nowhere)


class _AccessHandler(_Handler):
    """Collects the lines of one turn of the event loop. Only called in the loop's thread."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []

    def _make_formatter(self, with_colours: bool) -> _Formatter:
        self._ours = _AccessFormatter(with_colours)
        self.line = self._ours.line
        return self._ours

    def is_plain(self) -> bool:
        """Whether the application has left this handler as it was made."""
        return self.formatter is self._ours and not self.filters and self.level <= logging.INFO

    def write_soon(self, line: str) -> None:
        """Write `line` at the end of this turn of the event loop."""
        self._lines.append(line)
        if len(self._lines) == 1:
            try:
                get_running_loop().call_soon(self.flush)
            except RuntimeError:
                self.flush()

    def emit(self, record: logging.LogRecord) -> None:
        self.flush()
        super().emit(record)

    def flush(self) -> None:
        lines, self._lines = self._lines, []
        try:
            if lines:
                self.stream.write("\n".join(lines) + "\n")
            super().flush()
        except BrokenPipeError:
            self._give_up()
        except (OSError, ValueError):
            pass  # a full disk or a closed stream costs lines, not requests


def _tame(text: str) -> str:
    if text.isprintable():
        return text
    first, *others = ("".join(map(_tame_character, line)) for line in text.split("\n"))
    return "\n".join([first, *(line and _INDENT + line for line in others)])


def _tame_character(char: str) -> str:
    return char if char.isprintable() or char == "\t" else _escape_character(char)


def _wants_colours(stream: TextIO, environ: Mapping[str, Any]) -> bool:
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb" or not stream.isatty():
        return False
    # The old console of Windows shows colour codes as text.
    return os.name != "nt" or "WT_SESSION" in environ
