"""How an application is named on the command line, and what is said when it cannot be loaded; in a worker as in one process."""

from pathlib import Path

import pytest
from support.client import ask, request
from support.serving import CHECKOUT, run_to_end, serving

EACH_WAY = pytest.mark.parametrize("options", [(), ("--workers", "2"), ("--reload",)])
HELLO = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [__name__.encode()]

def create():
    return app
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    package = tmp_path / "src" / "shop"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "parts.py").write_text(HELLO)
    (package / "main.py").write_text("from .parts import app as app, create as create\n")
    (package / "broken.py").write_text("from .parts import app\n\ndef fail():\n    return 1 / 0\n\nfail()\n")
    return tmp_path


@EACH_WAY
@pytest.mark.parametrize("words", [
    ("src/shop/main.py",), ("src/shop/main.py:app",), ("shop.main", "--app-dir", "src"), ("src/shop/main.py:create", "--factory"),
])
def test_a_file_is_served_as_the_module_is(folder: Path, words: tuple[str, ...], options: tuple[str, ...]) -> None:
    with serving(*words, *options, cwd=folder) as server:
        assert ask((server.host, server.port), request()).body == b"shop.parts"


@EACH_WAY
def test_a_module_that_fails_shows_the_users_lines_once(folder: Path, options: tuple[str, ...]) -> None:
    ended = run_to_end("src/shop/broken.py", "--port", "0", *options, cwd=folder)
    assert ended.returncode == 3
    assert ended.stderr.count("ZeroDivisionError") == ended.stderr.count("Traceback") == 1
    assert 'broken.py", line 4, in fail' in ended.stderr and "penstock/" not in ended.stderr.replace(str(CHECKOUT), "")


def test_code_for_wsgi_is_imported_without_a_running_loop_where_it_is_told_to_be(folder: Path) -> None:
    """Django's models refuse to be used within one; they say so by an error of this name."""
    (folder / "shopfront.py").write_text(HELLO + """
import asyncio
class SynchronousOnlyOperation(Exception): pass
if asyncio._get_running_loop() is not None:
    raise SynchronousOnlyOperation
""")
    ended = run_to_end("./shopfront.py", "--port", "0", cwd=folder)
    assert ended.returncode == 3 and "With --interface wsgi the application is imported without" in ended.stderr
    with serving("./shopfront.py", "--interface", "wsgi", cwd=folder) as server:
        assert ask((server.host, server.port), request()).status == 200


def test_in_the_checkout_a_folder_is_called_a_folder() -> None:
    ended = run_to_end("server:app", "--port", "0", cwd=CHECKOUT)
    assert ended.returncode == 3 and '"server" is a folder here, not a module' in ended.stderr
