"""Every race is a row: what is known about the workers, and what must be done about it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from penstock.supervisor.fleet import (
    BROKEN_OFF, LONGEST_BACKOFF, STEADY, Action, Generation, Member, Phase, Verb, Wanted,
    after_crash, after_failure, after_look, backoff, plan,
)  # fmt: skip

NOW = 1000.0
WANTED = Wanted(retire_limit=10.0, start_limit=60.0, silence_limit=60.0)
TWO, FOUR = replace(WANTED, count=2), replace(WANTED, count=4)
ENDING = replace(WANTED, exit_code=0)
RELOAD = replace(FOUR, step=4, silence_limit=None, most_strikes=None)
RESTART = replace(RELOAD, count=1, step=1, overlaps=False)

G1 = Generation(1)
G2 = Generation(2)
SERVING = Generation(1, is_proven=True)
FAILED = Generation(2, has_failed=True, strikes=1, not_before=NOW + 1)


def starting(number: int, generation: int = 1, age: float = 1.0) -> Member:
    return Member(number, generation, NOW - age)


def ready(number: int, generation: int = 1, silent: float = 0.5, age: float = 100.0, **more: Any) -> Member:
    return Member(number, generation, NOW - age, Phase.READY, NOW - silent, **more)


def retiring(number: int, generation: int = 1, age: float = 1.0, patience: float | None = 10.0, **more: Any) -> Member:
    return Member(number, generation, NOW - age, Phase.RETIRING, patience=patience, **more)


def worn(number: int) -> Member:
    return ready(number, is_worn=True)


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
    ("a short silence is nothing", [ready(1, silent=WANTED.question_after - 1)], WANTED, SERVING, []),
    ("a longer one is asked about", [ready(1, silent=WANTED.question_after + 1)], WANTED, SERVING, [question(1)]),
    ("once", [ready(1, silent=20, is_questioned=True)], WANTED, SERVING, []),
    ("a long one: a successor starts", [ready(1, silent=61, is_questioned=True)], WANTED, SERVING, [start()]),
    ("only when it is ready the silent one goes", [ready(1, silent=61, is_questioned=True), starting(2)], WANTED, SERVING, []),
    ("then it goes, not the successor", [ready(1, silent=61, is_questioned=True), ready(2)], WANTED, SERVING, [retire(1)]),
    ("it found its voice again: the successor is one too many", [ready(1), ready(2)], WANTED, SERVING, [retire(2)]),
    ("before it is ready a worker may be silent", [starting(1, age=50)], WANTED, G1, []),
    ("somebody debugs: silence is nothing", [ready(n, silent=1e6) for n in (1, 2, 3, 4)], RELOAD, SERVING, []),
    ("what holds one that does not leave is asked before it is killed", [retiring(1, age=9.5), ready(2)], WANTED, SERVING,
     [question(1)]),
    ("once, too", [retiring(1, age=9.5, is_questioned=True), ready(2)], WANTED, SERVING, []),
    ("where a start hangs, too", [starting(1, age=59.5)], WANTED, G1, [question(1)]),
    ("one that is broken off is not asked", [retiring(1, age=1.5, patience=BROKEN_OFF), starting(2, 2)], WANTED, G2, []),
    # the worn
    ("one that is worn serves until another does", [worn(1)], WANTED, SERVING, [start()]),
    ("that one is awaited", [worn(1), starting(2)], WANTED, SERVING, []),
    ("then it goes", [worn(1), ready(2)], WANTED, SERVING, [retire(1)]),
    ("it may be the younger one", [ready(1), worn(2), ready(3)], TWO, SERVING, [retire(2)]),
    ("of many that are worn one is replaced at a time", [worn(n) for n in (1, 2, 3, 4)], FOUR, SERVING, [start()]),
    ("its time is over", [ready(1, expires_at=NOW)], WANTED, SERVING, [start()]),
    ("its time is not over yet", [ready(1, expires_at=NOW + 1)], WANTED, SERVING, []),
    ("worn and of an old generation: the new one is on its way", [worn(1), starting(2, 2)], WANTED, G2, []),
    ("its successor does not start: it serves on, after the back-off another is tried", [worn(1)], WANTED,
     replace(SERVING, strikes=2, not_before=NOW + 2), []),
    ("worn while fewer are wanted", [worn(1), ready(2)], WANTED, SERVING, [retire(1)]),
    # old and new cannot live together
    ("the old one goes first", [ready(1)], RESTART, G2, [retire(1)]),
    ("until it is gone nobody starts", [retiring(1)], RESTART, G2, []),
    ("it does not go: it is killed", [retiring(1, age=11)], RESTART, G2, [kill(1)]),
    ("killed, it is waited for", [killed(1)], RESTART, G2, []),
    ("gone: the new one starts", [], RESTART, G2, [start(2)]),
    ("a change during its start", [starting(2, 2)], RESTART, Generation(3), [broken_off(2)]),
    ("worn: it goes first, too", [worn(1)], RESTART, SERVING, [retire(1)]),
    ("it failed, and nobody serves: tried again after the back-off", [], RESTART, replace(FAILED, not_before=NOW), [start(2)]),
    ("several: all go, then all start", [ready(1), ready(2)], replace(RESTART, count=2, step=2), G2, [retire(2), retire(1)]),
    ("one of several lingers", [retiring(1)], replace(RESTART, count=2, step=2), G2, []),
    ("fewer: the newest goes", [ready(1), ready(2)], RESTART, SERVING, [retire(2)]),
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
    ("what holds one is asked before it is killed, at the end, too", [retiring(1, age=9.5), retiring(2)], ENDING, SERVING,
     [question(1)]),
    ("once, then, too", [retiring(1, age=9.5, is_questioned=True)], ENDING, SERVING, []),
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
        if wanted.exit_code is None and wanted.overlaps:
            left = {each.number for each in workers if each.phase is Phase.READY}
            enough = len(left) >= wanted.count
            left -= {each.number for each in plan(workers, wanted, generation, NOW) if each.verb is Verb.RETIRE}
            assert not enough or len(left) >= wanted.count


def test_the_back_off_doubles_up_to_half_a_minute() -> None:
    assert [backoff(strikes) for strikes in range(8)] == [0, 1, 2, 4, 8, 16, LONGEST_BACKOFF, LONGEST_BACKOFF]


def test_a_generation_is_proven_when_as_many_are_ready_as_are_wanted() -> None:
    assert after_look(G1, [ready(1), starting(2)], TWO, NOW) == G1
    assert after_look(G2, [ready(1), ready(2, 2)], TWO, NOW) == G2
    proven = replace(FAILED, is_proven=True, has_failed=False)
    assert after_look(FAILED, [ready(1, 2, age=1), ready(2, 2, age=1)], TWO, NOW) == proven


def test_a_failure_before_that_fails_the_generation_and_later_ones_only_wait() -> None:
    assert after_failure(G2, starting(1, 2), NOW) == FAILED
    again = after_failure(FAILED, starting(2, 2), NOW)
    assert again == Generation(2, has_failed=True, strikes=2, not_before=NOW + 2)
    assert after_failure(SERVING, starting(1), NOW) == Generation(1, is_proven=True, strikes=1, not_before=NOW + 1)


def test_one_that_was_killed_by_others_says_nothing_about_the_code() -> None:
    assert after_failure(G2, starting(1, 2), NOW, by_others=True) == replace(G2, strikes=1, not_before=NOW + 1)
    assert after_crash(SERVING, ready(1, age=0.1), NOW, by_others=True) == SERVING
    # But at the very start somebody must be told.
    assert after_failure(G1, starting(1), NOW, by_others=True).has_failed


def test_crashes_are_forgotten_when_all_have_served_for_a_while() -> None:
    worn_out = replace(SERVING, strikes=5, not_before=NOW + 16)
    assert after_look(worn_out, [ready(1, age=STEADY), ready(2, age=STEADY)], TWO, NOW) == SERVING
    for workers in ([ready(1)], [ready(1), ready(2, age=STEADY - 1)], [ready(1), starting(2, age=100)]):
        assert after_look(worn_out, workers, TWO, NOW) == worn_out


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


# -- races: everything that happens, at every moment, to fleets of every kind

STEP = 0.25
FLEETS = {
    "one": Wanted(1), "three": Wanted(3), "reload": Wanted(1, silence_limit=None, most_strikes=None),
    "reload of three": Wanted(3, 3, silence_limit=None, most_strikes=None),
    "restart": Wanted(1, overlaps=False, most_strikes=None), "restart of three": Wanted(3, 3, overlaps=False, most_strikes=None),
}  # fmt: skip


class World:
    """A fleet whose processes start in a second and leave in a second, unless something happens to them."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted, self.generation, self.now = wanted, Generation(), NOW
        self.members: dict[int, Member] = {}
        self.started = 0
        self.broken: set[int] = set()
        """Generations whose code does not start."""
        self.hanging: set[int] = set()
        """Workers that do nothing any more, whatever they are told."""
        self.code: int | None = None

    def change(self, breaks: bool = False) -> None:
        self.generation = Generation(self.generation.number + 1)
        if breaks:
            self.broken.add(self.generation.number)

    def serving(self) -> int:
        return sum(each.phase is Phase.READY for each in self.members.values())

    def newest(self) -> Member | None:
        return self.members[max(self.members)] if self.members else None

    def end(self, worker: Member, by_others: bool = False) -> None:
        """Its process is no more."""
        del self.members[worker.number]
        if worker.phase is Phase.STARTING:
            self.generation = after_failure(self.generation, worker, self.now, by_others=by_others)
        elif worker.phase is Phase.READY:
            self.generation = after_crash(self.generation, worker, self.now, by_others=by_others)

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds / STEP)):
            self.now += STEP
            for worker in list(self.members.values()):
                self.live(worker)
            self.act()

    def settle(self) -> None:
        """Until it is over, or nothing comes of it for minutes."""
        for _ in range(50):
            self.pass_time(5)
            is_decided = self.generation.is_proven or self.generation.has_failed
            if self.code is not None or (is_decided and self.serving() == len(self.members) == self.wanted.count):
                return

    def live(self, worker: Member) -> None:
        age = self.now - worker.since
        if worker.phase is Phase.KILLED:
            self.end(worker)
        elif worker.number in self.hanging:
            return
        elif worker.phase is Phase.RETIRING and age >= 1:
            self.end(worker)
        elif worker.phase is Phase.STARTING and age >= 1:
            if worker.generation in self.broken:
                self.end(worker)
                return
            self.members[worker.number] = replace(worker, phase=Phase.READY, since=self.now, heard=self.now)
        elif worker.phase is Phase.READY:
            self.members[worker.number] = replace(worker, heard=self.now)

    def act(self) -> None:
        """What the supervisor does."""
        serving = self.serving()
        self.generation = after_look(self.generation, list(self.members.values()), self.wanted, self.now)
        for verb, number, patience in plan(list(self.members.values()), self.wanted, self.generation, self.now):
            worker = self.members.get(number)
            if verb is Verb.START:
                self.started += 1
                self.members[self.started] = Member(self.started, number, self.now)
            elif verb is Verb.GIVE_UP:
                self.wanted = replace(self.wanted, exit_code=number)
            elif verb is Verb.END:
                assert not self.members, "somebody is left behind"
                self.code = number
            elif worker is not None and verb is not Verb.QUESTION:
                phase = Phase.KILLED if verb is Verb.KILL else Phase.RETIRING
                if verb is Verb.KILL and worker.phase is Phase.STARTING:
                    self.generation = after_failure(self.generation, worker, self.now)
                self.members[number] = replace(worker, phase=phase, since=self.now, patience=patience)
        if self.wanted.exit_code is None and self.wanted.overlaps:
            assert self.serving() >= min(serving, self.wanted.count), "somebody was let go too early"
        assert len(self.members) <= 4 * self.wanted.count + 4, "too many at once"


def _change(world: World) -> None:
    world.change()


def _change_twice(world: World) -> None:
    world.change()
    world.act()
    world.change()


def _break_and_mend(world: World) -> None:
    world.change(breaks=True)
    world.pass_time(5)
    world.change()


def _break_and_mend_at_once(world: World) -> None:
    world.change(breaks=True)
    world.act()
    world.change()


def _kill_the_newest(world: World) -> None:
    worker = world.newest()
    if worker is not None:
        world.end(worker, by_others=True)


def _kill_all(world: World) -> None:
    for worker in list(world.members.values()):
        world.end(worker, by_others=True)


def _crash_the_newest(world: World) -> None:
    worker = world.newest()
    if worker is not None:
        world.end(worker)


def _hang_the_newest(world: World) -> None:
    worker = world.newest()
    if worker is not None:
        world.hanging.add(worker.number)
    if world.wanted.silence_limit is None:
        # Nobody looks for the silent there: the developer stops it, and saves again.
        world.change()


def _wear_all_out(world: World) -> None:
    world.members = {number: replace(each, is_worn=each.phase is Phase.READY) for number, each in world.members.items()}


def _scale_up(world: World) -> None:
    world.wanted = replace(world.wanted, count=world.wanted.count + 2)


def _scale_down(world: World) -> None:
    world.wanted = replace(world.wanted, count=1)


def _sleep(world: World) -> None:
    """The clock jumps, and what was told to the plan is moved with it, as the supervisor does."""
    world.now += 10_000
    world.members = {number: replace(each, since=each.since + 10_000, heard=each.heard + 10_000)
                     for number, each in world.members.items()}  # fmt: skip


def _stop(world: World) -> None:
    world.wanted = replace(world.wanted, exit_code=0)


EVENTS = [_change, _change_twice, _break_and_mend, _break_and_mend_at_once, _kill_the_newest, _kill_all, _crash_the_newest,
          _hang_the_newest, _wear_all_out, _scale_up, _scale_down, _sleep, _stop]  # fmt: skip

# Seconds of quiet, then a change if it is one, then more seconds: the moment at which the event falls.
MOMENTS = {
    "before anybody has started": (0.0, False, 0.0), "during the first start": (0.5, False, 0.0),
    "when all serve": (5.0, False, 0.0), "as a change is seen": (5.0, True, 0.0), "while the new ones start": (5.0, True, 0.5),
    "as a new one is ready": (5.0, True, 1.25), "while an old one leaves": (5.0, True, 1.75),
    "half way through": (5.0, True, 3.0),
}  # fmt: skip


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
@pytest.mark.parametrize("fleet", FLEETS.values(), ids=FLEETS)
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__.strip("_"))
def test_whatever_happens_whenever_the_fleet_comes_to_what_is_wanted(
    event: Callable[[World], None], fleet: Wanted, moment: tuple[float, bool, float]
) -> None:
    world = World(fleet)
    before, changes, after = moment
    if before or event is not _stop:
        world.act()
    world.pass_time(before)
    if changes:
        world.change()
        world.act()
    world.pass_time(after)
    first_start = not world.generation.is_proven and world.generation.number == 1
    event(world)
    world.act()
    world.settle()
    if world.wanted.exit_code is not None:
        # It was stopped; or the first start failed, of which nobody can say that it will be better the next time.
        assert world.code == world.wanted.exit_code and (event is _stop or (first_start and world.code == 3))
        return
    if world.generation.has_failed:
        # New code that did not start: those from before serve on, and the next save mends it.
        assert event in (_crash_the_newest, _hang_the_newest) and world.serving() == world.wanted.count
        world.change()
        world.settle()
    assert world.generation.is_proven and world.serving() == len(world.members) == world.wanted.count
    assert {each.generation for each in world.members.values()} == {world.generation.number}


def test_a_crash_loop_with_nobody_left_ends_with_1_and_with_somebody_left_goes_on() -> None:
    world = World(Wanted(2))
    world.act()
    world.pass_time(5)
    world.broken.add(1)
    _kill_the_newest(world)
    world.pass_time(1000)
    assert world.code is None and len(world.members) <= 2
    _kill_all(world)
    world.pass_time(1000)
    assert world.code == 1
