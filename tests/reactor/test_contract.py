"""The contract between the rooms: the loop keeps it, and rooms need no more than it names."""

import asyncio

from penstock_reactor import EventLoop
from penstock_reactor.contract import ReactorLoop
from penstock_reactor.poller import Poller


def test_the_loop_is_what_its_rooms_are_promised(loop: EventLoop) -> None:
    assert isinstance(loop, ReactorLoop)
    assert issubclass(ReactorLoop, asyncio.AbstractEventLoop)
    assert isinstance(loop._poller, Poller)
    assert len(loop._transports) == 0
