"""docs/websocket.md keeps its word: what it names is there, and its diagram is drawn from the table."""

import importlib
import re
from pathlib import Path

import pytest

from penstock.codec.states import WEBSOCKET_MOVES, WebSocketState
from support.cases import FOLDER
from support.ws_cases import load

TOP = Path(__file__).parents[3]
TEXT = (TOP / "docs" / "websocket.md").read_text(encoding="utf-8")
CLAUSE = re.compile(r"\| \d[\d.]*( \(\d\))? \|")
ROWS = [[cell.strip() for cell in line.split("|")[1:-1]] for line in TEXT.splitlines() if CLAUSE.match(line)]
SOURCES = "".join(path.read_text(encoding="utf-8") for path in (TOP / "tests").rglob("test_*.py"))
TESTS = set(re.findall(r"^(?:async )?def (test_\w+)", SOURCES, re.M))


def named(column: int) -> list[str]:
    return sorted({name for row in ROWS for name in re.findall(r"`([^`]+)`", row[column])})


@pytest.mark.parametrize("name", named(3))
def test_what_it_says_does_something_is_there(name: str) -> None:
    room, *path = name.split(".")
    module = f"penstock.{room}.{path.pop(0)}" if room in ("connection", "asgi", "codec") else f"penstock.codec.{room}"
    found = importlib.import_module(module)
    for part in path:
        found = getattr(found, part)


@pytest.mark.parametrize("name", named(4))
def test_what_it_says_shows_something_is_there(name: str) -> None:
    assert (FOLDER / name).is_file() or name in TESTS


def test_every_requirement_has_somebody_who_meets_it_and_a_test() -> None:
    assert [row for row in ROWS if not row[2].startswith("n/a") and row[0] != "clause" and not (row[3] and row[4])] == []


def test_it_has_a_row_for_every_section_with_requirements() -> None:
    clauses = {row[0].partition(" ")[0] for row in ROWS}
    assert clauses >= {"4.1", "4.2.1", "4.2.2", "4.3", "4.4", "5.1", "5.2", "5.3", "5.4", "5.5", "5.5.1", "5.5.2", "5.5.3", "5.6", "6.1", "6.2", "7.1.1",
                       "7.1.2", "7.1.3", "7.1.5", "7.1.6", "7.1.7", "7.2.1", "7.2.2", "7.2.3", "7.3", "7.4.1", "7.4.2", "8.1", "9.1",
                       "7.1.1.1", "7.1.1.2", "7.1.2.1", "7.1.2.2", "7.2.3.2", "7.2.3.3", "7.2.3.4", "7.2.3.5", "7.2.3.6"}


def test_it_counts_its_cases() -> None:
    assert f"holds {len(load())} streams of frames" in TEXT


def test_its_diagram_is_drawn_from_the_table() -> None:
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {WebSocketState.OPEN.name}"]
    lines += [f"    {state.name} --> {target.name}: {why}" for state, targets in WEBSOCKET_MOVES.items() for target, why in targets.items()]
    assert "\n".join([*lines, "```"]) in TEXT
