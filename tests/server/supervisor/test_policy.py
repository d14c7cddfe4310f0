import signal
import sys

import pytest

from penstock.settings import Settings
from penstock.supervisor.policy import SETTLED, expiry, is_by_others, retire_limit, too_large, wanted


def test_a_fleet_in_production_and_one_that_is_worked_on_differ() -> None:
    fleet = wanted(Settings(timeout_graceful_shutdown=3, timeout_shutdown=2, timeout_startup=7), 4)
    assert (fleet.count, fleet.step, fleet.retire_limit, fleet.start_limit, fleet.overlaps) == (4, 1, 9, 11, True)
    assert (fleet.question_after, fleet.silence_limit) == (5, 60) and fleet.most_strikes is not None
    fleet = wanted(Settings(reload=True, timeout_reload=1, timeout_shutdown=2, reload_mode="restart"), 4)
    assert (fleet.step, fleet.retire_limit, fleet.silence_limit, fleet.most_strikes, fleet.overlaps) == (4, 7, None, None, False)


def test_what_may_take_for_ever_may() -> None:
    assert wanted(Settings(timeout_startup=None), 1).start_limit is None
    assert retire_limit(Settings(), None) is None
    assert retire_limit(Settings(timeout_shutdown=None), 5) is None


def test_a_lifetime_is_up_to_a_tenth_longer_by_chance() -> None:
    assert expiry(Settings(), 50.0) is None
    ends = {expiry(Settings(worker_lifetime=100), 50.0) for _ in range(50)}
    assert len(ends) > 1 and all(end is not None and 150 <= end <= 160 for end in ends)


def test_memory_is_limited_in_mebibytes_where_it_is_known() -> None:
    settings = Settings(limit_worker_memory=10)
    assert too_large(settings, (10 << 20) + 1, 1000.0) == "has 10 MiB resident"
    assert too_large(settings, 10 << 20, 1000.0) == too_large(settings, None, 1000.0) == ""
    assert too_large(Settings(), 1 << 40, 1000.0) == ""


def test_memory_does_not_count_before_a_worker_has_served_for_a_while() -> None:
    assert too_large(Settings(limit_worker_memory=10), 1 << 40, SETTLED - 0.1) == ""


def test_a_limit_that_is_reached_soon_may_be_too_low() -> None:
    what = "has 11 MiB resident after 12 s (is --limit-worker-memory 10 too little?)"
    assert too_large(Settings(limit_worker_memory=10), 11 << 20, 12.4) == what


@pytest.mark.skipif(sys.platform == "win32", reason="a process that is terminated has an exit code there")
def test_who_was_killed_is_told_from_who_crashed() -> None:
    assert all(is_by_others(-number) for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP))
    assert not any(map(is_by_others, (-signal.SIGSEGV, -signal.SIGABRT, 0, 1, None)))
