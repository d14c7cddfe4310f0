"""Pipe transports driven by the poller: real pipes, FIFOs, sockets, terminals."""

import asyncio
import contextvars
import errno
import gc
import os
import socket
import sys
import tempfile
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from penstock_reactor import EventLoop
from penstock_reactor.pipes import READ_BYTES, ReadPipeTransport, WritePipeTransport
from support.recorders import Recorder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the poller takes sockets only")

PATIENCE = 10


def run(loop: EventLoop, coro: Coroutine[Any, Any, Any]) -> Any:
    return loop.run_until_complete(asyncio.wait_for(coro, PATIENCE))


class Ends:
    """A pipe's two ends as descriptors; what the test or a transport did not close is closed afterwards."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()

    def reading_file(self) -> Any:
        fd, self.reading = self.reading, -1
        return open(fd, "rb", 0)

    def writing_file(self) -> Any:
        fd, self.writing = self.writing, -1
        return open(fd, "wb", 0)

    def close_reading(self) -> None:
        os.close(self.reading)
        self.reading = -1

    def close_writing(self) -> None:
        os.close(self.writing)
        self.writing = -1

    def close(self) -> None:
        for fd in (self.reading, self.writing):
            if fd >= 0:
                os.close(fd)


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    yield ends
    ends.close()


async def reader(file: Any) -> tuple[ReadPipeTransport, Recorder]:
    transport, recorder = await asyncio.get_running_loop().connect_read_pipe(Recorder, file)
    assert isinstance(transport, ReadPipeTransport)
    return transport, recorder


async def writer(file: Any) -> tuple[WritePipeTransport, Recorder]:
    transport, recorder = await asyncio.get_running_loop().connect_write_pipe(Recorder, file)
    assert isinstance(transport, WritePipeTransport)
    return transport, recorder


def drained(fd: int) -> int:
    """Read what there is; how much that was."""
    os.set_blocking(fd, False)
    total = 0
    try:
        while data := os.read(fd, 1 << 20):
            total += len(data)
    except BlockingIOError:
        pass
    return total


# Reading


def test_a_read_end_hears_data_then_the_end_then_the_loss(loop: EventLoop, ends: Ends) -> None:
    async def main() -> None:
        transport, recorder = await reader(ends.reading_file())
        os.write(ends.writing, b"one")
        await recorder.heard("data_received")
        ends.close_writing()
        await recorder.heard("connection_lost")
        assert recorder.events == [
            ("connection_made",), ("data_received", b"one"), ("eof_received",), ("connection_lost", None),
        ]  # fmt: skip
        assert transport.is_closing()

    run(loop, main())


def test_the_file_is_told_and_closed(loop: EventLoop, ends: Ends) -> None:
    async def main() -> None:
        file = ends.reading_file()
        transport, recorder = await reader(file)
        assert transport.get_extra_info("pipe") is file
        assert transport.get_protocol() is recorder
        transport.close()
        transport.close()
        await recorder.heard("connection_lost")
        assert file.closed
        assert len(recorder.calls("connection_lost")) == 1

    run(loop, main())


def test_reading_pauses_and_resumes(loop: EventLoop, ends: Ends) -> None:
    async def main() -> None:
        transport, recorder = await reader(ends.reading_file())
        assert transport.is_reading()
        transport.pause_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        os.write(ends.writing, b"x")
        for _ in range(5):
            await asyncio.sleep(0)
        assert recorder.data() == b""
        transport.resume_reading()
        transport.resume_reading()
        await recorder.heard("data_received")
        transport.close()
        transport.pause_reading()
        transport.resume_reading()
        await recorder.heard("connection_lost")

    run(loop, main())


def test_a_protocol_may_pause_before_the_first_byte(loop: EventLoop, ends: Ends) -> None:
    class Shy(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.pause_reading()

    async def main() -> None:
        os.write(ends.writing, b"x")
        transport, recorder = await loop.connect_read_pipe(Shy, ends.reading_file())
        for _ in range(5):
            await asyncio.sleep(0)
        assert recorder.data() == b""
        transport.resume_reading()
        await recorder.heard("data_received")
        transport.close()

    run(loop, main())


def test_a_protocol_may_close_before_the_first_byte(loop: EventLoop, ends: Ends) -> None:
    class Brief(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.close()

    async def main() -> None:
        os.write(ends.writing, b"x")
        _, recorder = await loop.connect_read_pipe(Brief, ends.reading_file())
        await recorder.heard("connection_lost")
        assert recorder.data() == b""

    run(loop, main())


def test_a_protocol_switched_in_the_middle_gets_the_rest(loop: EventLoop, ends: Ends) -> None:
    async def main() -> None:
        transport, first = await reader(ends.reading_file())
        second = Recorder()
        transport.set_protocol(second)
        os.write(ends.writing, b"x")
        await second.heard("data_received")
        assert first.data() == b""
        transport.close()

    run(loop, main())


def test_a_read_that_would_block_is_nothing(loop: EventLoop, ends: Ends) -> None:
    async def main() -> None:
        transport, recorder = await reader(ends.reading_file())
        transport._on_readable()
        assert not transport.is_closing()
        transport.close()
        await recorder.heard("connection_lost")

    run(loop, main())


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals here")
def test_a_terminal_that_hangs_up_is_lost_with_its_error(loop: EventLoop) -> None:
    async def main() -> None:
        master, slave = os.openpty()
        transport, recorder = await reader(open(master, "rb", 0))
        os.write(slave, b"line\n")
        await recorder.heard("data_received")
        os.close(slave)
        _, error = await recorder.heard("connection_lost")
        # Linux says EIO, BSD systems say "end".
        assert error is None or isinstance(error, OSError)

    loop.set_debug(True)
    run(loop, main())


# Writing


def test_a_write_leaves_at_once(loop: EventLoop, ends: Ends) -> None:
    async def main() -> None:
        transport, recorder = await writer(ends.writing_file())
        transport.write(b"one")
        transport.write(bytearray(b"two"))
        transport.write(memoryview(b"three").cast("B"))
        transport.write(b"")
        transport.writelines([b"fo", b"ur"])
        assert os.read(ends.reading, 100) == b"onetwothreefour"
        transport.close()
        await recorder.heard("connection_lost")
        assert os.read(ends.reading, 100) == b""

    run(loop, main())


def test_more_than_the_pipe_takes_is_queued_and_leaves_in_order(loop: EventLoop, ends: Ends) -> None:
    data = os.urandom(1 << 20)

    async def main() -> None:
        sending, recorder = await writer(ends.writing_file())
        receiving, received = await reader(ends.reading_file())
        sending.write(data)
        assert sending.get_write_buffer_size() > 0
        sending.write(memoryview(b"tail").cast("I"))
        assert recorder.names() == ["connection_made", "pause_writing"]
        sending.write_eof()
        assert sending.is_closing()
        await received.heard("connection_lost")
        assert received.data() == data + b"tail"
        assert max(len(event[1]) for event in received.calls("data_received")) <= READ_BYTES
        await recorder.heard("connection_lost")
        assert recorder.names() == ["connection_made", "pause_writing", "resume_writing", "connection_lost"]

    run(loop, main())


def test_abort_drops_what_waits(loop: EventLoop, ends: Ends) -> None:
    async def main() -> None:
        transport, recorder = await writer(ends.writing_file())
        transport.write(b"x" * (1 << 20))
        transport.abort()
        assert transport.get_write_buffer_size() == 0
        assert await recorder.heard("connection_lost") == ("connection_lost", None)
        transport.abort()
        transport.write_eof()
        assert 0 < drained(ends.reading) < 1 << 20

    run(loop, main())


def test_an_idle_writer_learns_that_the_reader_is_gone(loop: EventLoop, ends: Ends) -> None:
    async def main() -> None:
        _, recorder = await writer(ends.writing_file())
        ends.close_reading()
        assert await recorder.heard("connection_lost") == ("connection_lost", None)

    loop.set_debug(True)
    run(loop, main())


def test_a_writer_with_bytes_left_is_lost_with_a_broken_pipe(loop: EventLoop, ends: Ends) -> None:
    async def main() -> None:
        transport, recorder = await writer(ends.writing_file())
        transport.write(b"x" * (1 << 20))
        ends.close_reading()
        _, error = await recorder.heard("connection_lost")
        assert isinstance(error, BrokenPipeError)

    run(loop, main())


def test_a_write_to_nobody_is_lost_and_later_ones_are_dropped(
    loop: EventLoop, ends: Ends, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        transport, recorder = await writer(ends.writing_file())
        ends.close_reading()
        for _ in range(20):
            transport.write(b"x")
        _, error = await recorder.heard("connection_lost")
        assert isinstance(error, BrokenPipeError)
        assert len([record for record in caplog.records if record.name == "asyncio"]) == 1

    run(loop, main())


def test_a_pipe_that_is_full_from_the_start_queues_everything(loop: EventLoop, ends: Ends) -> None:
    async def main() -> None:
        os.set_blocking(ends.writing, False)
        filled = 0
        with pytest.raises(BlockingIOError):
            while True:
                filled += os.write(ends.writing, b"x" * 65536)
        transport, recorder = await writer(ends.writing_file())
        transport.write(b"last")
        assert transport.get_write_buffer_size() == 4
        assert repr(transport).endswith("open>")
        transport._on_writable()
        assert transport.get_write_buffer_size() == 4
        assert drained(ends.reading) == filled
        transport.close()
        await recorder.heard("connection_lost")
        assert os.read(ends.reading, 10) == b"last"

    run(loop, main())


def test_a_queued_write_that_fails_is_lost_with_its_error(
    loop: EventLoop, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(fd: int, data: bytes) -> int:
        raise OSError(errno.EIO, "the device is gone")

    async def main() -> None:
        transport, recorder = await writer(ends.writing_file())
        transport.write(b"x" * (1 << 20))
        monkeypatch.setattr(os, "write", fails)
        drained(ends.reading)
        _, error = await recorder.heard("connection_lost")
        assert error.errno == errno.EIO

    run(loop, main())


def test_a_fault_that_is_not_the_systems_is_reported(
    loop: EventLoop, ends: Ends, reports: list[dict[str, Any]]
) -> None:
    async def main() -> None:
        transport, recorder = await reader(ends.reading_file())
        transport._fail(ZeroDivisionError(), "our own fault")
        await recorder.heard("connection_lost")
        assert reports[0]["message"] == "our own fault"
        assert reports[0]["transport"] is transport

    run(loop, main())


def test_only_bytes_can_be_written(loop: EventLoop, ends: Ends) -> None:
    async def main() -> None:
        transport, _ = await writer(ends.writing_file())
        with pytest.raises(TypeError, match="bytes-like object, not 'str'"):
            transport.write("text")  # type: ignore[arg-type]  # that is the point
        assert transport.can_write_eof()
        transport.close()

    run(loop, main())


def test_a_socket_works_as_either_end(loop: EventLoop, pair: tuple[socket.socket, socket.socket]) -> None:
    async def main() -> None:
        sending, lost = await writer(pair[0])
        receiving, received = await reader(pair[1])
        sending.write(b"x" * (1 << 20))
        sending.close()
        await received.heard("connection_lost")
        assert len(received.data()) == 1 << 20

    run(loop, main())


# Both


def test_a_fifo_works_as_a_pipe(loop: EventLoop, tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)

    async def main() -> None:
        receiving, received = await reader(os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", 0))
        sending, _ = await writer(open(path, "wb", 0))
        sending.write(b"x")
        await received.heard("data_received")
        sending.close()
        await received.heard("connection_lost")

    run(loop, main())


def test_a_regular_file_is_refused(loop: EventLoop) -> None:
    with tempfile.TemporaryFile() as file:
        for connect in (loop.connect_read_pipe, loop.connect_write_pipe):
            with pytest.raises(ValueError, match="only for pipes, sockets and character devices"):
                run(loop, connect(Recorder, file))


def test_a_device_that_cannot_be_polled_fails_the_call(loop: EventLoop) -> None:
    file = open(os.devnull, "rb", 0)
    try:
        transport, _ = run(loop, loop.connect_read_pipe(Recorder, file))
        transport.close()  # kqueue takes it
    except PermissionError:
        pass
    loop.run_until_complete(asyncio.sleep(0))
    assert file.closed


def test_a_cancelled_connect_closes_the_file(loop: EventLoop, ends: Ends) -> None:
    async def main() -> None:
        file = ends.reading_file()
        task = asyncio.ensure_future(reader(file))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert file.closed

    run(loop, main())


def test_the_protocol_is_called_in_the_context_of_its_making(loop: EventLoop, ends: Ends) -> None:
    variable = contextvars.ContextVar("variable", default="outside")

    class Looking(Recorder):
        def data_received(self, data: bytes) -> None:
            self.note("data_received", variable.get())

        def connection_lost(self, exc: BaseException | None) -> None:
            self.note("connection_lost", variable.get())

    async def main() -> None:
        variable.set("inside")
        transport, recorder = await loop.connect_read_pipe(Looking, ends.reading_file())
        variable.set("later")
        os.write(ends.writing, b"x")
        assert await recorder.heard("data_received") == ("data_received", "inside")
        transport.close()
        assert await recorder.heard("connection_lost") == ("connection_lost", "inside")

    run(loop, main())


def test_a_protocol_that_raises_is_reported_and_goes_on(
    loop: EventLoop, ends: Ends, reports: list[dict[str, Any]]
) -> None:
    class Broken(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            raise ZeroDivisionError

    async def main() -> None:
        transport, recorder = await loop.connect_read_pipe(Broken, ends.reading_file())
        os.write(ends.writing, b"x")
        await recorder.heard("data_received")
        os.write(ends.writing, b"y")
        await recorder.heard("data_received", 2)
        transport.close()

    run(loop, main())
    assert [type(report["exception"]) for report in reports] == [ZeroDivisionError] * 2


def test_an_unclosed_transport_warns_when_it_is_collected(ends: Ends) -> None:
    loop = EventLoop()
    file = ends.reading_file()
    transport, _ = loop.run_until_complete(loop.connect_read_pipe(Recorder, file))
    loop.close()
    with pytest.warns(ResourceWarning, match="unclosed transport <ReadPipeTransport"):
        del transport, _
        gc.collect()
    assert file.closed
