"""Write limits, on a transport that only counts."""

from typing import Any

import pytest
from penstock_reactor import EventLoop
from penstock_reactor.flow import HIGH_MARK, WriteLimits
from support.recorders import Recorder


class Counter(WriteLimits):
    def __init__(self, loop: EventLoop, protocol: Any) -> None:
        self._loop = loop
        self._protocol = protocol
        self.waiting = 0

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def change(self, waiting: int) -> None:
        more, self.waiting = waiting > self.waiting, waiting
        (self._pause_if_full if more else self._resume_if_drained)(waiting)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def counter(loop: EventLoop, recorder: Recorder) -> Counter:
    return Counter(loop, recorder)


def test_the_limits_start_at_64_and_16_kib(counter: Counter) -> None:
    assert counter.get_write_buffer_limits() == (HIGH_MARK // 4, HIGH_MARK)


def test_one_limit_gives_the_other(counter: Counter) -> None:
    counter.set_write_buffer_limits(high=100)
    assert counter.get_write_buffer_limits() == (25, 100)
    counter.set_write_buffer_limits(low=100)
    assert counter.get_write_buffer_limits() == (100, 400)
    counter.set_write_buffer_limits()
    assert counter.get_write_buffer_limits() == (HIGH_MARK // 4, HIGH_MARK)


@pytest.mark.parametrize(("high", "low"), [(1, 2), (1, -1), (-1, None)])
def test_limits_that_make_no_sense_are_refused(counter: Counter, high: int, low: int | None) -> None:
    with pytest.raises(ValueError, match="must be >= low"):
        counter.set_write_buffer_limits(high, low)
    assert counter.get_write_buffer_limits() == (HIGH_MARK // 4, HIGH_MARK)


def test_the_protocol_pauses_above_high_and_resumes_at_low_once_each(counter: Counter, recorder: Recorder) -> None:
    counter.set_write_buffer_limits(high=100, low=50)
    for waiting in (100, 101, 200):
        counter.change(waiting)
    assert recorder.names() == ["pause_writing"]
    for waiting in (100, 51, 50, 0):
        counter.change(waiting)
    assert recorder.names() == ["pause_writing", "resume_writing"]


def test_zero_limits_pause_on_the_first_byte_and_resume_when_empty(counter: Counter, recorder: Recorder) -> None:
    counter.set_write_buffer_limits(high=0)
    counter.change(1)
    counter.change(0)
    assert recorder.names() == ["pause_writing", "resume_writing"]


def test_lower_limits_pause_at_once(counter: Counter, recorder: Recorder) -> None:
    counter.change(500)
    counter.set_write_buffer_limits(high=100)
    assert recorder.names() == ["pause_writing"]


def test_a_protocol_that_raises_is_reported(loop: EventLoop, reports: list[dict[str, Any]]) -> None:
    class Broken(Recorder):
        def pause_writing(self) -> None:
            raise ZeroDivisionError

    counter = Counter(loop, Broken())
    counter.change(HIGH_MARK + 1)
    [report] = reports
    assert report["message"] == "protocol.pause_writing() failed"
    assert isinstance(report["exception"], ZeroDivisionError)
    assert report["transport"] is counter


@pytest.mark.parametrize("exit_type", [SystemExit, KeyboardInterrupt])
def test_exits_leave_through_the_limits(loop: EventLoop, exit_type: type[BaseException]) -> None:
    class Leaving(Recorder):
        def pause_writing(self) -> None:
            raise exit_type

    with pytest.raises(exit_type):
        Counter(loop, Leaving()).change(HIGH_MARK + 1)
