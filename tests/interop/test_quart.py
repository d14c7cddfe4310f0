"""A real Quart application."""

import hashlib
import secrets
import time
from collections.abc import Iterator

import httpx
import pytest

from interop.conftest import APPS
from support.serving import Server, serving


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving("quart_app", "--app-dir", str(APPS), "--lifespan", "on") as server:
        yield server
        assert server.stop() == 0
        assert server.stdout.startswith("opening") and "\nclosing\n" in server.stdout


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=15, trust_env=False) as client:
        yield client


def test_a_session_is_remembered(client: httpx.Client) -> None:
    assert [client.get("/visits").text for _ in range(3)] == ["1", "2", "3"]


def test_a_file_is_uploaded(client: httpx.Client) -> None:
    content = secrets.token_bytes(3_000_000)
    answer = client.post("/upload", files={"file": ("a.bin", content)}, data={"note": "söme"}).json()
    assert answer == {"name": "a.bin", "note": "söme", "digest": hashlib.sha256(content).hexdigest()}


def test_a_body_is_read_as_it_comes_with_a_length_or_in_chunks(client: httpx.Client) -> None:
    body = secrets.token_bytes(1 << 20)
    pieces = (body[start : start + 10_007] for start in range(0, len(body), 10_007))
    assert client.post("/digest", content=body).text == client.post("/digest", content=pieces).text == hashlib.sha256(body).hexdigest()


def test_a_stream_arrives_whole_and_one_that_nobody_reads_is_ended(client: httpx.Client, server: Server) -> None:
    assert client.get("/stream?lines=1000").text == "".join(f"line {number}\n" for number in range(1000))
    with client.stream("GET", "/stream?lines=1000000000") as answer:
        assert next(answer.iter_lines()) == "line 0"
    server.wait_line("(?s)stream ended.*stream ended")


def test_a_view_that_blocks_has_a_thread_and_one_that_fails_a_500(client: httpx.Client) -> None:
    assert client.get("/in-a-thread").text == "in a thread"
    assert client.get("/fail").status_code == 500


def test_work_goes_on_after_the_answer(client: httpx.Client) -> None:
    assert client.post("/job").status_code == 202
    end = time.monotonic() + 10
    while client.get("/jobs").json() != ["done"]:
        assert time.monotonic() < end
