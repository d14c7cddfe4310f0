"""What the interop tests share: the two applications served by the real command line."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.serving import Server, serving

APPS = Path(__file__).parent / "apps"


@pytest.fixture(scope="session")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text and with more bytes than fit into any socket's buffer."""
    folder = tmp_path_factory.mktemp("static")
    (folder / "poem.txt").write_text("a line\n" * 400)
    (folder / "large.bin").write_bytes(secrets.token_bytes(8 << 20))
    return folder


@pytest.fixture(scope="module")
def fastapi_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving("fastapi_app:app", "--app-dir", str(APPS), cwd=tmp_path_factory.mktemp("cwd")) as server:
        yield server


@pytest.fixture(scope="module")
def starlette_server(static: Path) -> Iterator[Server]:
    with serving("starlette_app:app", cwd=APPS, env={"STATIC": str(static)}) as server:
        yield server


@pytest.fixture
def fastapi_client(fastapi_server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=fastapi_server.url, timeout=15, trust_env=False) as client:
        yield client


@pytest.fixture
def starlette_client(starlette_server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=starlette_server.url, timeout=15, trust_env=False) as client:
        yield client
