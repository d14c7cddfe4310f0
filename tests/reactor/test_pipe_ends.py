"""Which transports drive pipes on this system: what a loop is asked for is what it gives."""

import os
import sys

from penstock_reactor import EventLoop
from penstock_reactor.pipe_ends import NATIVE, POLLED, THREADED
from support.recorders import Recorder


def test_pipes_are_polled_where_the_poller_takes_them_and_else_left_to_threads() -> None:
    assert NATIVE is (THREADED if sys.platform == "win32" else POLLED)


def test_a_loop_joins_both_ends_of_a_pipe_in_the_native_way() -> None:
    loop = EventLoop()
    try:
        source, sink = os.pipe()
        reading, _ = loop.run_until_complete(loop.connect_read_pipe(Recorder, open(source, "rb", 0)))
        writing, _ = loop.run_until_complete(loop.connect_write_pipe(Recorder, open(sink, "wb", 0)))
        assert (type(reading), type(writing)) == (NATIVE.read, NATIVE.write)
        writing.close()
        reading.close()
    finally:
        loop.close()
