"""A real Litestar application."""

import hashlib
import secrets
from collections.abc import Iterator

import httpx
import pytest

from interop.conftest import APPS
from support.serving import Server, serving


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving("litestar_app", "--app-dir", str(APPS), "--lifespan", "on") as server:
        yield server
        assert server.stop() == 0
        assert server.stdout.startswith("opening") and "\nclosing\n" in server.stdout


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=15, trust_env=False) as client:
        yield client


def test_what_was_added_is_shown(client: httpx.Client) -> None:
    item = {"name": "tea", "price": 2.5}
    assert client.post("/items", json=item).status_code == 201
    assert client.get("/items/tea", headers={"Currency": "CHF"}).json() == {"name": "tea", "price": "2.50 CHF"}
    assert client.post("/items", json={"name": 1}).status_code == 400
    assert client.get("/items/coffee").status_code == 500


def test_a_file_is_uploaded(client: httpx.Client) -> None:
    content = secrets.token_bytes(3_000_000)
    answer = client.post("/upload", files={"file": ("a.bin", content)}).json()
    assert answer == {"name": "a.bin", "digest": hashlib.sha256(content).hexdigest()}


def test_a_body_is_read_as_it_comes_with_a_length_or_in_chunks(client: httpx.Client) -> None:
    body = secrets.token_bytes(1 << 20)
    pieces = (body[start : start + 10_007] for start in range(0, len(body), 10_007))
    assert client.post("/digest", content=body).text == client.post("/digest", content=pieces).text == hashlib.sha256(body).hexdigest()


def test_streams_and_events_arrive_whole(client: httpx.Client) -> None:
    assert client.get("/stream").text == "".join(f"line {number}\n" for number in range(1000))
    lines = client.get("/events").text.splitlines()
    assert [line for line in lines if line] == ["data: 0", "data: 1", "data: 2"]


def test_work_goes_on_after_the_answer(client: httpx.Client, server: Server) -> None:
    assert client.get("/job").text == "begun"
    server.wait_line("worked")
    assert client.get("/sync").text == "in a thread"
