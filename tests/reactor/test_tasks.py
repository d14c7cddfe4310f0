"""Tasks and task factories, with what each Python passes them."""

import asyncio
import contextvars
import sys
from typing import Any

import pytest
from penstock_reactor import EventLoop


async def answer() -> int:
    return 42


class Factory:
    """Makes plain tasks and remembers what it was given."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(self, loop: Any, coro: Any, **options: Any) -> asyncio.Task[Any]:
        self.calls.append(options)
        return asyncio.Task(coro, loop=loop, **options)


def test_a_task_runs_and_has_the_name_and_context_it_was_given(loop: EventLoop) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    context = contextvars.copy_context()
    context.run(variable.set, "given")

    async def look() -> str:
        return variable.get()

    task = loop.create_task(look(), name="the name", context=context)
    assert task.get_name() == "the name"
    assert loop.run_until_complete(task) == "given"
    unnamed = loop.create_task(answer())
    assert unnamed.get_name().startswith("Task-")
    assert loop.run_until_complete(unnamed) == 42


def test_a_factory_makes_the_tasks(loop: EventLoop) -> None:
    factory = Factory()
    loop.set_task_factory(factory)
    assert loop.get_task_factory() is factory
    context = contextvars.copy_context()
    tasks = [loop.create_task(answer()), loop.create_task(answer(), name="n"), loop.create_task(answer(), context=context)]
    for task in tasks:
        assert loop.run_until_complete(task) == 42
    assert tasks[1].get_name() == "n"
    named = {"name": "n"} if sys.version_info >= (3, 14) else {}
    assert factory.calls == [{}, named, {"context": context}]


def test_a_factory_that_knows_no_options_works_as_before(loop: EventLoop) -> None:
    loop.set_task_factory(lambda loop, coro: asyncio.Task(coro, loop=loop))
    assert loop.run_until_complete(answer()) == 42
    if sys.version_info < (3, 14):
        assert loop.create_task(asyncio.sleep(0), name="n").get_name() == "n"
    loop.run_until_complete(asyncio.sleep(0))


def test_a_factory_may_return_something_without_a_name(loop: EventLoop) -> None:
    def factory(loop: Any, coro: Any, **_: Any) -> Any:
        coro.close()
        return loop.create_future()

    loop.set_task_factory(factory)
    assert isinstance(loop.create_task(answer(), name="n"), asyncio.Future)


def test_extra_options_reach_the_factory(loop: EventLoop) -> None:
    seen: list[Any] = []

    def factory(loop: Any, coro: Any, **options: Any) -> asyncio.Task[Any]:
        seen.append(options.pop("extra"))
        return asyncio.Task(coro, loop=loop, **options)

    loop.set_task_factory(factory)
    loop.run_until_complete(loop.create_task(answer(), extra=7))
    assert seen == [7]


def test_options_that_a_task_does_not_know_are_type_errors(loop: EventLoop) -> None:
    coro = answer()
    with pytest.raises(TypeError):
        loop.create_task(coro, nonsense=True)
    coro.close()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks since 3.12")
def test_an_eager_task_starts_at_once(loop: EventLoop) -> None:
    async def main() -> None:
        task = loop.create_task(answer(), eager_start=True)
        assert task.done()
        assert task.result() == 42

    loop.run_until_complete(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks since 3.12")
def test_asyncios_eager_factory_works(loop: EventLoop) -> None:
    factory: Any = getattr(asyncio, "eager_task_factory")
    loop.set_task_factory(factory)

    async def main() -> None:
        task = asyncio.create_task(answer(), name="eager")
        assert task.done()
        assert task.get_name() == "eager"
        async with asyncio.TaskGroup() as group:
            slow = group.create_task(asyncio.sleep(0.001, "slow"))
        assert slow.result() == "slow"

    loop.run_until_complete(main())


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="eager tasks since 3.12")
def test_eager_start_is_a_type_error_where_it_does_not_exist(loop: EventLoop) -> None:
    coro = answer()
    with pytest.raises(TypeError):
        loop.create_task(coro, eager_start=True)
    coro.close()
