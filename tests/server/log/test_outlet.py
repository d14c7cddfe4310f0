import io
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import TextIO

import pytest

from penstock.log import outlet
from penstock.log.outlet import Outlet
from support.hangs import bounded
from support.serving import environment


@pytest.fixture(autouse=True)
def hangs_fail() -> Iterator[None]:
    with bounded(30):
        yield


class Pipe:
    """A pipe, an outlet at its one end, and a reader who may take his time at the other."""

    def __init__(self) -> None:
        self.end, write_end = os.pipe()
        self.stream: TextIO = os.fdopen(write_end, "w", encoding="utf-8")
        self.outlet = Outlet(self.stream, lambda count: f"{count} missing")

    def read_to(self, last: str) -> list[str]:
        """Read until the line `last` has come."""
        text = ""
        while not text.endswith(last + "\n"):
            piece = os.read(self.end, 65536)
            if not piece:
                break
            text += piece.decode()
        return text.splitlines()

    def close(self) -> None:
        if self.end >= 0:
            os.close(self.end)
        self.outlet.close()
        self.stream.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_lines_are_written_in_order_by_a_thread_of_its_own(pipe: Pipe) -> None:
    for number in range(100):
        pipe.outlet.put(f"line {number}")
    assert pipe.read_to("line 99") == [f"line {number}" for number in range(100)]
    assert [thread.name for thread in threading.enumerate()].count("penstock log") == 1


def test_a_line_after_a_rest_is_written_too(pipe: Pipe) -> None:
    for line in ("first", "second", "third"):
        pipe.outlet.put(line)
        pipe.outlet.flush()
        assert pipe.read_to(line) == [line]
        while not pipe.outlet._is_resting:
            pipe.outlet._wake.set()


def test_whoever_puts_never_waits_and_what_nobody_reads_is_dropped_counted_and_told(pipe: Pipe) -> None:
    line, count = "x" * 1000, 3000
    for _ in range(count):
        pipe.outlet.put(line)
    held = pipe.outlet._put - pipe.outlet._written
    assert outlet.MOST_WAITING < held <= outlet.MOST_WAITING + len(line)
    told: list[str] = []
    while not told or not told[-1].endswith("missing"):
        told += os.read(pipe.end, 1 << 20).decode().splitlines()
    pipe.outlet.put("the end")
    rest = pipe.read_to("the end")
    assert rest == ["the end"]
    whole = sum(len(each) for each in told[:-1]) // len(line)
    assert whole + int(told[-1].split()[0]) == count


def test_flushing_waits_for_the_reader_but_not_for_ever_and_not_twice(pipe: Pipe) -> None:
    pipe.outlet.put("y" * 200_000)
    pipe.outlet.flush(0.01)
    before = time.monotonic()
    pipe.outlet.flush(1000)
    assert time.monotonic() - before < 100
    reader = threading.Thread(target=pipe.read_to, args=("the end",))
    reader.start()
    pipe.outlet.put("the end")
    reader.join()


def test_the_thread_ends_with_the_outlet_and_what_comes_later_is_written_at_once() -> None:
    stream = io.StringIO()
    closed = Outlet(stream, str)
    closed.put("one")
    closed.close()
    thread = closed._thread
    assert thread is not None
    thread.join(10)
    assert not thread.is_alive()
    closed.put("two")
    assert stream.getvalue() == "one\ntwo\n"


def test_several_who_write_to_one_pipe_do_not_write_into_each_others_lines(pipe: Pipe) -> None:
    """As workers do. All have more to say than the pipe takes at once, and nobody reads before all are writing."""
    lines = [letter * 60 for letter in "abcd"]
    outlets = [pipe.outlet, *(Outlet(pipe.stream, str) for _ in lines[1:])]
    for each, line in zip(outlets, lines, strict=True):
        # All at once.
        each._is_resting = False
        for _ in range(2000):
            each.put(line)
        each._rouse()
    while any(each._lines for each in outlets):
        time.sleep(0.01)
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.extend(pipe.read_to("the end")))
    reader.start()
    for each in outlets:
        each.close()
    pipe.outlet.put("the end")
    reader.join()
    assert sorted(set(found)) == [*lines, "the end"] and len(found) == 4 * 2000 + 1


@pytest.mark.skipif(sys.platform == "win32", reason="there no pipe is like that")
def test_a_stream_that_others_want_not_to_wait_for_is_waited_for(pipe: Pipe) -> None:
    """O_NONBLOCK belongs to the open file, which a parent, or asyncio for the application, may share with us."""
    os.set_blocking(pipe.stream.fileno(), False)
    lines = [f"{number:060}" for number in range(5000)]
    for line in lines:
        pipe.outlet.put(line)
    while select.select([], [pipe.stream], [], 0)[1]:
        time.sleep(0.01)
    assert pipe.read_to(lines[-1]) == lines


@pytest.mark.skipif(sys.platform == "win32", reason="no limit is known there")
def test_a_line_longer_than_the_system_writes_in_one_piece_is_written_all_the_same(pipe: Pipe) -> None:
    lines = ["short", "x" * 3 * select.PIPE_BUF, "ä" * select.PIPE_BUF, "short again"]
    for line in lines:
        pipe.outlet.put(line)
    assert pipe.read_to("short again") == lines


def test_what_the_application_printed_before_comes_before(pipe: Pipe) -> None:
    print("printed", file=pipe.stream)
    pipe.outlet.put("logged")
    assert pipe.read_to("logged") == ["printed", "logged"]


def test_what_the_stream_cannot_encode_is_escaped() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "w", encoding="ascii") as stream:
        ascii_only = Outlet(stream, str)
        ascii_only.put("ä")
        ascii_only.close()
    assert os.read(read_end, 100) == b"\\xe4\n"
    os.close(read_end)


class BrokenStream(io.StringIO):
    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def test_a_full_disk_costs_lines_not_requests() -> None:
    broken = Outlet(BrokenStream(), str)
    broken.put("lost")
    broken.flush()
    assert broken._thread is not None and broken._thread.is_alive()
    broken.close()


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe without a reader is another error there")
def test_a_reader_that_has_gone_is_no_error(pipe: Pipe) -> None:
    os.close(pipe.end)
    pipe.end = -1
    for _ in range(3):
        pipe.outlet.put("for nobody")
        pipe.outlet.flush()
    print("for nobody either", file=pipe.stream, flush=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_that_logs_has_a_thread_of_its_own() -> None:
    program = """
import os, sys, warnings
from penstock.log.outlet import Outlet
warnings.simplefilter("ignore")
outlet = Outlet(sys.stdout, str)
outlet.put("parent")
outlet.flush()
while not outlet._is_resting: outlet._wake.set()
if os.fork() == 0:
    outlet.put("child")
    outlet.flush()
    os._exit(0)
os.wait()
"""
    done = subprocess.run([sys.executable, "-c", program], env=environment(), capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("parent\nchild\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_child_forked_while_the_thread_is_busy_has_one_of_its_own_and_no_line_of_its_parents() -> None:
    program = """
import os, signal, sys, warnings
from penstock.log import outlet
signal.alarm(20)
warnings.simplefilter("ignore")
outlet.INTERVAL = 0.5
out = outlet.Outlet(sys.stdout, str)
out.put("parent")
while out._is_resting or out._lines: pass
out.put("parent again")
assert out._lines
# As the other thread may.
out._news.acquire()
if os.fork() == 0:
    signal.alarm(20)
    out.put("child")
    while not out._is_resting or out._lines: out._wake.set()
    out.put("child again")
    out.flush()
    os._exit(0)
out._news.release()
os.wait()
out.close()
"""
    done = subprocess.run([sys.executable, "-c", program], env=environment(), capture_output=True, text=True, timeout=30)
    assert (sorted(done.stdout.split("\n")), done.stderr) == (sorted(["parent", "parent again", "child", "child again", ""]), "")


PROGRAM = """
import logging, os, sys
from penstock import log
from penstock.settings import Settings
log.configure(Settings())
for number in range(5000):
    logging.getLogger("penstock.access").info("a record of some length, number %d", number)
print("printed", file=sys.stderr, flush=True)
"""


def test_at_the_end_of_the_process_all_is_written() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment(), capture_output=True, text=True, timeout=30)
    assert (len(done.stdout.splitlines()), done.stderr, done.returncode) == (5000, "printed\n", 0)


def test_a_reader_that_sleeps_does_not_keep_the_process_from_ending() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment(), stdout=pipe, stderr=pipe) as child:
        assert child.stderr is not None
        assert child.stderr.readline() == b"printed\n"
        assert child.wait(20) == 0
        assert child.stderr.read() == b""
