"""The pages for applications keep their word: each row names tests, and they are there."""

import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]
PAGES = {"asgi.md": 30, "wsgi.md": 10, "apps.md": 6}  # and how many rows each has at least
TESTS = set(re.findall(r"^(?:async )?def (test_\w+)", "".join(path.read_text(encoding="utf-8") for path in (TOP / "tests").rglob("test_*.py")), re.M))


@pytest.mark.parametrize("page, least", PAGES.items())
def test_each_row_names_a_test_that_is_there(page: str, least: int) -> None:
    rows = [line for line in (TOP / "docs" / page).read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    claims = [row for row in rows if row != "| what | how | test |"]
    assert len(claims) > least
    assert [row for row in claims if not re.findall(r"`test_\w+`", row)] == []
    assert {name for row in claims for name in re.findall(r"`(test_\w+)`", row)} - TESTS == set()
