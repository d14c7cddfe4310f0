"""Who takes the next connection: not a worker that runs more requests than its share.

Workers accept from one socket, and whoever is first has the connection; so long requests may gather in one of them.
Each tells how many requests it runs, with every beat and shortly after it has taken connections; all are told what a
fair share of that is. A worker above its share looks away for twenty milliseconds, and then takes what nobody else has
taken (`connection/acceptor.py`). So figures that are old, or a fleet that is busy as a whole, cost a moment and never a
connection.
"""

import asyncio
from collections.abc import Mapping, Sequence

from .fleet import Phase
from .worker import Worker

GATHERING = 0.05
"""Seconds after a word in which others may come, before all are told."""

_SPREAD, _SLACK = 1.25, 2.0
"""A share is so many times the mean, and so many more: equal workers need not leave anything to each other."""


class Balance:
    """Tells `workers`, as they come and go, their share."""

    def __init__(self, workers: Mapping[int, Worker]) -> None:
        self._workers = workers
        self._told: tuple[float | None, set[int]] = None, set()
        self._timer: asyncio.TimerHandle | None = None

    def note(self) -> None:
        """A worker has said how much it runs, or has become ready."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHERING, self._tell)

    def _tell(self) -> None:
        self._timer = None
        serving = [each for each in self._workers.values() if each.member.phase is Phase.READY]
        news = fair_share([each.running for each in serving]), {each.member.number for each in serving}
        if news != self._told:
            self._told = news
            for each in serving:
                each.share(news[0])


def fair_share(running: Sequence[int]) -> float | None:
    """How many requests each may run where `running` are those of all; None where there is nobody to leave them to."""
    return sum(running) / len(running) * _SPREAD + _SLACK if len(running) > 1 else None
