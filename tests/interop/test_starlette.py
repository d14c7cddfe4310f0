"""A real Starlette application: events and clients that leave, static files, bodies in pieces, middleware."""

import hashlib
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx

from support.serving import Server


def test_events_arrive_one_by_one_and_the_app_learns_that_the_reader_left(starlette_client: httpx.Client) -> None:
    with starlette_client.stream("GET", "/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert [next(lines) for _ in range(6)] == ["id: 0", "data: tick 0", "", "id: 1", "data: tick 1", ""]
    assert starlette_client.get("/left").text == "the reader of events"


def test_an_app_that_waits_learns_that_its_client_left(starlette_server: Server, starlette_client: httpx.Client) -> None:
    with socket.create_connection((starlette_server.host, starlette_server.port), timeout=10) as connection:
        connection.sendall(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert starlette_client.get("/left").text == "the one who waited"


def test_an_app_that_reads_learns_that_its_client_left(starlette_server: Server, starlette_client: httpx.Client) -> None:
    with socket.create_connection((starlette_server.host, starlette_server.port), timeout=10) as connection:
        connection.sendall(b"POST /digest HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nonly this")
    assert starlette_client.get("/left").text == "the one who posted"


def test_a_static_file_has_a_length_and_an_etag_and_is_not_sent_twice(starlette_client: httpx.Client, static: Path) -> None:
    answer = starlette_client.get("/static/poem.txt")
    assert answer.text == (static / "poem.txt").read_text()
    assert answer.headers["content-length"] == str(len(answer.content))
    again = starlette_client.get("/static/poem.txt", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert starlette_client.get("/static/nothing").status_code == 404


def test_head_has_the_length_and_no_body_and_the_connection_goes_on(starlette_client: httpx.Client, static: Path) -> None:
    for _ in range(3):
        answer = starlette_client.head("/static/large.bin")
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-length"] == str((static / "large.bin").stat().st_size)
    assert starlette_client.get("/static/poem.txt").status_code == 200


def test_a_large_file_and_a_part_of_it_arrive_whole(starlette_client: httpx.Client, static: Path) -> None:
    wanted = (static / "large.bin").read_bytes()
    assert starlette_client.get("/static/large.bin").content == wanted
    part = starlette_client.get("/static/large.bin", headers={"Range": "bytes=1000000-2999999"})
    assert (part.status_code, part.content) == (206, wanted[1_000_000:3_000_000])


def test_a_compressed_answer_is_what_it_was(starlette_client: httpx.Client, static: Path) -> None:
    answer = starlette_client.get("/zipped/poem.txt", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.text == (static / "poem.txt").read_text()


def test_a_body_is_read_as_it_comes_with_a_length_or_in_chunks(starlette_client: httpx.Client) -> None:
    body = secrets.token_bytes(3 << 20)
    digest = hashlib.sha256(body).hexdigest()

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(body), 10_007):
            yield body[start : start + 10_007]

    assert starlette_client.post("/digest", content=body).text == digest
    assert starlette_client.post("/digest", content=pieces()).text == digest


def test_a_slow_reader_gets_a_long_stream_whole(starlette_client: httpx.Client) -> None:
    got = hashlib.sha256()
    with starlette_client.stream("GET", "/large", params={"pieces": 200}) as answer:
        for piece in answer.iter_raw(4096):
            got.update(piece)
    wanted = hashlib.sha256(b"".join(bytes([number % 251]) * 65536 for number in range(200)))
    assert got.hexdigest() == wanted.hexdigest()


def test_middleware_is_passed_on_the_way_out(starlette_client: httpx.Client) -> None:
    assert starlette_client.get("/static/poem.txt").headers["x-through"] == "middleware"
