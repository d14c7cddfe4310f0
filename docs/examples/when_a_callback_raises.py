"""An exception that nobody waits for goes to the loop's exception handler, and the loop goes on.

Prints:

    reported: Exception in callback main.<locals>.broken(), ZeroDivisionError
    the loop goes on
"""

import asyncio
from typing import Any

import penstock_reactor


async def main() -> None:
    loop = asyncio.get_running_loop()

    def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        message = context["message"].partition(" at ")[0]
        print(f"reported: {message}, {type(context['exception']).__name__}")

    def broken() -> None:
        raise ZeroDivisionError

    loop.set_exception_handler(report)
    loop.call_soon(broken)
    await asyncio.sleep(0.01)
    print("the loop goes on")


if __name__ == "__main__":
    penstock_reactor.run(main())
