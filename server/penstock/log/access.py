"""The access log: what is known about an exchange at its end, as a line and as a record.

While nobody has changed the logger `penstock.access`, an entry is one string, made here, without a LogRecord: that is
three quarters of its cost. Filters, handlers and formatters that an application puts there get ordinary records; their
`args` are the five that uvicorn's have, and their attributes the other facts: `received`, `sent`, `duration`,
`first_byte`, `ending`, `request_id`, and `access_line`, the line as it would have been written.
"""

import logging
import os
import time
from collections.abc import Callable
from itertools import count
from json.encoder import encode_basestring_ascii as _quote
from typing import Any

from ..settings import Settings
from .atoms import compile_format
from .formatters import AccessFormatter, JsonFormatter, json_time
from .handlers import StreamHandler
from .text import escape

MESSAGE = '%s - "%s %s HTTP/%s" %d'

MOST_ID = 128
"""Characters of a request's id that are kept."""

# An exchange of `connection/exchange.py`; the log imports nothing of that room.
Exchange = Any
LogAccess = Callable[[Exchange], None]
_Line = Callable[[Exchange], str]


def access_logger(settings: Settings, clock: Callable[[], float]) -> LogAccess | None:
    """What makes one entry at the end of an exchange; None when nobody wants to see them. `clock` is the loop's."""
    logger = logging.getLogger("penstock.access")
    if not settings.access_log or not logger.isEnabledFor(logging.INFO):
        return None
    handlers = list(logger.handlers)
    handler = handlers[0] if len(handlers) == 1 and type(handlers[0]) is StreamHandler else None
    ours = handler.formatter if handler is not None else None
    if not getattr(ours, "is_ready_made", False):
        handler = None
    line = _line_maker(settings, facts := _Facts(settings, clock), ours)

    def log_access(exchange: Exchange) -> None:
        if not logger.isEnabledFor(logging.INFO):
            return
        text = line(exchange)
        if (
            handler is not None and handler.formatter is ours and not handler.filters and handler.level <= logging.INFO
            and logger.handlers == handlers and not logger.filters
        ):  # fmt: skip
            handler.outlet.put(text)
        else:
            more = {**facts.measures(exchange), "access_line": text}
            logger.info(MESSAGE, *five_of(exchange), extra=more)

    return log_access


def five_of(exchange: Exchange) -> tuple[str, str, str, str, int]:
    """Client, method, full path, HTTP version, status: as uvicorn's records have them."""
    method, path, query, version, *_ = exchange.head
    client = exchange.forwarded_client
    if client is not None:
        address = escape(f"{client[0]}:{client[1]}")
    else:
        client = exchange.connection.client
        address = f"{client[0]}:{client[1]}" if client is not None else ""
    return address, method, (path + b"?" + query if query else path).decode("latin-1"), version, exchange.status


def _line_maker(settings: Settings, facts: "_Facts", formatter: logging.Formatter | None) -> _Line:
    if isinstance(formatter, JsonFormatter):
        return facts.json_line
    if settings.access_log_format:
        return compile_format(settings.access_log_format, facts.measures)
    look = formatter if isinstance(formatter, AccessFormatter) else AccessFormatter(use_colors=False)
    info, statuses, has_id = look.info, look.statuses, bool(settings.request_id_header)
    bold, plain = ("\x1b[1m", "\x1b[0m") if look.use_colors else ("", "")

    def line(exchange: Exchange) -> str:
        client, method, path, version, status = five_of(exchange)
        if has_id or exchange.ending != "ok" or status not in statuses:
            end = look.outcome(status, exchange.ending, facts.request_id(exchange))
        else:
            end = statuses[status]
        return f'{info} {client} - "{bold}{method} {escape(path)} HTTP/{version}{plain}" {end}'

    return line


class _Facts:
    """What is measured of an exchange, beside the five."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._id_header = settings.request_id_header.lower().encode()
        # Made ids are unlike those of other processes, and of this one's former lives.
        self._id_prefix = os.urandom(6).hex()
        self._numbers = count(1)

    def request_id(self, exchange: Exchange) -> str:
        """The id the client or a proxy gave, else one of our making; "" when nobody asked for ids."""
        if not self._id_header:
            return ""
        given = next((value for name, value in exchange.head.fields if name == self._id_header and value), b"")
        return escape(given[:MOST_ID].decode("latin-1")) or f"{self._id_prefix}-{next(self._numbers)}"

    def measures(self, exchange: Exchange) -> dict[str, Any]:
        """Octets of body each way, seconds, how it ended, its id."""
        now, started = self._clock(), exchange.started_at
        return {
            "received": exchange.received,
            "sent": 0 if exchange.head.method == "HEAD" or exchange.status in (204, 205, 304) else exchange.sent,
            "duration": now - started,
            "first_byte": (exchange.first_byte_at or now) - started,
            "ending": exchange.ending,
            "request_id": self.request_id(exchange) or None,
        }

    def json_line(self, exchange: Exchange) -> str:
        """Put together by hand: that takes a quarter of the time of `json.dumps`."""
        client, method, path, version, status = five_of(exchange)
        found = self.measures(exchange)
        return (
            f'{{"time": "{json_time(time.time())}", "level": "info", "logger": "penstock.access", "client": {_quote(client)}, '
            f'"method": "{method}", "path": {_quote(path)}, "http_version": "{version}", "status": {status}, '
            f'"received": {found["received"]}, "sent": {found["sent"]}, "duration": {found["duration"]:.6f}, '
            f'"first_byte": {found["first_byte"]:.6f}, "ending": "{found["ending"]}", '
            f'"request_id": {_quote(found["request_id"]) if found["request_id"] else "null"}}}'
        )
