"""What the settings mean for a fleet: its limits, and when a worker has done enough.

Pure functions of the settings and of what workers tell about themselves; `supervisor.py` passes the answers to
`fleet.py`.
"""

import random
import signal

from ..settings import Settings
from .fleet import Wanted

_MARGIN = 4.0
"""Seconds a retiring worker has beyond its limits, in which it cancels, cleans up and names what hangs."""

_SILENCE = 12
"""How many times the silence that is asked about is one that is not put up with."""

SETTLED = 10.0
"""Seconds that a worker serves before its memory counts: a limit below what the application takes from the start is no
reason to start workers all the time."""

_SOON = 60.0
"""Seconds of service in which an application comes to its usual size."""

# A process that gets one of these did something wrong itself.
_OWN_FAULTS = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSYS", "SIGTRAP")


def wanted(settings: Settings, count: int) -> Wanted:
    """What a fleet of `count` workers is to be."""
    start = None if settings.timeout_startup is None else settings.timeout_startup + _MARGIN
    question, overlaps = settings.timeout_worker_healthcheck, settings.reload_mode == "overlap"
    if settings.reload:
        # Somebody works on the code: a debugger may hold a worker, and a crash waits for its mending.
        limit = retire_limit(settings, settings.timeout_reload)
        return Wanted(count, count, limit, start, question, None, most_strikes=None, overlaps=overlaps)
    limit = retire_limit(settings, settings.timeout_graceful_shutdown)
    return Wanted(count, 1, limit, start, question, question * _SILENCE, overlaps=overlaps)


def retire_limit(settings: Settings, grace: float | None) -> float | None:
    """Seconds a worker may retire for before it is killed."""
    return None if grace is None or settings.timeout_shutdown is None else grace + settings.timeout_shutdown + _MARGIN


def expiry(settings: Settings, now: float) -> float | None:
    """When a worker that is ready now is worn by its age: not all that started together at once."""
    lifetime = settings.worker_lifetime
    return None if lifetime is None else now + lifetime * random.uniform(1.0, 1.1)


def too_large(settings: Settings, memory: object, age: float) -> str:
    """Why a worker with so many octets resident (None: nobody knows), ready since `age` seconds, is to be replaced, if it is."""
    most = settings.limit_worker_memory
    if most is None or not isinstance(memory, int) or memory <= most << 20 or age < SETTLED:
        return ""
    hint = f" after {age:.0f} s (is --limit-worker-memory {most} too little?)" if age < _SOON else ""
    return f"has {memory >> 20} MiB resident{hint}"


def is_by_others(code: int | None) -> bool:
    """Whether a process with this return code (as `subprocess` has it) was killed from outside. Windows cannot tell."""
    own = {-getattr(signal, name) for name in _OWN_FAULTS if hasattr(signal, name)}
    return code is not None and code < 0 and code not in own
