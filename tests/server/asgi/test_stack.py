import asyncio
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from penstock.asgi import lifespan
from penstock.asgi.stack import user_traceback, waiting_at


def raised(action: Callable[[], Any]) -> BaseException:
    with pytest.raises(BaseException) as caught:
        action()
    return caught.value


def test_a_traceback_keeps_the_lines_of_the_user_alone() -> None:
    def through_us() -> None:
        # Importing runs through the import system's frames, the second step through a file of ours.
        importlib.import_module("penstock.asgi.stack")
        lifespan._any_done((None,))  # type: ignore[arg-type]  # it is to fail

    text = user_traceback(raised(through_us))
    assert text.startswith("Traceback (most recent call last):\n")
    assert "lifespan._any_done((None,))" in text
    assert "penstock/asgi/lifespan.py" not in text and "return any(" not in text
    assert text.endswith("AttributeError: 'NoneType' object has no attribute 'done'")


def test_the_frames_of_the_import_system_are_left_out() -> None:
    text = user_traceback(raised(lambda: importlib.import_module("penstock.there_is_none")))
    assert "importlib/__init__" not in text and "<frozen" not in text
    assert text.endswith("ModuleNotFoundError: No module named 'penstock.there_is_none'")


def test_causes_contexts_and_groups_are_cleaned_too() -> None:
    def cause() -> None:
        try:
            importlib.import_module("penstock.there_is_none")
        except ImportError as error:
            raise ValueError("outer") from error

    def group() -> None:
        try:
            importlib.import_module("penstock.there_is_none")
        except ImportError as error:
            raise ExceptionGroup("many", [error]) from None

    for action in (cause, group):
        text = user_traceback(raised(action))
        assert "there_is_none" in text and "importlib/__init__" not in text and "<frozen" not in text


def test_an_error_that_is_its_own_context_comes_to_an_end() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__context__, second.__context__ = second, first
    assert "ValueError: first" in user_traceback(first)


async def plain() -> None:
    await innermost()


async def innermost() -> None:
    await asyncio.Event().wait()  # where it waits


@asynccontextmanager
async def resource() -> AsyncIterator[None]:
    await innermost()
    yield


async def with_a_context_manager() -> None:
    async with resource():
        pass


async def items() -> AsyncIterator[int]:
    await innermost()
    yield 1


async def with_a_generator() -> None:
    async for _ in items():
        pass


async def with_a_task() -> None:
    await asyncio.ensure_future(innermost())


@pytest.mark.parametrize("work", [plain, with_a_context_manager, with_a_generator, with_a_task])
def test_a_waiting_task_says_where_through_whatever_it_waits(work: Callable[[], Awaitable[None]]) -> None:
    async def look() -> str:
        task = asyncio.ensure_future(work())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        text = waiting_at(task)
        task.cancel()
        for other in asyncio.all_tasks() - {asyncio.current_task()}:
            other.cancel()
        return text

    text = asyncio.run(look())
    assert work.__name__ in text
    assert "await asyncio.Event().wait()  # where it waits" in text


def test_a_task_that_has_ended_waits_nowhere() -> None:
    async def look() -> str:
        task = asyncio.ensure_future(asyncio.sleep(0))
        await task
        return waiting_at(task)

    assert asyncio.run(look()) == ""
