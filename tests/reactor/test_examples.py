"""The examples of docs/reactor.md run as they are and print what they say; the page names only what there is."""

import ast
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent.parent
EXAMPLES = CHECKOUT / "docs" / "examples"
PAGE = CHECKOUT / "docs" / "reactor.md"
REACTOR = CHECKOUT / "reactor" / "penstock_reactor"
MARK = "Prints:\n"
# An example takes far less than two seconds; this is for a machine that has other things to do.
PATIENCE = 20
# Windows has another name for "nobody is there", and tells it when it likes.
NOT_ON_WINDOWS = {"datagrams.py"}


def examples() -> dict[str, str]:
    """By file name: what the example's docstring says it prints."""
    found = {}
    for path in sorted(EXAMPLES.glob("*.py")):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        if MARK in text:
            found[path.name] = textwrap.dedent(text.partition(MARK)[2]).strip()
    return found


@pytest.mark.parametrize("name", examples())
def test_an_example_prints_what_it_says_and_complains_of_nothing(name: str) -> None:
    if sys.platform == "win32" and name in NOT_ON_WINDOWS:
        pytest.skip("prints something else on Windows")
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name],
        env={**os.environ, "PYTHONPATH": str(REACTOR.parent), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout.strip() == examples()[name]


def test_the_page_names_every_example() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert examples()
    assert [name for name in examples() if f"examples/{name}" not in page] == []


def test_the_page_names_every_file_of_the_reactor_and_no_other() -> None:
    named = set(re.findall(r"`(\w+\.py)`", PAGE.read_text(encoding="utf-8")))
    files = {path.name for path in REACTOR.glob("*.py")}
    assert named - files == set()
    assert files - named - {"__init__.py"} == set()


def test_every_function_the_page_names_is_in_the_file_it_names() -> None:
    pairs = re.findall(r"`(\w+\.py)`:? `(\w+(?:\.\w+)?)(?:\(\))?`", PAGE.read_text(encoding="utf-8"))
    assert pairs
    missing = []
    for file, name in pairs:
        source = (REACTOR / file).read_text(encoding="utf-8")
        for part in name.split("."):
            if not re.search(rf"(?:class|def) {part}\b|^\s*(?:self\.)?{part}\b.* = ", source, re.MULTILINE):
                missing.append(f"{file}: {name}")
    assert missing == []
