"""Protocols that write down what they hear, and a way to wait until they have heard it.

    recorder = Recorder()
    ...
    await recorder.heard("connection_lost")
    assert recorder.events == [("connection_made",), ("data_received", b"x"), ("connection_lost", None)]
"""

import asyncio
import contextvars
from typing import Any

Event = tuple[Any, ...]


class Recorder(asyncio.Protocol, asyncio.DatagramProtocol, asyncio.SubprocessProtocol):
    """Every protocol at once: it depends on the transport which methods are called."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.events: list[Event] = []
        self._waiters: list[tuple[str, int, asyncio.Future[None]]] = []

    async def heard(self, name: str, times: int = 1) -> Event:
        """Wait until `name` was called so often; the last of those calls."""
        if len(self.calls(name)) < times:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append((name, times, waiter))
            await waiter
        return self.calls(name)[times - 1]

    def calls(self, name: str) -> list[Event]:
        return [event for event in self.events if event[0] == name]

    def names(self) -> list[str]:
        return [event[0] for event in self.events]

    def data(self, fd: int | None = None) -> bytes:
        """All that was received, on one of a child's pipes or on the only one."""
        if fd is None:
            return b"".join(event[1] for event in self.calls("data_received"))
        return b"".join(event[2] for event in self.calls("pipe_data_received") if event[1] == fd)

    def note(self, *event: Any) -> None:
        self.events.append(event)
        for name, times, waiter in self._waiters:
            if not waiter.done() and len(self.calls(name)) >= times:
                waiter.set_result(None)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.note("connection_made")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.note("connection_lost", exc)

    def data_received(self, data: bytes) -> None:
        self.note("data_received", data)

    def eof_received(self) -> None:
        self.note("eof_received")

    def pause_writing(self) -> None:
        self.note("pause_writing")

    def resume_writing(self) -> None:
        self.note("resume_writing")

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.note("datagram_received", data, addr)

    def error_received(self, exc: BaseException) -> None:
        self.note("error_received", exc)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.note("pipe_data_received", fd, data)

    def pipe_connection_lost(self, fd: int, exc: BaseException | None) -> None:
        self.note("pipe_connection_lost", fd, exc)

    def process_exited(self) -> None:
        self.note("process_exited")


class InContext(Recorder):
    """Sets a context variable in connection_made; notes what it is when another method is called."""

    def __init__(self) -> None:
        super().__init__()
        self.var = contextvars.ContextVar("var", default="outer")
        self._seen: list[tuple[str, str]] = []

    def seen(self, name: str) -> list[str]:
        """What it was each time `name` was called."""
        return [value for called, value in self._seen if called == name]

    def note(self, *event: Any) -> None:
        if event[0] == "connection_made":
            self.var.set("inner")
        self._seen.append((event[0], self.var.get()))
        super().note(*event)
