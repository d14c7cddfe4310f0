"""Starting a transport, on one that only notes what is asked of it."""

import asyncio
import contextvars
from typing import Any

import pytest
from penstock_reactor import EventLoop
from penstock_reactor.starting import start
from support.recorders import Recorder


class Transport(asyncio.BaseTransport):
    def __init__(self, fault: BaseException | None = None) -> None:
        super().__init__()
        self.log: list[str] = []
        self.fault = fault

    def begin(self) -> None:
        self.log.append("begin")
        if self.fault is not None:
            raise self.fault

    def close(self) -> None:
        self.log.append("close")


def run(loop: EventLoop, transport: Transport, protocol: Recorder) -> None:
    loop.run_until_complete(start(loop, transport, protocol, transport.begin, contextvars.copy_context()))


def test_the_protocol_hears_before_the_transport_begins(loop: EventLoop) -> None:
    transport = Transport()

    class Looking(Recorder):
        def connection_made(self, made: Any) -> None:
            assert made is transport
            assert transport.log == []
            super().connection_made(made)

    protocol = Looking()
    run(loop, transport, protocol)
    assert transport.log == ["begin"]
    assert protocol.names() == ["connection_made"]


def test_a_protocol_that_raises_is_reported_and_the_transport_begins(
    loop: EventLoop, reports: list[dict[str, Any]]
) -> None:
    class Broken(Recorder):
        def connection_made(self, transport: Any) -> None:
            raise ZeroDivisionError

    transport = Transport()
    run(loop, transport, Broken())
    assert transport.log == ["begin"]
    assert isinstance(reports[0]["exception"], ZeroDivisionError)


def test_a_transport_that_cannot_begin_fails_the_caller_and_is_closed(loop: EventLoop) -> None:
    transport = Transport(OSError("full"))
    with pytest.raises(OSError, match="full"):
        run(loop, transport, Recorder())
    assert transport.log == ["begin", "close"]


@pytest.mark.parametrize("fault", [None, OSError("full")])
def test_a_cancelled_start_closes_the_transport(loop: EventLoop, fault: BaseException | None) -> None:
    transport = Transport(fault)

    async def main() -> None:
        task = asyncio.ensure_future(
            start(loop, transport, Recorder(), transport.begin, contextvars.copy_context())
        )
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    loop.run_until_complete(main())
    assert transport.log[-1] == "close"
