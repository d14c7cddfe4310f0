"""A hang becomes a failure: an alarm raises in the main thread when a test takes far longer than it may.

Wherever the thread is (in a wait of the loop too), the alarm's handler raises there, so the failure's traceback
shows what was waited for. Where there is no SIGALRM the test is not bounded here.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

PATIENCE = 30


class Hang(BaseException):
    """Not an Exception, so that no code under test takes it for one of its own."""


@contextmanager
def bounded(seconds: float = PATIENCE) -> Iterator[None]:
    """Raise Hang in the block when it takes longer than `seconds`. Main thread only."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def ring(_number: int, _frame: FrameType | None) -> None:
        # Again a little later: what the loop reports instead of raising must not silence the alarm.
        signal.setitimer(signal.ITIMER_REAL, 1)
        raise Hang(f"still not done after {seconds} seconds")

    former = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
