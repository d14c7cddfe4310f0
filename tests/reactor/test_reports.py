"""What becomes of an exception that nobody waits for: the handler's dict, and the log's lines."""

import asyncio
import contextvars
import functools
import gc
import logging
import socket
import sys
from typing import Any

import pytest
from penstock_reactor import EventLoop
from penstock_reactor.reports import describe_callback, transport_failed

Reports = list[dict[str, Any]]


def boom(*_: Any) -> None:
    raise ValueError("boom")


def run_briefly(loop: EventLoop) -> None:
    loop.stop()
    loop.run_forever()


def test_a_report_names_the_callback_and_carries_the_exception(loop: EventLoop, reports: Reports) -> None:
    handle = loop.call_soon(boom, 1, "two")
    run_briefly(loop)
    [report] = reports
    assert report["message"].startswith("Exception in callback boom(1, 'two') at ")
    assert str(report["exception"]) == "boom"
    assert report["handle"] is handle


def test_what_ends_a_transport_is_reported_and_the_networks_failures_only_in_debug_mode(
    loop: EventLoop, reports: Reports, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "asyncio")
    protocol = asyncio.Protocol()

    class Transport(asyncio.Transport):
        def get_protocol(self) -> asyncio.Protocol:
            return protocol

    transport = Transport()
    error, reset = ValueError("boom"), ConnectionResetError("gone")
    transport_failed(loop, transport, error, "Fatal")
    assert reports == [{"message": "Fatal", "exception": error, "transport": transport, "protocol": protocol}]
    for debug in (False, True):
        loop.set_debug(debug)
        transport_failed(loop, transport, reset, "Fatal")
        assert ("gone" in caplog.text) is debug
    assert len(reports) == 1


def test_a_readers_report_names_the_users_function(loop: EventLoop, reports: Reports) -> None:
    first, second = socket.socketpair()
    loop.add_writer(first, boom, "argument")
    run_briefly(loop)
    loop.remove_writer(first)
    first.close()
    second.close()
    assert reports[0]["message"].startswith("Exception in callback boom('argument') at ")


@pytest.mark.parametrize("callback, text", [
    (boom, "boom() at "), (functools.partial(boom, 1), "boom() at "), (print, "print()"), ([].append, "list.append()"),
])
def test_callbacks_are_described_by_name(callback: Any, text: str) -> None:
    assert describe_callback(callback, ()).startswith(text)


def test_a_callable_without_a_name_is_described_by_itself() -> None:
    class Nameless:
        def __call__(self) -> None: ...

        def __repr__(self) -> str:
            return "<nameless>"

    assert describe_callback(Nameless(), (1,)) == "<nameless>(1)"


def test_the_default_handler_logs_in_asyncios_format(loop: EventLoop, caplog: pytest.LogCaptureFixture) -> None:
    error = ValueError("x")
    loop.call_exception_handler({"message": "It broke", "exception": error, "zebra": 1, "apple": "a"})
    [record] = caplog.records
    assert record.name == "asyncio"
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "It broke\napple: 'a'\nzebra: 1"
    assert record.exc_info == (ValueError, error, None)


def test_a_report_without_a_message_gets_one(loop: EventLoop, caplog: pytest.LogCaptureFixture) -> None:
    loop.call_exception_handler({})
    assert caplog.records[0].getMessage() == "Unhandled exception in event loop"
    assert not caplog.records[0].exc_info


def test_in_debug_mode_the_log_tells_where_the_handle_was_made(
    loop: EventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    loop.set_debug(True)
    loop.call_soon(boom)
    run_briefly(loop)
    assert "Object created at (most recent call last):" in caplog.text
    last_frame = caplog.text.split("Traceback")[0].splitlines()[-1]
    assert "loop.call_soon(boom)" in last_frame


def test_in_debug_mode_a_report_from_a_callback_tells_where_that_was_made(
    loop: EventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    loop.set_debug(True)
    loop.call_soon(loop.call_exception_handler, {"message": "from within"})
    run_briefly(loop)
    assert "Handle created at (most recent call last):" in caplog.text


def test_a_broken_handler_is_reported_with_what_it_was_given(
    loop: EventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    loop.set_exception_handler(boom)
    loop.call_exception_handler({"message": "original"})
    assert "Unhandled error in exception handler" in caplog.text
    assert "original" in caplog.text


def test_a_broken_default_handler_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(EventLoop):
        def default_exception_handler(self, context: Any) -> None:
            raise ValueError("default broke")

    loop = Broken()
    loop.call_exception_handler({"message": "one"})
    assert "Exception in default exception handler" in caplog.text
    caplog.clear()
    loop.set_exception_handler(boom)
    loop.call_exception_handler({"message": "two"})
    assert "while handling an unexpected error in custom exception handler" in caplog.text
    loop.close()


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_systemexit_and_keyboardinterrupt_leave_every_handler(error: type[BaseException]) -> None:
    def leave(*_: Any) -> None:
        raise error

    class Leaving(EventLoop):
        def default_exception_handler(self, context: Any) -> None:
            raise error

    loop = Leaving()
    with pytest.raises(error):
        loop.call_exception_handler({})
    loop.set_exception_handler(leave)
    with pytest.raises(error):
        loop.call_exception_handler({})
    loop.set_exception_handler(boom)
    with pytest.raises(error):
        loop.call_exception_handler({})
    loop.close()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="since 3.12")
def test_a_handler_runs_in_the_context_of_what_failed(loop: EventLoop) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    seen: list[str] = []
    loop.set_exception_handler(lambda _loop, _report: seen.append(variable.get()))

    async def fail() -> None:
        variable.set("task")
        raise ValueError

    def schedule() -> None:
        variable.set("callback")
        loop.call_soon(boom)

    contextvars.copy_context().run(schedule)
    run_briefly(loop)

    async def main() -> None:
        task = asyncio.ensure_future(fail())
        await asyncio.wait([task])

    loop.run_until_complete(main())
    gc.collect()
    loop.call_exception_handler({"message": "of nothing in particular"})
    assert seen == ["callback", "task", "none"]
