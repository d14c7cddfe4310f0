"""--env-file from the command line: the application finds what the file says, in a worker and after a reload, too."""

from pathlib import Path

import pytest
from support.serving import run_to_end, serving

APP = """
import os
print("A is", os.environ.get("A"), "and B is", os.environ.get("B"), flush=True)

async def app(scope, receive, send):
    raise NotImplementedError
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "main.py").write_text(APP)
    (tmp_path / ".env").write_text("A=of the file\nB=of the file\n")
    return tmp_path


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
def test_the_application_finds_it_where_the_environment_says_nothing(folder: Path, options: tuple[str, ...]) -> None:
    with serving("main:app", "--env-file", ".env", *options, cwd=folder, env={"B": "from outside"}) as server:
        server.wait_line("A is of the file and B is from outside")


def test_a_change_of_the_file_is_served_as_one_of_the_code_is(folder: Path) -> None:
    with serving("main:app", "--env-file", ".env", "--reload", cwd=folder) as server:
        server.wait_line("A is of the file")
        (folder / ".env").write_text("A=another\n")
        server.wait_line("A is another and B is None")


@pytest.mark.parametrize("text, told", [("A=b\nC='d", r"\.env, line 2: the quote ' is not closed"), (None, "cannot be read: .env: No such")])
@pytest.mark.parametrize("options", [(), ("--workers", "2")])
def test_a_file_that_cannot_be_read_ends_the_start(folder: Path, text: str | None, told: str, options: tuple[str, ...]) -> None:
    (folder / ".env").unlink()
    if text is not None:
        (folder / ".env").write_text(text)
    ended = run_to_end("main:app", "--env-file", ".env", "--port", "0", *options, cwd=folder)
    assert ended.returncode == 3 and told.replace("\\", "") in ended.stderr and "Traceback" not in ended.stderr
