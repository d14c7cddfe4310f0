"""What to do next with a fleet of workers: a pure function of what is known about them.

    plan(workers, wanted, generation, now) -> actions

Nothing here starts, stops or waits for anything: `supervisor.py` asks after each event, does what it is told, and asks
again. So every race is a row in this module's test table. One mechanism serves the start, reload, rolling restart,
scaling and the replacement of the dead, the silent and the worn: start what is missing from the present generation;
when more workers are ready than are wanted, retire the surplus, old ones first. So nobody leaves before a successor is
ready; but where old and new cannot live together, the old ones leave first and the new ones start when they are gone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

FIRST = 1
"""The number of the first generation. One that fails ends the program; of later ones only themselves."""

LONGEST_BACKOFF = 30.0
STEADY = 3.0
"""Seconds after which a worker that was ready has proven that its code does not crash by itself."""

BROKEN_OFF = 2.0
"""Seconds that a worker gets to leave which is no longer wanted and was not ready yet."""

LAST_QUESTION = 2.0
"""Seconds before one that does not leave is killed, at which it is asked what holds it."""

NOT_STARTED, GIVEN_UP, FORCED, NOT_BOUND = 3, 1, 1, 1
"""Exit codes."""


class Phase(Enum):
    STARTING = "starting"
    READY = "ready"
    RETIRING = "retiring"
    KILLED = "killed"


@dataclass(frozen=True, slots=True)
class Member:
    """What is known about one worker. All times are of one monotonic clock."""

    number: int
    generation: int
    since: float
    """When it came into its present phase."""
    phase: Phase = Phase.STARTING
    heard: float = 0.0
    """When it last gave a sign of life; counts from READY on."""
    patience: float | None = None
    """Seconds it may retire for; None is for ever."""
    is_questioned: bool = False
    is_worn: bool = False
    """It has done its share: another is to take its place, without haste."""
    expires_at: float | None = None
    """When it is worn by its age."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the fleet is to be."""

    count: int = 1
    step: int = 1
    """Workers of a new generation that start at once while an older one serves."""
    retire_limit: float | None = 10.0
    start_limit: float | None = 60.0
    question_after: float = 5.0
    """Seconds of silence after which a worker is asked where it stands."""
    silence_limit: float | None = 60.0
    most_strikes: int | None = 10
    """Crashes in a row, with nobody left to serve, after which the program gives up."""
    overlaps: bool = True
    """Old and new may live at the same time; else the new one starts when the old one is gone."""
    exit_code: int | None = None
    """Not None: end, with this code."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One state of the application's code, and how workers fared with it."""

    number: int = FIRST
    is_proven: bool = False
    """Once, as many were ready as are wanted."""
    has_failed: bool = False
    """One did not start, and the generation was not proven: an older one goes on in its place."""
    strikes: int = 0
    """Crashes in a row."""
    not_before: float = 0.0
    """No worker is started before."""


class Verb(Enum):
    START = "start"
    RETIRE = "retire"
    KILL = "kill"
    QUESTION = "question"
    GIVE_UP = "give up"
    END = "end"


class Action(NamedTuple):
    """`number` is the worker's; for START the generation's, for GIVE_UP and END the exit code."""

    verb: Verb
    number: int
    patience: float | None = None


def plan(workers: Sequence[Member], wanted: Wanted, generation: Generation, now: float) -> list[Action]:
    """What is to be done at this moment; asked again after each of these, each event and a few times a second."""
    actions = [Action(Verb.KILL, each.number) for each in workers if _is_overdue(each, wanted, now)]
    actions += [Action(Verb.QUESTION, each.number) for each in workers if _is_questionable(each, wanted, now)]
    alive = [each for each in workers if each.phase in (Phase.STARTING, Phase.READY)]
    if wanted.exit_code is not None:
        if not workers:
            return [Action(Verb.END, wanted.exit_code)]
        return actions + [_retire(each, wanted) for each in alive]
    ready = [each for each in alive if each.phase is Phase.READY]
    if generation.number == FIRST and generation.has_failed:
        return [Action(Verb.GIVE_UP, NOT_STARTED)]
    if wanted.most_strikes is not None and generation.strikes > wanted.most_strikes and not ready:
        return [Action(Verb.GIVE_UP, GIVEN_UP)]

    present = [each for each in alive if each.generation == generation.number and not _is_spent(each, wanted, now)]
    others = [each for each in ready if each not in present]
    starting = [each for each in present if each.phase is Phase.STARTING]
    # Nobody tries again what has failed, but to fill a gap.
    target = max(0, wanted.count - len(others)) if generation.has_failed else wanted.count
    missing = target - len(present)
    if not wanted.overlaps and len(workers) > len(present):
        missing = 0
    elif others:
        missing = min(missing, wanted.step - len(starting))
    if now >= generation.not_before:
        actions += [Action(Verb.START, generation.number)] * missing

    leaving = [each for each in alive if each.phase is Phase.STARTING and each.generation != generation.number]
    leaving += starting[max(0, len(starting) - max(0, len(present) - target)) :]
    surplus = sorted(ready, key=lambda each: (each in present, each.generation, -each.number))
    staying = wanted.count if wanted.overlaps else min(wanted.count, len(ready) - len(others))
    leaving += surplus[: max(0, len(ready) - staying)]
    return actions + [_retire(each, wanted) for each in leaving]


def after_look(generation: Generation, workers: Sequence[Member], wanted: Wanted, now: float) -> Generation:
    """What those that are ready prove: the generation, when they are as many as are wanted; that earlier crashes are over."""
    ready = [each for each in workers if each.phase is Phase.READY]
    if sum(each.generation == generation.number for each in ready) >= wanted.count:
        generation = replace(generation, is_proven=True, has_failed=False)
    if sum(now - each.since >= STEADY for each in ready) >= wanted.count:
        generation = replace(generation, strikes=0, not_before=0.0)
    return generation


def after_failure(generation: Generation, worker: Member, now: float, *, by_others: bool = False) -> Generation:
    """A worker did not start: it said so, died before it was ready, or took too long.

    `by_others`: somebody killed it, which says nothing about the code; the first start ends the program all the same.
    """
    if worker.generation != generation.number:
        return generation
    strikes, speaks = generation.strikes + 1, generation.number == FIRST or not by_others
    failed = generation.has_failed or (speaks and not generation.is_proven)
    return replace(generation, strikes=strikes, has_failed=failed, not_before=now + backoff(strikes))


def after_crash(generation: Generation, worker: Member, now: float, *, by_others: bool = False) -> Generation:
    """A worker that was ready has died. Its successor starts at once, unless it died by itself and this is becoming a habit."""
    if worker.generation != generation.number or by_others:
        return generation
    strikes = 0 if now - worker.since >= STEADY else generation.strikes
    return replace(generation, strikes=strikes + 1, not_before=max(generation.not_before, now + backoff(strikes)))


def backoff(strikes: int) -> float:
    """Seconds to wait before the next start: 0, 1, 2, 4 … 30."""
    return min(LONGEST_BACKOFF, 2.0 ** (strikes - 1)) if strikes else 0.0


def _retire(worker: Member, wanted: Wanted) -> Action:
    patience = wanted.retire_limit if worker.phase is Phase.READY else BROKEN_OFF
    return Action(Verb.RETIRE, worker.number, patience)


def _limit(worker: Member, wanted: Wanted) -> float | None:
    """Seconds that it may be in its phase."""
    return {Phase.STARTING: wanted.start_limit, Phase.RETIRING: worker.patience}.get(worker.phase)


def _is_overdue(worker: Member, wanted: Wanted, now: float) -> bool:
    limit = _limit(worker, wanted)
    return limit is not None and now - worker.since > limit


def _is_spent(worker: Member, wanted: Wanted, now: float) -> bool:
    """It serves as long as it must, but another is to take its place: it is worn, or silent for long."""
    if worker.phase is not Phase.READY:
        return False
    is_silent = wanted.silence_limit is not None and now - worker.heard > wanted.silence_limit
    return is_silent or worker.is_worn or (worker.expires_at is not None and now >= worker.expires_at)


def _is_questionable(worker: Member, wanted: Wanted, now: float) -> bool:
    """Time to look where it stands: it is silent, or will soon be killed because it does not start or leave."""
    limit = _limit(worker, wanted)
    if worker.is_questioned or worker.phase is Phase.KILLED:
        return False
    if worker.phase is Phase.READY:
        return wanted.silence_limit is not None and now - worker.heard > wanted.question_after
    return limit is not None and limit > BROKEN_OFF and limit - LAST_QUESTION < now - worker.since <= limit
