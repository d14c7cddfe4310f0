"""Reports: what becomes of an exception that nobody waits for.

Everything that goes wrong inside a callback ends here as a dict (`message`, `exception`, `handle`, …), is
given to the loop's exception handler if there is one, and is otherwise logged by asyncio's own logger in asyncio's own
format. Nothing raised on this path may end the loop, except SystemExit and KeyboardInterrupt.

Off the hot path: nothing here runs while all goes well.
"""

import asyncio
import functools
import sys
import traceback
from asyncio.log import logger
from collections.abc import Callable
from contextvars import Context
from typing import Any

Report = dict[str, Any]
ExceptionHandler = Callable[[asyncio.AbstractEventLoop, Report], object]

_TRACEBACKS = {"source_traceback": "Object", "handle_traceback": "Handle"}

# From this version on a handler runs in the context of what failed.
_HANDLER_KEEPS_CONTEXT = sys.version_info >= (3, 12)


def handle_failed(
    loop: asyncio.AbstractEventLoop,
    handle: asyncio.Handle,
    callback: Callable[..., object],
    args: tuple[Any, ...],
    error: BaseException,
) -> None:
    """Report the exception of a callback from the ready queue."""
    loop.call_exception_handler(
        {
            "message": f"Exception in callback {describe_callback(callback, args)}",
            "exception": error,
            "handle": handle,
        }
    )


def watch_failed(loop: asyncio.AbstractEventLoop, callback: Callable[[], object], error: BaseException) -> None:
    """Report the exception of a reader or writer; `add_reader` makes them as partial(context.run, function, *args)."""
    function: Callable[..., object] = callback
    args: tuple[Any, ...] = ()
    context = None
    if isinstance(callback, functools.partial) and callback.args:
        owner = getattr(callback.func, "__self__", None)
        if isinstance(owner, Context):
            context, function, args = owner, callback.args[0], callback.args[1:]
    handle_failed(loop, asyncio.Handle(function, args, loop, context), function, args, error)


def transport_failed(loop: asyncio.AbstractEventLoop, transport: Any, error: BaseException, message: str) -> None:
    """Report what ends a transport; the network's and the peer's failures are only worth a debug line."""
    if not isinstance(error, OSError):
        report = {"message": message, "exception": error, "transport": transport, "protocol": transport.get_protocol()}
        loop.call_exception_handler(report)
    elif loop.get_debug():
        logger.debug("%r: %s", transport, message, exc_info=error)


def describe_callback(callback: object, args: tuple[Any, ...]) -> str:
    """A callback as it should read in a log line: its name, its arguments, where it is written."""
    function = callback
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None) or repr(function)
    shown = ", ".join([repr(arg) for arg in args])
    code = getattr(function, "__code__", None)
    place = f" at {code.co_filename}:{code.co_firstlineno}" if code is not None else ""
    return f"{name}({shown}){place}"


def call_handler(loop: asyncio.AbstractEventLoop, handler: ExceptionHandler | None, report: Report) -> None:
    """Give the report to `handler`, or to the loop's default one when there is none or it fails."""
    try:
        if handler is None:
            loop.default_exception_handler(report)
        elif (context := _context_of(report)) is not None:
            context.run(handler, loop, report)
        else:
            handler(loop, report)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:
        if handler is None:
            # A default handler that somebody overrode and broke.
            logger.error("Exception in default exception handler", exc_info=True)
        else:
            _handler_failed(loop, report, error)


def log(report: Report, running: asyncio.Handle | None) -> None:
    """Log a report: the message, then every other entry on its own line, then the exception's traceback.

    `running` is the handle that runs in debug mode: where it was made is worth telling if nothing better is known.
    """
    made_at = getattr(running, "_source_traceback", None)
    if made_at and "source_traceback" not in report:
        report = {**report, "handle_traceback": made_at}
    lines = [report.get("message") or "Unhandled exception in event loop"]
    for key in sorted(report):
        if key in _TRACEBACKS:
            frames = "".join(traceback.format_list(report[key])).rstrip()
            lines.append(f"{key}: {_TRACEBACKS[key]} created at (most recent call last):\n{frames}")
        elif key not in ("message", "exception"):
            lines.append(f"{key}: {report[key]!r}")
    error = report.get("exception")
    logger.error("\n".join(lines), exc_info=(type(error), error, error.__traceback__) if error is not None else False)


def _context_of(report: Report) -> Context | None:
    if not _HANDLER_KEEPS_CONTEXT:
        return None
    for key in ("task", "future", "handle"):
        thing = report.get(key)
        if thing is not None:
            context = thing.get_context() if hasattr(thing, "get_context") else None
            return context if isinstance(context, Context) else None
    return None


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
