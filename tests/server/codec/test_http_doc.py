"""docs/http.md keeps its word: what it names is there, and its diagram is drawn from the tables."""

import importlib
import re
from pathlib import Path

import pytest

from penstock.codec.states import REQUEST_MOVES, RESPONSE_MOVES, Request, Response
from penstock.settings import Settings
from support.cases import FOLDER, load

TOP = Path(__file__).parents[3]
TEXT = (TOP / "docs" / "http.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.split("|")[1:-1]] for line in TEXT.splitlines() if line.startswith("| ") and line.count("|") == 6]
TESTS = set(re.findall(r"^(?:async )?def (test_\w+)", "".join(path.read_text(encoding="utf-8") for path in (TOP / "tests").rglob("test_*.py")), re.M))


def named(column: int) -> list[str]:
    return sorted({name for row in ROWS for name in re.findall(r"`([^`]+)`", row[column])})


@pytest.mark.parametrize("name", named(3))
def test_what_it_says_does_something_is_there(name: str) -> None:
    room, *path = name.split(".")
    module = f"penstock.{room}.{path.pop(0)}" if room in ("connection", "asgi") else f"penstock.codec.{room}"
    found = importlib.import_module(module)
    for part in path:
        found = getattr(found, part)


@pytest.mark.parametrize("name", named(4))
def test_what_it_says_shows_something_is_there(name: str) -> None:
    assert (FOLDER / name).is_file() or name in TESTS


def test_every_test_it_names_in_passing_is_there() -> None:
    assert {name for name in re.findall(r"`(test_\w+)`", TEXT) if name not in TESTS} == set()
    assert {name for name in re.findall(r"`([a-z-]+\.http)`", TEXT) if not (FOLDER / name).is_file()} == set()


def test_the_limits_it_names_are_the_defaults() -> None:
    told = re.findall(r"`--([a-z-]+)` \((\w+)( KiB)?", TEXT)
    assert len(told) >= 7
    for name, value, unit in told:
        number = int(value) * (1024 if unit else 1) if value.isdigit() else None
        assert getattr(Settings(), name.replace("-", "_")) == number, name


def test_every_advisory_of_the_corpus_is_in_it() -> None:
    advisories = {name for case in load() for name in re.findall(r"(?:CVE-\d+-\d+|GHSA-[\w-]+|gh-\d+)", case.clause)}
    assert advisories and {name for name in advisories if name not in TEXT} == set()


def test_it_has_a_row_for_every_section_with_requirements() -> None:
    clauses = " ".join(row[0] for row in ROWS)
    for section in ("2.1", "2.2", "2.3", "3", "3.1", "3.2", "3.2.1", "3.2.2", "3.2.3", "3.2.4", "3.3", "4", "5", "5.1", "5.2", "6", "6.1", "6.2", "6.3", "7",
                    "7.1", "7.1.1", "7.1.2", "7.2", "7.4", "8", "9.3", "9.3.2", "9.4", "9.5", "9.6", "9.7", "9.8", "10", "11.1", "11.2"):
        assert section in clauses.split() or f"{section}," in clauses.split()


def test_its_diagrams_are_drawn_from_the_tables() -> None:
    for first, moves in ((Request.HEAD, REQUEST_MOVES), (Response.NONE, RESPONSE_MOVES)):
        lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first.name}"]
        lines += [f"    {state.name} --> {target.name}: {why}" for state, targets in moves.items() for target, why in targets.items()]
        assert "\n".join([*lines, "```"]) in TEXT
