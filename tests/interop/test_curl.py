"""The same applications spoken to by curl, which speaks HTTP its own way: 100-continue, chunked uploads, HTTP/1.0."""

import hashlib
import json
import secrets
import subprocess
from pathlib import Path

from support.serving import Server


def curl(*arguments: str) -> str:
    """Run curl to its end; its output."""
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "15", "--noproxy", "*", *arguments],
        capture_output=True, stdin=subprocess.DEVNULL, timeout=20, check=False,
    )
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    # Not as text: that would make line ends of the heads' CRLF.
    return done.stdout.decode()


def test_curl_posts_json(fastapi_server: Server) -> None:
    order = json.dumps({"customer": "curl", "lines": [{"article": "kettle", "count": 1, "price": 3}]})
    answer = curl("--json", order, f"{fastapi_server.url}/orders")
    assert json.loads(answer) == {"customer": "curl", "total": 3.0}


def test_curl_uploads_a_file_after_100_continue(starlette_server: Server, tmp_path: Path) -> None:
    body = secrets.token_bytes(2 << 20)
    (tmp_path / "body").write_bytes(body)
    # With this field curl holds the body back until it is asked for it, or until a second has passed in vain.
    answer = curl("--include", "--expect100-timeout", "10", "--header", "Expect: 100-continue",
                  "--upload-file", str(tmp_path / "body"), f"{starlette_server.url}/digest")
    assert answer.startswith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert answer.endswith(hashlib.sha256(body).hexdigest())


def test_curl_uploads_in_chunks(starlette_server: Server, tmp_path: Path) -> None:
    body = secrets.token_bytes(300_000)
    (tmp_path / "body").write_bytes(body)
    answer = curl("--header", "Transfer-Encoding: chunked", "--upload-file", str(tmp_path / "body"),
                  f"{starlette_server.url}/digest")
    assert answer == hashlib.sha256(body).hexdigest()


def test_curl_sends_a_form_with_a_file(fastapi_server: Server, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("a note")
    answer = json.loads(curl("--form", "title=Note", "--form", f"document=@{tmp_path / 'note.txt'}",
                             f"{fastapi_server.url}/files"))
    assert (answer["title"], answer["name"], answer["size"]) == ("Note", "note.txt", 6)


def test_curl_asks_many_times_over_one_connection(fastapi_server: Server) -> None:
    urls = [f"{fastapi_server.url}/articles/{number}?tag=a" for number in range(1, 11)]
    connects = curl("--write-out", "%{num_connects}\n", *(word for url in urls for word in ("-o", "/dev/null", url)))
    assert connects.split() == ["1"] + ["0"] * 9


def test_curl_asks_by_http_1_0(fastapi_server: Server) -> None:
    answer = curl("--http1.0", f"{fastapi_server.url}/count?to=100")
    assert answer.split() == [str(number) for number in range(100)]


def test_curl_asks_for_the_head_alone(starlette_server: Server) -> None:
    answer = curl("--head", f"{starlette_server.url}/static/poem.txt")
    assert answer.startswith("HTTP/1.1 200 OK\r\n") and answer.endswith("\r\n\r\n")
