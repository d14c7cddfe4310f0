"""Handlers of the standard streams that never wait for a reader: `logging` on top, an Outlet below."""

import logging
import sys
from typing import TextIO

from .outlet import Outlet


class StreamHandler(logging.StreamHandler[TextIO]):
    """Like logging's own, but what it writes leaves by a thread; what nobody reads is dropped, counted and told."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream or sys.stderr)
        self.outlet = Outlet(self.stream, self._tell_drops)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.outlet.put(self.format(record))
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        self.outlet.flush()

    def close(self) -> None:
        self.outlet.close()
        super().close()

    def _tell_drops(self, count: int) -> str:
        text = "%d lines are missing here: nobody read them in time"
        return self.format(logging.LogRecord("penstock", logging.WARNING, __file__, 0, text, (count,), None))
