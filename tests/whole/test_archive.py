"""penstock packed by hand: a Python archive (`python -m zipapp`) that serves, with workers and reload."""

import shutil
import signal
import subprocess
import sys
import zipapp
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import processes
from support.client import ask, request
from support.serving import BANNER, CHECKOUT, Server

# Without site-packages, where penstock may be installed. (On Windows the tests' signals come from there.)
ALONE = [] if sys.platform == "win32" else ["-S"]

APP = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"one"})
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both packages and an application of its own; by itself it is the command line."""
    folder = tmp_path_factory.mktemp("archive")
    for package in ("reactor/penstock_reactor", "server/penstock"):
        shutil.copytree(CHECKOUT / package, folder / "content" / Path(package).name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "content" / "packed.py").write_text(APP.replace("one", "packed"))
    zipapp.create_archive(folder / "content", folder / "penstock.pyz", main="penstock.cli:main")
    shutil.rmtree(folder / "content")
    return folder / "penstock.pyz"


@contextmanager
def started(archive: Path, folder: Path, words: Sequence[str]) -> Iterator[Server]:
    process = subprocess.Popen(
        [sys.executable, *ALONE, archive, *words, "--port", "0"], cwd=folder, env=processes.bare_environment(), text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    server = Server(process)
    try:
        address = server.wait_line(BANNER)["url"].removeprefix("http://")
        server.host, server.port = address.partition(":")[0], int(address.partition(":")[2])
        yield server
    except BaseException as error:
        error.add_note(f"stdout:\n{server.stdout}\nstderr:\n{server.stderr}")
        raise
    finally:
        server.kill()


def body(server: Server) -> bytes:
    return ask((server.host, server.port), request()).body


@pytest.mark.parametrize("options", [(), ("--workers", "2"), ("--reload",)])
def test_an_application_in_the_archive_is_served(options: tuple[str, ...], archive: Path, tmp_path: Path) -> None:
    with started(archive, tmp_path, ["packed:app", *options]) as server:
        assert body(server) == b"packed"
        assert server.stop(signal.SIGINT) == 0


def test_an_application_beside_it_is_reloaded(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(APP)
    with started(archive, tmp_path, ["main:app", "--reload", "--workers", "2"]) as server:
        assert body(server) == b"one"
        (tmp_path / "main.py").write_text(APP.replace("one", "two"))
        processes.eventually(lambda: body(server) == b"two")
        assert server.stop(signal.SIGINT) == 0
