"""Every race is a row: what is known about the workers, and what must be done about it."""

from dataclasses import replace
from typing import Any

import pytest

from penstock.supervisor.fleet import (
    BROKEN_OFF, LONGEST_BACKOFF, QUESTIONED_AFTER, STEADY, Action, Generation, Member, Phase, Verb, Wanted,
    after_crash, after_failure, after_ready, backoff, plan,
)  # fmt: skip

NOW = 1000.0
WANTED = Wanted(retire_limit=10.0, start_limit=60.0, silence_limit=60.0)
TWO, FOUR = replace(WANTED, count=2), replace(WANTED, count=4)
ENDING = replace(WANTED, exit_code=0)
RELOAD = replace(FOUR, step=4, silence_limit=None, most_strikes=None)

G1 = Generation(1)
G2 = Generation(2)
SERVING = Generation(1, is_proven=True)
FAILED = Generation(2, has_failed=True, strikes=1, not_before=NOW + 1)


def starting(number: int, generation: int = 1, age: float = 1.0) -> Member:
    return Member(number, generation, NOW - age)


def ready(number: int, generation: int = 1, silent: float = 0.5, age: float = 100.0, **more: Any) -> Member:
    return Member(number, generation, NOW - age, Phase.READY, NOW - silent, **more)


def retiring(number: int, generation: int = 1, age: float = 1.0, patience: float | None = 10.0) -> Member:
    return Member(number, generation, NOW - age, Phase.RETIRING, patience=patience)


def killed(number: int, generation: int = 1) -> Member:
    return Member(number, generation, NOW - 1, Phase.KILLED)


def start(generation: int = 1) -> Action:
    return Action(Verb.START, generation)


def retire(number: int, patience: float | None = 10.0) -> Action:
    return Action(Verb.RETIRE, number, patience)


def kill(number: int) -> Action:
    return Action(Verb.KILL, number)


def question(number: int) -> Action:
    return Action(Verb.QUESTION, number)


def give_up(code: int) -> Action:
    return Action(Verb.GIVE_UP, code)


def broken_off(number: int) -> Action:
    return retire(number, BROKEN_OFF)


Row = tuple[str, list[Member], Wanted, Generation, list[Action]]

ROWS: list[Row] = [
    # the start
    ("nobody is there: everybody starts", [], FOUR, G1, [start()] * 4),
    ("all are starting: wait", [starting(1), starting(2)], TWO, G1, []),
    ("one is ready, one is not: wait", [ready(1), starting(2)], TWO, G1, []),
    ("all serve: nothing", [ready(1), ready(2)], TWO, SERVING, []),
    ("the first start fails: end with 3", [], WANTED, replace(G1, has_failed=True), [give_up(3)]),
    ("one of the first workers fails, though another is ready: end with 3",
     [ready(1), starting(2)], TWO, replace(G1, has_failed=True), [give_up(3)]),
    ("while the first start failed, it is not tried again", [starting(1)], TWO, replace(G1, has_failed=True), [give_up(3)]),
    ("the first worker hangs in its import: it is killed", [starting(1, age=61)], WANTED, G1, [kill(1)]),
    ("killed, it fails the first start when its end is noted", [killed(1)], WANTED, replace(G1, has_failed=True), [give_up(3)]),
    ("without a limit it may hang for ever", [starting(1, age=1e6)], replace(WANTED, start_limit=None), G1, []),
    # a new generation
    ("a change: the new one starts, the old one stays", [ready(1)], WANTED, G2, [start(2)]),
    ("until it is ready, the old one stays", [ready(1), starting(2, 2)], WANTED, G2, []),
    ("only then the old one retires", [ready(1), ready(2, 2)], WANTED, G2, [retire(1)]),
    ("it retires: wait", [retiring(1), ready(2, 2)], WANTED, G2, []),
    ("it does not end: it is killed", [retiring(1, age=11), ready(2, 2)], WANTED, G2, [kill(1)]),
    ("it is killed once", [killed(1), ready(2, 2)], WANTED, G2, []),
    ("it may take for ever where it may", [retiring(1, age=1e6, patience=None), ready(2, 2)], WANTED, G2, []),
    ("a change during the start: the stale start is broken off", [starting(1)], WANTED, G2, [start(2), broken_off(1)]),
    ("the same while an old one serves", [ready(1), starting(2, 2)], WANTED, Generation(3), [start(3), broken_off(2)]),
    ("a change during a drain: the retiring one is left alone, the ready one is the old one",
     [retiring(1), ready(2, 2)], WANTED, Generation(3), [start(3)]),
    ("two quick changes, the first ready just before the second", [retiring(1), ready(2, 2), starting(3, 3)], WANTED,
     Generation(3), []),
    ("a stale start became ready: both are old, the older retires",
     [ready(1), ready(2, 2), starting(3, 3)], WANTED, Generation(3), [retire(1)]),
    ("three generations alive, the newest ready: both others retire",
     [ready(1), ready(2, 2), ready(3, 3)], WANTED, Generation(3), [retire(1), retire(2)]),
    # a new generation that fails
    ("it died before it was ready: the old one goes on, and nothing is tried", [ready(1)], WANTED,
     replace(FAILED, not_before=0), []),
    ("its worker that is still retiring is waited for", [ready(1), retiring(2, 2)], WANTED, FAILED, []),
    ("one of several failed: the others are broken off", [ready(1), ready(2), starting(4, 2)], TWO, FAILED, [broken_off(4)]),
    ("the next save tries again", [ready(1)], WANTED, Generation(3), [start(3)]),
    ("the old one dies meanwhile: the gap is filled, after the back-off", [], WANTED, FAILED, []),
    ("… and then it is", [], WANTED, replace(FAILED, not_before=NOW), [start(2)]),
    ("only the gap is filled", [ready(1), ready(2), ready(3)], FOUR, replace(FAILED, not_before=0), [start(2)]),
    ("half way through a restart it fails: old and new go on together", [ready(1), ready(2), ready(3), ready(9, 2)], FOUR,
     FAILED, []),
    ("a failed generation that fills a gap and is ready stays", [ready(1), ready(5, 2)], TWO, FAILED, []),
    ("it hangs in its import: killed, the old one goes on", [ready(1), starting(2, 2, 61)], WANTED, G2, [kill(2)]),
    # rolling restart: one at a time
    ("of four one starts", [ready(n) for n in (1, 2, 3, 4)], FOUR, G2, [start(2)]),
    ("the next waits for it", [*[ready(n) for n in (1, 2, 3, 4)], starting(5, 2)], FOUR, G2, []),
    ("it is ready: the newest old one retires and the next starts", [*[ready(n) for n in (1, 2, 3, 4)], ready(5, 2)], FOUR, G2,
     [start(2), retire(4)]),
    ("a slow drain does not hold the others up", [*[ready(n) for n in (1, 2, 3)], retiring(4), ready(5, 2)], FOUR, G2, [start(2)]),
    ("the last", [ready(1), ready(5, 2), ready(6, 2), ready(7, 2), ready(8, 2)], FOUR, G2, [retire(1)]),
    ("a reload starts all at once", [ready(n) for n in (1, 2, 3, 4)], RELOAD, G2, [start(2)] * 4),
    ("as they come, the old ones go", [*[ready(n) for n in (1, 2, 3, 4)], ready(5, 2), ready(6, 2), starting(7, 2),
     starting(8, 2)], RELOAD, G2, [retire(4), retire(3)]),
    # the dead
    ("a worker died: another starts at once", [ready(1)], TWO, SERVING, [start()]),
    ("it crashes in a loop: back off", [ready(1)], TWO, replace(SERVING, strikes=3, not_before=NOW + 4), []),
    ("the time is over: try again", [ready(1)], TWO, replace(SERVING, strikes=3, not_before=NOW), [start()]),
    ("again and again, with others serving: never give up", [ready(1)], TWO, replace(SERVING, strikes=99), [start()]),
    ("again and again, with nobody serving: end with 1", [], TWO, replace(SERVING, strikes=11), [give_up(1)]),
    ("the last chance", [], WANTED, replace(SERVING, strikes=10), [start()]),
    ("under a reload the next save may mend it", [], RELOAD, replace(SERVING, strikes=99), [start()] * 4),
    ("an old one died while the new one starts: the new one is awaited", [starting(2, 2)], WANTED, G2, []),
    ("an old one of several died while the new one starts", [ready(1), starting(3, 2)], TWO, G2, []),
    ("all old ones died in a rolling restart: all start", [starting(5, 2)], FOUR, G2, [start(2)] * 3),
    ("one that is killed is missing at once", [killed(1), ready(2)], TWO, SERVING, [start()]),
    ("one that is retiring by itself is missing at once", [retiring(1), ready(2)], TWO, SERVING, [start()]),
    # the silent
    ("a short silence is nothing", [ready(1, silent=QUESTIONED_AFTER - 1)], WANTED, SERVING, []),
    ("a longer one is asked about", [ready(1, silent=QUESTIONED_AFTER + 1)], WANTED, SERVING, [question(1)]),
    ("once", [ready(1, silent=20, is_questioned=True)], WANTED, SERVING, []),
    ("a long one: a successor starts", [ready(1, silent=61, is_questioned=True)], WANTED, SERVING, [start()]),
    ("only when it is ready the silent one goes", [ready(1, silent=61, is_questioned=True), starting(2)], WANTED, SERVING, []),
    ("then it goes, not the successor", [ready(1, silent=61, is_questioned=True), ready(2)], WANTED, SERVING, [retire(1)]),
    ("it found its voice again: the successor is one too many", [ready(1), ready(2)], WANTED, SERVING, [retire(2)]),
    ("before it is ready a worker may be silent", [starting(1, age=50)], WANTED, G1, []),
    ("somebody debugs: silence is nothing", [ready(n, silent=1e6) for n in (1, 2, 3, 4)], RELOAD, SERVING, []),
    # scaling
    ("up", [ready(1)], TWO, SERVING, [start()]),
    ("down: the newest goes", [ready(1), ready(2)], WANTED, SERVING, [retire(2)]),
    ("down, while one starts: that one is broken off", [ready(1), starting(2)], WANTED, SERVING, [broken_off(2)]),
    ("down by two, one of them starting", [ready(1), ready(2), starting(3)], WANTED, SERVING, [broken_off(3), retire(2)]),
    ("down to fewer than are starting", [starting(1), starting(2), starting(3)], WANTED, G1, [broken_off(2), broken_off(3)]),
    ("down during a restart: old ones first", [ready(1), ready(2), ready(3, 2)], TWO, G2, [start(2), retire(2)]),
    ("up during a restart, one at a time", [ready(1), ready(2), starting(3, 2)], FOUR, G2, []),
    # the end
    ("all retire", [ready(1), ready(2)], ENDING, SERVING, [retire(1), retire(2)]),
    ("a start is broken off", [ready(1), starting(2)], ENDING, SERVING, [retire(1), broken_off(2)]),
    ("nothing new starts", [retiring(1)], ENDING, G2, []),
    ("those that are retiring go on, within their limit", [retiring(1), retiring(2, age=11)], ENDING, SERVING, [kill(2)]),
    ("the failed first start does not matter any more", [retiring(1)], replace(ENDING, exit_code=3),
     replace(G1, has_failed=True), []),
    ("the last has ended", [], replace(ENDING, exit_code=3), replace(G1, has_failed=True), [Action(Verb.END, 3)]),
    ("one that was killed is still waited for", [killed(1)], ENDING, SERVING, []),
]  # fmt: skip


@pytest.mark.parametrize("workers, wanted, generation, actions", [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_the_plan(workers: list[Member], wanted: Wanted, generation: Generation, actions: list[Action]) -> None:
    assert plan(workers, wanted, generation, NOW) == actions


def test_the_order_of_the_workers_does_not_matter() -> None:
    for _, workers, wanted, generation, actions in ROWS:
        backwards = plan(list(reversed(workers)), wanted, generation, NOW)
        # Of several that start, any may be broken off.
        assert sorted(each.verb.value for each in backwards) == sorted(each.verb.value for each in actions)


def test_nobody_is_told_to_go_while_fewer_are_ready_than_are_wanted() -> None:
    for _, workers, wanted, generation, _ in ROWS:
        if wanted.exit_code is None:
            left = {each.number for each in workers if each.phase is Phase.READY}
            enough = len(left) >= wanted.count
            left -= {each.number for each in plan(workers, wanted, generation, NOW) if each.verb is Verb.RETIRE}
            assert not enough or len(left) >= wanted.count


def test_the_back_off_doubles_up_to_half_a_minute() -> None:
    assert [backoff(strikes) for strikes in range(8)] == [0, 1, 2, 4, 8, 16, LONGEST_BACKOFF, LONGEST_BACKOFF]


def test_a_generation_is_proven_when_as_many_are_ready_as_are_wanted() -> None:
    assert after_ready(G1, [ready(1), starting(2)], TWO) == G1
    assert after_ready(G2, [ready(1), ready(2, 2)], TWO) == G2
    assert after_ready(FAILED, [ready(1, 2), ready(2, 2)], TWO) == replace(FAILED, is_proven=True, has_failed=False)


def test_a_failure_before_that_fails_the_generation_and_later_ones_only_wait() -> None:
    assert after_failure(G2, starting(1, 2), NOW) == FAILED
    again = after_failure(FAILED, starting(2, 2), NOW)
    assert again == Generation(2, has_failed=True, strikes=2, not_before=NOW + 2)
    assert after_failure(SERVING, starting(1), NOW) == Generation(1, is_proven=True, strikes=1, not_before=NOW + 1)


@pytest.mark.parametrize("change", [after_failure, after_crash])
def test_what_happens_to_an_old_generation_says_nothing_about_the_new_one(change: Any) -> None:
    assert change(G2, ready(1), NOW) == G2


def test_the_first_crash_is_made_good_at_once_and_the_next_ones_wait() -> None:
    generation, waits = SERVING, []
    for number in range(5):
        generation = after_crash(generation, ready(number, age=2), NOW)
        waits.append(generation.not_before - NOW)
    assert waits == [0, 1, 2, 4, 8]


def test_a_worker_that_has_served_for_long_begins_a_new_count() -> None:
    worn = replace(SERVING, strikes=5, not_before=NOW - 100)
    assert after_crash(worn, ready(1, age=STEADY), NOW) == replace(SERVING, strikes=1, not_before=NOW)
    several = SERVING
    for number in range(4):
        several = after_crash(several, ready(number, age=STEADY + 1), NOW)
    assert several.not_before == NOW
