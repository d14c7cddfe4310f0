"""Which transports drive pipes on this system: what a loop is asked for is what it gives."""

import asyncio
import os
import sys

from penstock_reactor import EventLoop
from penstock_reactor.pipes import ReadPipeTransport, WritePipeTransport
from penstock_reactor.threaded_pipes import ThreadedReadPipeTransport, ThreadedWritePipeTransport
from support.recorders import Recorder


def test_a_loop_polls_both_ends_of_a_pipe_and_leaves_them_to_threads_where_it_cannot() -> None:
    loop = EventLoop()
    try:
        source, sink = os.pipe()
        reading, _ = loop.run_until_complete(loop.connect_read_pipe(Recorder, open(source, "rb", 0)))
        writing, _ = loop.run_until_complete(loop.connect_write_pipe(Recorder, open(sink, "wb", 0)))
        threaded, polled = (ThreadedReadPipeTransport, ThreadedWritePipeTransport), (ReadPipeTransport, WritePipeTransport)
        assert (type(reading), type(writing)) == (threaded if sys.platform == "win32" else polled)
        writing.close()
        reading.close()
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        loop.close()
