"""Runs one module of CPython's own asyncio test-suite with our loop in the place of the stock one.

    python -m support.cpython_suite test_events [left-out test ids are read from standard input, one a line]

Wherever the suite makes a loop (a policy, `asyncio.SelectorEventLoop`, `asyncio.new_event_loop`) it gets ours. The last
line on standard output is a JSON object: how many tests ran, which failed and how, which were skipped and why, and which
left-out names matched nothing. Runs in a process of its own, for the suite changes policies, signals and warnings at will.
"""

import asyncio
import importlib
import json
import selectors
import signal
import sys
import unittest
from collections.abc import Iterator
from typing import Any

from penstock_reactor import EventLoop
from penstock_reactor.poller import Poller


class SelectorEventLoop(EventLoop):
    """Ours, made as the suite makes asyncio's: perhaps with a selector."""

    def __init__(self, selector: selectors.BaseSelector | None = None) -> None:
        super().__init__(Poller(selector) if selector is not None else None)

    @property
    def _default_executor(self) -> Any:
        # The suite's tidying-up asks for it.
        return self._threads._default


def install() -> None:
    """Put our loop wherever the suite would find the stock one."""
    names: Any = asyncio
    names.SelectorEventLoop = SelectorEventLoop
    if hasattr(asyncio, "EventLoop"):
        names.EventLoop = SelectorEventLoop
    policy: Any = type(asyncio.get_event_loop_policy())
    policy._loop_factory = SelectorEventLoop
    if isinstance(asyncio.new_event_loop(), EventLoop) is False:
        raise RuntimeError("the policy still makes stock loops")


def each_test(suite: Any) -> Iterator[unittest.TestCase]:
    for one in suite:
        if isinstance(one, unittest.TestSuite):
            yield from each_test(one)
        else:
            yield one


def name_of(test: unittest.TestCase) -> str:
    """Class and method, without the module."""
    return ".".join(test.id().split(".")[-2:])


def main(module_name: str, left_out: set[str]) -> None:
    install()
    # A shell starts what runs in the background with SIGINT ignored; tests that interrupt themselves would go on for ever.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    module = importlib.import_module(f"test.test_asyncio.{module_name}")
    wanted, matched = unittest.TestSuite(), set()
    for test in each_test(unittest.defaultTestLoader.loadTestsFromModule(module)):
        name = name_of(test)
        keys = {name, name.partition(".")[0], "*." + name.partition(".")[2]} & left_out
        matched |= keys
        if not keys:
            wanted.addTest(test)
    result = unittest.TextTestRunner(stream=sys.stderr, verbosity=2).run(wanted)
    print(json.dumps({
        "ran": result.testsRun,
        "failed": {name_of(test): trace for test, trace in [*result.failures, *result.errors]},
        "skipped": {name_of(test): reason for test, reason in result.skipped},
        "unmatched": sorted(left_out - matched),
    }))


if __name__ == "__main__":
    main(sys.argv[1], {line.strip() for line in sys.stdin if line.strip()})
