"""Asynchronous generators are closed, by the collector's word or at the end."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from penstock_reactor import EventLoop

Reports = list[dict[str, Any]]


async def counting(closed: list[str], name: str = "") -> AsyncIterator[int]:
    try:
        for number in range(100):
            yield number
    finally:
        await asyncio.sleep(0)
        closed.append(name)


async def failing() -> AsyncIterator[int]:
    try:
        yield 1
    finally:
        raise ValueError("in finally")


def test_a_collected_generator_is_closed_by_the_loop(loop: EventLoop) -> None:
    closed: list[str] = []

    async def main() -> None:
        async for _ in counting(closed):
            break
        gc.collect()
        for _ in range(5):
            await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert closed == [""]


def test_shutdown_closes_every_open_generator(loop: EventLoop) -> None:
    closed: list[str] = []
    generators = [counting(closed, name) for name in "abc"]

    async def main() -> None:
        for generator in generators:
            await anext(generator)

    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_asyncgens())
    assert sorted(closed) == ["a", "b", "c"]


def test_shutdown_with_nothing_open_is_fine(loop: EventLoop) -> None:
    loop.run_until_complete(loop.shutdown_asyncgens())


def test_what_goes_wrong_while_closing_is_reported(loop: EventLoop, reports: Reports) -> None:
    generator = failing()

    async def main() -> None:
        await anext(generator)

    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_asyncgens())
    [report] = reports
    assert report["asyncgen"] is generator
    assert str(report["exception"]) == "in finally"


def test_a_generator_started_after_shutdown_warns(loop: EventLoop) -> None:
    async def main() -> None:
        await loop.shutdown_asyncgens()
        generator = counting([])
        with pytest.warns(ResourceWarning, match="after loop.shutdown_asyncgens"):
            await anext(generator)
        await generator.aclose()  # type: ignore[attr-defined]

    loop.run_until_complete(main())


def test_a_generator_collected_after_the_loop_closed_is_let_go(loop: EventLoop, reports: Reports) -> None:
    generator: Any = counting([])

    async def main() -> None:
        await anext(generator)

    loop.run_until_complete(main())
    loop.close()
    del generator
    gc.collect()
    assert reports == []


def test_the_interpreters_hooks_are_given_back(loop: EventLoop) -> None:
    def mine(_generator: Any) -> None: ...

    former = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=mine, finalizer=mine)
    try:
        seen: list[Any] = []
        loop.call_soon(lambda: seen.append(sys.get_asyncgen_hooks()))
        loop.call_soon(loop.stop)
        loop.run_forever()
        assert seen[0].firstiter is not mine
        assert sys.get_asyncgen_hooks() == (mine, mine)
    finally:
        sys.set_asyncgen_hooks(*former)
