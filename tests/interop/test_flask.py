"""A real Flask application by WSGI, told by its parameters alone."""

import hashlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from interop.conftest import APPS
from support.serving import Server, serving


@pytest.fixture(scope="module")
def server(static: Path) -> Iterator[Server]:
    with serving("flask_app", "--app-dir", str(APPS), env={"STATIC": str(static)}) as server:
        yield server
        assert server.stop() == 0


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=15, trust_env=False) as client:
        yield client


def test_a_page_is_served_and_a_session_remembered(client: httpx.Client) -> None:
    assert client.get("/hello/J%C3%B6rg").text == "Hello, Jörg!"
    assert [client.get("/visits").text for _ in range(3)] == ["1", "2", "3"]
    assert client.get("/nothing").status_code == 404
    head = client.head("/hello/x")
    assert (head.content, head.headers["content-length"]) == (b"", "9")


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
    server.wait_line("the reader left")


def test_a_file_and_a_part_of_it_arrive_whole(client: httpx.Client, static: Path) -> None:
    wanted = (static / "large.bin").read_bytes()
    answer = client.get("/file")
    assert answer.content == wanted and answer.headers["content-length"] == str(len(wanted))
    part = client.get("/file", headers={"Range": "bytes=1000000-2999999"})
    assert (part.status_code, part.content) == (206, wanted[1_000_000:3_000_000])
    assert client.get("/file", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


def test_the_address_is_what_the_client_used(client: httpx.Client, server: Server) -> None:
    answer = client.get("/about?x=y+z", headers=[("X-Twice", "1"), ("X-Twice", "2")]).json()
    assert answer == {"url": f"{server.url}/about?x=y+z", "address": "127.0.0.1", "agents": ["1,2"]}


def test_failures_are_answered_and_logged(client: httpx.Client, server: Server) -> None:
    assert client.get("/fail").status_code == 500
    server.wait_line("LookupError: of the view")
    assert client.get("/teapot").status_code == 418
    server.wait_line("no coffee here")
