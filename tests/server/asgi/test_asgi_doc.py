"""docs/asgi.md keeps its word: each row names tests, and they are there."""

import re
from pathlib import Path

TOP = Path(__file__).parents[3]
ROWS = [line for line in (TOP / "docs" / "asgi.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
TESTS = set(re.findall(r"^(?:async )?def (test_\w+)", "".join(path.read_text(encoding="utf-8") for path in (TOP / "tests").rglob("test_*.py")), re.M))


def test_each_row_names_a_test_that_is_there() -> None:
    claims = [row for row in ROWS if row != "| what | how | test |"]
    assert len(claims) > 30
    assert [row for row in claims if not re.findall(r"`test_\w+`", row)] == []
    assert {name for row in claims for name in re.findall(r"`(test_\w+)`", row)} - TESTS == set()
