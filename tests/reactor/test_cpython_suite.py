"""CPython's own asyncio test-suite, its parts that test public behaviour, on our loop.

Each module runs in a process of its own, which is ended when it takes too long. What is left out, and why, stands in
`support/cpython_left_out.py`; everything else must pass, whatever the interpreter.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from support.cpython_left_out import MODULES, SINCE, LeftOut
from support.hangs import bounded

PATIENCE = 170

HAS_SUITE = importlib.util.find_spec("test") is not None and importlib.util.find_spec("test.test_asyncio") is not None

pytestmark = [
    pytest.mark.skipif(not HAS_SUITE, reason="this Python came without its own test-suite"),
    pytest.mark.skipif(sys.platform == "win32", reason="what is left out, and why, is written down for POSIX"),
]


@pytest.fixture(autouse=True)
def hangs_fail() -> Iterator[None]:
    with bounded(PATIENCE + 20):
        yield


def exists_here(entry: LeftOut) -> bool:
    return entry.since <= sys.version_info[:2] <= entry.until


def environment() -> dict[str, str]:
    """Ours, but nothing that measures coverage: it hangs in the children that these tests fork beside threads."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return {**ours, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"}


def run(module: str, left_out: list[LeftOut], cwd: str) -> dict[str, Any]:
    """What `support.cpython_suite` says of one module."""
    done = subprocess.run(
        [sys.executable, "-m", "support.cpython_suite", module],
        input="\n".join(entry.test for entry in left_out), capture_output=True, text=True, timeout=PATIENCE, cwd=cwd,
        env=environment(), errors="replace",
    )
    if done.returncode or not done.stdout.strip():
        pytest.fail(f"{module} ended with {done.returncode}:\n{done.stderr[-5000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.parametrize("module", MODULES)
def test_cpythons_own_tests_pass(module: str, tmp_path: Any) -> None:
    if sys.version_info[:2] < SINCE.get(module, (3, 11)):
        pytest.skip(f"{module} came with a later Python")
    left_out = MODULES[module]
    result = run(module, left_out, str(tmp_path))
    assert result["failed"] == {}, "\n\n".join(f"{name}\n{trace}" for name, trace in result["failed"].items())
    assert result["ran"] > 0
    gone = [entry.test for entry in left_out if entry.test in result["unmatched"] and exists_here(entry)]
    assert gone == [], "left out, but not there"


def test_every_left_out_test_has_its_reason() -> None:
    entries = [entry for entries in MODULES.values() for entry in entries]
    assert all(len(entry.reason) > 20 for entry in entries)
    private = [entry for entry in entries if "private name" in entry.reason]
    assert len(private) >= len(entries) // 2
