"""Write limits: when a transport's unsent bytes are too many, its protocol is told to pause.

Every transport that can write mixes this in and says how many bytes wait: `_pause_if_full` after queueing,
`_resume_if_drained` after sending. The protocol hears `pause_writing` once when the high mark is passed and
`resume_writing` once when the low mark is reached again; a protocol that raises there is reported and otherwise
ignored, as asyncio documents. Knows nothing of sockets, pipes or the poller.
"""

from __future__ import annotations

from typing import Any

from .contract import ReactorLoop

HIGH_MARK = 64 * 1024


class WriteLimits:
    """The documented write-limit methods of an asyncio transport, and the two calls its owner makes."""

    _loop: ReactorLoop
    _protocol: Any
    _high_mark = HIGH_MARK
    _low_mark = HIGH_MARK // 4
    _told_to_pause = False

    def get_write_buffer_size(self) -> int:
        """How many bytes were accepted by a write and not yet by the system."""
        raise NotImplementedError

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The (low, high) marks in bytes."""
        return self._low_mark, self._high_mark

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the marks: high defaults to four times low, or 64 KiB; low to a quarter of high.

        ValueError unless high >= low >= 0.
        """
        if high is None:
            high = HIGH_MARK if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high_mark, self._low_mark = high, low
        self._pause_if_full(self.get_write_buffer_size())

    def _pause_if_full(self, waiting: int) -> None:
        if waiting > self._high_mark and not self._told_to_pause:
            self._told_to_pause = True
            self._tell("pause_writing")

    def _resume_if_drained(self, waiting: int) -> None:
        if self._told_to_pause and waiting <= self._low_mark:
            self._told_to_pause = False
            self._tell("resume_writing")

    def _tell(self, method: str) -> None:
        try:
            getattr(self._protocol, method)()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            report = {"exception": exc, "transport": self, "protocol": self._protocol}
            self._loop.call_exception_handler({"message": f"protocol.{method}() failed", **report})
