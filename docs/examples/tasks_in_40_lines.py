"""Coroutines on that loop: a future remembers who waits for it, a task runs a coroutine until it waits.

Prints:

    one: starts
    two: starts
    two: woke up
    one: woke up
    both: 30
"""

from collections.abc import Callable, Coroutine, Generator
from typing import Any

from loop_in_40_lines import Loop


class Future:
    """A result that is not there yet."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.done = False
        self.result: Any = None
        self.callbacks: list[Callable[[], object]] = []

    def set_result(self, result: Any) -> None:
        self.done, self.result = True, result
        for callback in self.callbacks:
            self.loop.call_soon(callback)

    def __await__(self) -> Generator["Future", None, Any]:
        if not self.done:
            yield self  # travels up through every await, to the task
        return self.result


class Task(Future):
    """Runs a coroutine. It is a future itself: its result is what the coroutine returns."""

    def __init__(self, loop: Loop, coro: Coroutine[Future, None, Any]) -> None:
        super().__init__(loop)
        self.coro = coro
        loop.call_soon(self.step)

    def step(self) -> None:
        try:
            awaited = self.coro.send(None)  # run until it awaits something that is not done
        except StopIteration as stop:
            self.set_result(stop.value)
        else:
            awaited.callbacks.append(self.step)  # go on when that is done


def sleep(loop: Loop, seconds: float) -> Future:
    future = Future(loop)
    loop.call_later(seconds, lambda: future.set_result(None))
    return future


def main() -> None:
    loop = Loop()

    async def work(name: str, seconds: float, result: int) -> int:
        print(f"{name}: starts")
        await sleep(loop, seconds)
        print(f"{name}: woke up")
        return result

    async def both() -> None:
        one, two = Task(loop, work("one", 0.1, 10)), Task(loop, work("two", 0.05, 20))
        print("both:", await one + await two)
        loop.running = False

    Task(loop, both())
    loop.run()
    loop.selector.close()


if __name__ == "__main__":
    main()
