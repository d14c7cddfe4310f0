"""Threads: work that would block the loop is done in an executor, and its result comes home.

Holds the loop's default executor and the two name-service calls that use it. A numeric address needs no name
service, so it is answered at once, without a thread.
"""

import asyncio
import socket
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import Executor, ThreadPoolExecutor

_NUMERIC = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV


class Threads:
    """The default executor of one loop: made when first needed, shut down once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._default: ThreadPoolExecutor | None = None
        self._shut_down = False

    def run(
        self, executor: "Executor | None", function: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """Call `function(*args)` in `executor` (None: the default one); the future brings what comes of it."""
        if executor is None:
            executor = self._default or self._make_default()
        return asyncio.wrap_future(executor.submit(function, *args), loop=self._loop)

    def set_default(self, executor: "ThreadPoolExecutor") -> None:
        """Use `executor` from here on. TypeError unless it is a ThreadPoolExecutor."""
        from concurrent.futures import ThreadPoolExecutor

        if not isinstance(executor, ThreadPoolExecutor):
            raise TypeError("executor must be ThreadPoolExecutor instance")
        self._default = executor

    async def shutdown(self, timeout: float | None) -> None:
        """Wait for the default executor's threads to end; RuntimeWarning when that takes over `timeout` seconds."""
        self._shut_down = True
        executor = self._default
        if executor is None:
            return
        joined = self._loop.create_future()
        thread = threading.Thread(target=self._join, args=(executor, joined))
        thread.start()
        try:
            async with asyncio.timeout(timeout):
                await joined
        except TimeoutError:
            warnings.warn(
                f"The executor did not finishing joining its threads within {timeout} seconds.",
                RuntimeWarning,
                stacklevel=2,
            )
            executor.shutdown(wait=False)
        else:
            thread.join()

    def abandon(self) -> None:
        """Let the threads end by themselves; closing a loop does not wait for them."""
        self._shut_down = True
        executor, self._default = self._default, None
        if executor is not None:
            executor.shutdown(wait=False)

    def _make_default(self) -> "ThreadPoolExecutor":
        if self._shut_down:
            raise RuntimeError("Executor shutdown has been called")
        from concurrent.futures import ThreadPoolExecutor

        self._default = ThreadPoolExecutor(thread_name_prefix="asyncio")
        return self._default

    def _join(self, executor: "Executor", joined: "asyncio.Future[None]") -> None:
        error: BaseException | None = None
        try:
            executor.shutdown(wait=True)
        except BaseException as problem:
            error = problem
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_settle, joined, error)


async def getaddrinfo(
    loop: asyncio.AbstractEventLoop, host: Any, port: Any, family: int, type: int, proto: int, flags: int
) -> list[Any]:
    """What `socket.getaddrinfo` says, asked in a thread unless the address is numeric."""
    if _is_numeric(host, port):
        return socket.getaddrinfo(host, port, family, type, proto, flags)
    return await loop.run_in_executor(None, socket.getaddrinfo, host, port, family, type, proto, flags)


async def getnameinfo(loop: asyncio.AbstractEventLoop, address: Any, flags: int) -> tuple[str, str]:
    """What `socket.getnameinfo` says, asked in a thread unless only numbers are wanted."""
    if flags & _NUMERIC == _NUMERIC:
        return socket.getnameinfo(address, flags)
    return await loop.run_in_executor(None, socket.getnameinfo, address, flags)


def _is_numeric(host: Any, port: Any) -> bool:
    if not (port is None or isinstance(port, int) or (isinstance(port, (str, bytes)) and port.isdigit())):
        return False
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if not isinstance(host, str):
        return False
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
            return True
        except (OSError, ValueError):
            continue
    return False


def _settle(future: "asyncio.Future[None]", error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
