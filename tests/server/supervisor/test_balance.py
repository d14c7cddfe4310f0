import asyncio
from types import SimpleNamespace
from typing import Any

from penstock.supervisor import balance
from penstock.supervisor.balance import Balance, fair_share
from penstock.supervisor.fleet import Phase


def worker(number: int, running: int, phase: Phase = Phase.READY) -> Any:
    told: list[float | None] = []
    return SimpleNamespace(member=SimpleNamespace(number=number, phase=phase), running=running, told=told, share=told.append)


def test_a_share_is_a_little_more_than_the_mean_and_nothing_where_one_is_alone() -> None:
    assert fair_share([10, 20, 30]) == 20 * 1.25 + 2
    assert fair_share([0, 0]) == 2
    assert fair_share([5]) is None and fair_share([]) is None


def test_equal_workers_are_never_above_their_share() -> None:
    for count in (2, 3, 17):
        for running in (0, 1, 2, 7, 1000):
            assert running <= (fair_share([running] * count) or 0)


def test_somebody_is_always_at_or_below_the_share() -> None:
    for running in ([0, 100], [1, 1, 50], [3, 2, 1], [1000, 999, 998, 997]):
        assert min(running) <= (fair_share(running) or 0)


def test_those_that_serve_are_told_once_for_several_words_and_again_when_it_changes(monkeypatch: Any) -> None:
    monkeypatch.setattr(balance, "GATHERING", 0.001)
    workers = {1: worker(1, 8), 2: worker(2, 0), 3: worker(3, 99, Phase.STARTING), 4: worker(4, 99, Phase.RETIRING)}

    async def told(shares: "Balance", count: int) -> None:
        for _ in range(3):
            shares.note()
        while len(workers[1].told) < count:
            await asyncio.sleep(0)

    async def main() -> None:
        shares = Balance(workers)
        await told(shares, 1)
        assert workers[1].told == workers[2].told == [7.0]
        assert workers[3].told == workers[4].told == []
        shares.note()
        await asyncio.sleep(0.01)
        assert workers[1].told == [7.0]
        workers[3].member.phase, workers[3].running = Phase.READY, 4
        await told(shares, 2)
        assert workers[3].told == [7.0]
        del workers[1], workers[3]
        shares.note()
        while len(workers[2].told) < 3:
            await asyncio.sleep(0)
        assert workers[2].told[-1] is None

    asyncio.run(main())
