"""Pipe transports over threads, chosen explicitly: as Windows has them, on any system."""

import asyncio
import contextvars
import errno
import os
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from penstock_reactor import EventLoop
from penstock_reactor.pipe_ends import THREADED, connect
from penstock_reactor.threaded_pipes import ThreadedReadPipeTransport, ThreadedWritePipeTransport
from support.recorders import Recorder

PATIENCE = 10


def run(loop: EventLoop, coro: Coroutine[Any, Any, Any]) -> Any:
    return loop.run_until_complete(asyncio.wait_for(coro, PATIENCE))


class Ends:
    """A pipe's two files."""

    def __init__(self) -> None:
        reading, writing = os.pipe()
        self.reading, self.writing = open(reading, "rb", 0), open(writing, "wb", 0)


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    yield ends
    # The writing end first: that releases a thread that still reads.
    ends.writing.close()
    for thread in threading.enumerate():
        if thread.name.startswith("penstock-pipe"):
            thread.join(PATIENCE)
            assert not thread.is_alive()
    ends.reading.close()


def our_loop() -> EventLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, EventLoop)
    return loop


async def reader(file: Any, factory: Any = Recorder) -> tuple[ThreadedReadPipeTransport, Recorder]:
    transport, recorder = await connect(our_loop(), THREADED.read, factory, file)
    assert isinstance(transport, ThreadedReadPipeTransport)
    assert isinstance(recorder, Recorder)
    return transport, recorder


async def writer(file: Any) -> tuple[ThreadedWritePipeTransport, Recorder]:
    transport, recorder = await connect(our_loop(), THREADED.write, Recorder, file)
    assert isinstance(transport, ThreadedWritePipeTransport)
    assert isinstance(recorder, Recorder)
    return transport, recorder


def test_a_read_end_hears_data_then_the_end_then_the_loss(loop: EventLoop, ends: Ends) -> None:
    async def main() -> None:
        _, recorder = await reader(ends.reading)
        os.write(ends.writing.fileno(), b"one")
        await recorder.heard("data_received")
        ends.writing.close()
        await recorder.heard("connection_lost")
        assert recorder.events == [
            ("connection_made",), ("data_received", b"one"), ("eof_received",), ("connection_lost", None),
        ]  # fmt: skip

    run(loop, main())


def test_everything_is_called_on_the_loops_thread_and_in_its_context(loop: EventLoop, ends: Ends) -> None:
    variable = contextvars.ContextVar("variable", default="outside")

    class Looking(Recorder):
        def note(self, *event: Any) -> None:
            assert threading.current_thread() is threading.main_thread()
            super().note(event[0], variable.get())

    async def main() -> None:
        variable.set("inside")
        _, recorder = await reader(ends.reading, Looking)
        variable.set("later")
        os.write(ends.writing.fileno(), b"x")
        await recorder.heard("data_received")
        ends.writing.close()
        await recorder.heard("connection_lost")
        assert {event[1] for event in recorder.events} == {"inside"}

    run(loop, main())


def test_a_paused_reader_holds_one_chunk_and_reads_no_more(loop: EventLoop, ends: Ends) -> None:
    async def main() -> None:
        transport, recorder = await reader(ends.reading)
        transport.pause_reading()
        assert not transport.is_reading()
        os.write(ends.writing.fileno(), b"first")
        while transport._held is None:
            await asyncio.sleep(0)
        os.write(ends.writing.fileno(), b"second")
        for _ in range(100):
            await asyncio.sleep(0)
        assert recorder.data() == b""
        assert transport._held == b"first"
        transport.resume_reading()
        await recorder.heard("data_received", 2)
        assert recorder.data() == b"firstsecond"
        ends.writing.close()
        await recorder.heard("connection_lost")

    run(loop, main())


def test_an_end_that_comes_while_paused_is_kept(loop: EventLoop, ends: Ends) -> None:
    async def main() -> None:
        transport, recorder = await reader(ends.reading)
        transport.pause_reading()
        ends.writing.close()
        while transport._held is None:
            await asyncio.sleep(0)
        assert recorder.names() == ["connection_made"]
        transport.resume_reading()
        await recorder.heard("connection_lost")
        assert recorder.names() == ["connection_made", "eof_received", "connection_lost"]

    run(loop, main())


def test_closing_a_reader_that_is_inside_a_read_tells_the_protocol_at_once(loop: EventLoop, ends: Ends) -> None:
    async def main() -> None:
        transport, recorder = await reader(ends.reading)
        transport.close()
        assert await recorder.heard("connection_lost") == ("connection_lost", None)
        assert not ends.reading.closed  # the thread has it
        os.write(ends.writing.fileno(), b"too late")
        while not ends.reading.closed:
            await asyncio.sleep(0.001)
        assert recorder.data() == b""

    run(loop, main())


def test_a_read_that_fails_is_lost_with_its_error(
    loop: EventLoop, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(fd: int, size: int) -> bytes:
        raise OSError(errno.EIO, "the device is gone")

    async def main() -> None:
        monkeypatch.setattr(os, "read", fails)
        _, recorder = await reader(ends.reading)
        _, error = await recorder.heard("connection_lost")
        assert error.errno == errno.EIO

    run(loop, main())


def test_regular_files_can_be_read_and_written(loop: EventLoop, tmp_path: Path) -> None:
    async def main() -> None:
        sending, sent = await writer(open(tmp_path / "file", "wb", 0))
        sending.write(b"x" * 200_000)
        sending.close()
        await sent.heard("connection_lost")
        _, received = await reader(open(tmp_path / "file", "rb", 0))
        await received.heard("connection_lost")
        assert received.data() == b"x" * 200_000

    run(loop, main())


def test_writes_leave_in_order_and_close_waits_for_them(loop: EventLoop, ends: Ends) -> None:
    data = os.urandom(1 << 20)

    async def main() -> None:
        sending, sent = await writer(ends.writing)
        _, received = await reader(ends.reading)
        sending.write(data)
        sending.write(bytearray(b"tail"))
        sending.write(b"")
        assert sending.get_write_buffer_size() == len(data) + 4
        assert sent.names() == ["connection_made", "pause_writing"]
        assert sending.can_write_eof()
        sending.close()
        sending.write(b"too late")
        await received.heard("connection_lost")
        await sent.heard("connection_lost")
        assert received.data() == data + b"tail"
        assert sending.get_write_buffer_size() == 0
        assert sent.names() == ["connection_made", "pause_writing", "resume_writing", "connection_lost"]

    run(loop, main())


@pytest.mark.parametrize("end", ["close", "write_eof"])
def test_what_is_written_and_closed_in_connection_made_leaves_whole(loop: EventLoop, ends: Ends, end: str) -> None:
    data = os.urandom(1 << 20)

    class Hasty(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.write(data)
            getattr(transport, end)()

    async def main() -> None:
        _, received = await reader(ends.reading)
        _, sent = await connect(our_loop(), THREADED.write, Hasty, ends.writing)
        assert isinstance(sent, Recorder)
        assert await sent.heard("connection_lost") == ("connection_lost", None)
        await received.heard("connection_lost")
        assert received.data() == data
        assert sent.names() == ["connection_made", "pause_writing", "resume_writing", "connection_lost"]

    run(loop, main())


def test_an_end_that_is_closed_in_connection_made_and_gets_no_thread_is_closed_all_the_same(
    loop: EventLoop, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    class Hasty(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.write(b"never")
            transport.close()

    async def main() -> None:
        monkeypatch.setattr(threading.Thread, "start", no_more)
        _, recorder = await connect(our_loop(), THREADED.write, Hasty, ends.writing)
        assert isinstance(recorder, Recorder)
        await recorder.heard("connection_lost")

    run(loop, main())
    assert ends.writing.closed


def test_abort_drops_what_waits(loop: EventLoop, ends: Ends) -> None:
    async def main() -> None:
        transport, recorder = await writer(ends.writing)
        transport.write(b"x" * (1 << 20))
        transport.write(b"never")
        transport.abort()
        transport.abort()
        assert await recorder.heard("connection_lost") == ("connection_lost", None)
        assert transport.get_write_buffer_size() == 0
        total = 0
        while data := os.read(ends.reading.fileno(), 1 << 20):
            assert b"never" not in data
            total += len(data)
            await asyncio.sleep(0)
        assert total < 1 << 20

    run(loop, main())


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EINVAL])
def test_a_write_to_nobody_is_a_broken_pipe_on_every_system(
    loop: EventLoop, ends: Ends, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fails(fd: int, data: bytes) -> int:
        raise OSError(number, "nobody reads")

    async def main() -> None:
        transport, recorder = await writer(ends.writing)
        monkeypatch.setattr(os, "write", fails)
        transport.write(b"x")
        _, error = await recorder.heard("connection_lost")
        monkeypatch.undo()
        assert isinstance(error, BrokenPipeError)

    run(loop, main())


def test_only_bytes_can_be_written(loop: EventLoop, ends: Ends) -> None:
    async def main() -> None:
        transport, _ = await writer(ends.writing)
        with pytest.raises(TypeError, match="bytes-like object, not 'str'"):
            transport.write("text")  # type: ignore[arg-type]  # that is the point
        transport.close()

    run(loop, main())


def test_threads_end_quietly_when_the_loop_is_gone(ends: Ends) -> None:
    loop = EventLoop()
    ends_of_writer = Ends()
    try:
        reading, _ = run(loop, reader(ends.reading))
        writing, _ = run(loop, writer(ends_of_writer.writing))
        # More than the pipe takes, so that the thread is in the middle of it.
        writing.write(b"x" * (1 << 20))
        loop.close()
        os.write(ends.writing.fileno(), b"x")
        assert reading._thread is not None
        reading._thread.join(PATIENCE)
        assert ends.reading.closed
        while os.read(ends_of_writer.reading.fileno(), 1 << 20) and not writing._queue.empty():
            pass
    finally:
        ends_of_writer.reading.close()
    for transport in (reading, writing):
        transport._pipe = None  # what is left of them needs no warning


def test_a_thread_that_cannot_start_fails_the_call(
    loop: EventLoop, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_more)
    for connect, file in ((reader, ends.reading), (writer, ends.writing)):
        with pytest.raises(RuntimeError, match="can't start new thread"):
            run(loop, connect(file))
        run(loop, asyncio.sleep(0))
        assert file.closed
