"""Closing the console window on Windows: what is open is finished first, as far as the system leaves time.

The system calls a handler in a thread of its own, and ends the process when that returns or after about five seconds.
Python's own handler makes SIGBREAK of it and returns at once. So ours, which comes before it because it is installed
later, says that it is time to end and does not return: the process is over when the server has drained. Everywhere else
a terminal that goes away says SIGHUP, and nothing is done here.
"""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_CLOSES = (2, 5, 6)
"""CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT and CTRL_SHUTDOWN_EVENT (wincon.h)."""

_LONGER_THAN_ANYBODY_WAITS = 60.0

_kept: list[Any] = []
"""What the system may call must stay alive."""


def on_close(ask: Callable[[], object]) -> None:
    """Have `ask` called, in another thread, when the console is closed. Call it when the signals are installed."""
    if sys.platform == "win32":
        import ctypes

        def handler(event: int) -> int:
            if event not in _CLOSES:
                return 0
            # A loop that is closed already needs not be asked.
            with suppress(RuntimeError):
                ask()
            time.sleep(_LONGER_THAN_ANYBODY_WAITS)
            return 1

        _kept.append(ctypes.WINFUNCTYPE(ctypes.c_int, ctypes.c_uint)(handler))
        ctypes.windll.kernel32.SetConsoleCtrlHandler(_kept[-1], 1)
