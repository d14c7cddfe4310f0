"""Where the application's code stands: tracebacks and stacks without our own frames.

Somebody whose application failed looks for a line of theirs. The frames of the server and of the import
system say nothing about it, so both are left out here. Only called when something has already gone
wrong; nothing on the way of a request.
"""

import asyncio
import gc
import importlib
import os
from traceback import FrameSummary, StackSummary, TracebackException
from typing import Any

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_OUR_LOOP = os.sep + "penstock_reactor" + os.sep
_WELCOME = os.path.join(_OURS, "welcome.py")  # an application, though it lives with us

# How deep a chain of awaits is followed.
_DEEPEST = 100


def user_traceback(error: BaseException) -> str:
    """The traceback of `error` and of its causes, as text, without our frames and the import system's."""
    tree = TracebackException.from_exception(error)
    _strip(tree, set())
    return "".join(tree.format()).rstrip()


def waiting_at(task: "asyncio.Task[Any]") -> str:
    """The lines at which `task` waits, outermost first, as text; empty when it waits nowhere of the user's.

    `Task.get_stack` gives the outermost coroutine alone, so the chain of awaits is followed by hand.
    """
    frames = []
    link: Any = task.get_coro()
    for _ in range(_DEEPEST):
        frame = _frame_of(link)
        if frame is not None:
            frames.append((frame, frame.f_lineno))
        link = _awaited_by(link)
        if link is None:
            break
    stack = StackSummary.extract(iter(frames))
    return "".join(StackSummary.from_list(_theirs(stack)).format()).rstrip()


def _strip(tree: TracebackException, seen: set[int]) -> None:
    if id(tree) in seen:
        return
    seen.add(id(tree))
    tree.stack = StackSummary.from_list(_theirs(tree.stack))
    for branch in (tree.__cause__, tree.__context__, *(tree.exceptions or ())):
        if branch is not None:
            _strip(branch, seen)


def _theirs(stack: StackSummary) -> list[FrameSummary]:
    return [frame for frame in stack if not is_ours(frame.filename)]


def is_ours(path: str) -> bool:
    """Whether a file is the server's own or the import system's, and not of the welcome page, which is an application."""
    if path.startswith("<frozen importlib") or path == importlib.__file__:
        return True
    return (path.startswith(_OURS) and path != _WELCOME) or _OUR_LOOP in path


def _frame_of(link: Any) -> Any:
    for name in ("cr_frame", "gi_frame", "ag_frame"):
        frame = getattr(link, name, None)
        if frame is not None:
            return frame
    return None


def _awaited_by(link: Any) -> Any:
    for name in ("cr_await", "gi_yieldfrom", "ag_await"):
        if hasattr(link, name):
            return getattr(link, name)
    # A step of an async generator (every lifespan written with asynccontextmanager) and a wait for another
    # task hide what they wait for from Python; the garbage collector knows it.
    for inner in gc.get_referents(link):
        if isinstance(inner, asyncio.Task):
            return inner.get_coro()
        if _frame_of(inner) is not None:
            return inner
    return None
