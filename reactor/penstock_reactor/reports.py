"""Reports: what becomes of an exception that nobody waits for.

Everything that goes wrong inside a callback ends here as a dict (`message`, `exception`, `handle`, …), is
given to the loop's exception handler if there is one, and is otherwise logged by asyncio's own logger in asyncio's own
format. Nothing raised on this path may end the loop, except SystemExit and KeyboardInterrupt.

Off the hot path: nothing here runs while all goes well.
"""

import asyncio
import functools
import traceback
from asyncio.log import logger
from collections.abc import Callable
from contextvars import Context
from typing import Any

Report = dict[str, Any]
ExceptionHandler = Callable[[asyncio.AbstractEventLoop, Report], object]

_TRACEBACK_TITLES = {
    "source_traceback": "Object created at (most recent call last):\n",
    "handle_traceback": "Handle created at (most recent call last):\n",
}


def handle_failed(loop: asyncio.AbstractEventLoop, handle: asyncio.Handle, error: BaseException) -> None:
    """Report the exception of a callback from the ready queue."""
    callback = handle._callback  # type: ignore[attr-defined]  # not in the type stubs
    report: Report = {
        "message": f"Exception in callback {describe_callback(callback, tuple(handle._args or ()))}",
        "exception": error,
        "handle": handle,
    }
    source = getattr(handle, "_source_traceback", None)
    if source:
        report["source_traceback"] = source
    loop.call_exception_handler(report)


def watch_failed(loop: asyncio.AbstractEventLoop, callback: Callable[[], object], error: BaseException) -> None:
    """Report the exception of a reader or writer, naming the user's function and running in its context."""
    function: Callable[..., object] = callback
    args: tuple[Any, ...] = ()
    context = None
    if isinstance(callback, functools.partial):
        # As `add_reader` makes them: partial(context.run, function, *args).
        owner = getattr(callback.func, "__self__", None)
        if isinstance(owner, Context):
            context, function, args = owner, callback.args[0], callback.args[1:]
    handle_failed(loop, asyncio.Handle(function, args, loop, context), error)


def describe_callback(callback: object, args: tuple[Any, ...]) -> str:
    """A callback as it should read in a log line: its name, its arguments, where it is written."""
    if callback is None:
        return "<cancelled>"
    function = callback
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None) or repr(function)
    shown = ", ".join([repr(arg) for arg in args])
    code = getattr(function, "__code__", None)
    place = f" at {code.co_filename}:{code.co_firstlineno}" if code is not None else ""
    return f"{name}({shown}){place}"


def call_handler(
    loop: asyncio.AbstractEventLoop, handler: ExceptionHandler | None, report: Report
) -> None:
    """Give the report to `handler`, in the context of the thing that failed; to the default one when that fails."""
    try:
        if handler is None:
            loop.default_exception_handler(report)
        else:
            context = _context_of(report)
            if context is None:
                handler(loop, report)
            else:
                context.run(handler, loop, report)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:
        if handler is None:
            # A default handler that somebody overrode and broke.
            logger.error("Exception in default exception handler", exc_info=True)
            return
        _handler_failed(loop, report, error)


def log(report: Report) -> None:
    """Log a report: the message, then every other entry on its own line, then the exception's traceback."""
    lines = [report.get("message") or "Unhandled exception in event loop"]
    for key in sorted(report):
        if key in ("message", "exception"):
            continue
        value = report[key]
        if key in _TRACEBACK_TITLES:
            value = _TRACEBACK_TITLES[key] + "".join(traceback.format_list(value)).rstrip()
        else:
            value = repr(value)
        lines.append(f"{key}: {value}")
    error = report.get("exception")
    exc_info = (type(error), error, error.__traceback__) if error is not None else False
    logger.error("\n".join(lines), exc_info=exc_info)


def _context_of(report: Report) -> Context | None:
    thing = report.get("task") or report.get("future") or report.get("handle")
    get_context = getattr(thing, "get_context", None)
    if get_context is None:
        return None
    context = get_context()
    return context if isinstance(context, Context) else None


def _handler_failed(loop: asyncio.AbstractEventLoop, report: Report, error: BaseException) -> None:
    try:
        loop.default_exception_handler(
            {"message": "Unhandled error in exception handler", "exception": error, "context": report}
        )
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException:
        logger.error(
            "Exception in default exception handler while handling an unexpected error in custom exception handler",
            exc_info=True,
        )
