"""A real FastAPI application, unchanged, by the real command line, spoken to by httpx."""

import hashlib
import secrets
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from support.serving import Server


def test_path_and_query_are_validated(fastapi_client: httpx.Client) -> None:
    answer = fastapi_client.get("/articles/7", params={"tag": ["a", "ä&="], "name": "teapot"})
    assert (answer.status_code, answer.json()) == (200, {"number": 7, "tag": ["a", "ä&="], "name": "teapot"})
    refused = fastapi_client.get("/articles/0", params={"name": "no"})
    assert refused.status_code == 422
    assert [error["loc"] for error in refused.json()["detail"]] == [["path", "number"], ["query", "tag"], ["query", "name"]]


def test_json_bodies_are_validated_and_answered(fastapi_client: httpx.Client) -> None:
    line = {"article": "kettle", "count": 2, "price": 12.5}
    answer = fastapi_client.post("/orders", json={"customer": "Zoë", "lines": [line]})
    assert (answer.status_code, answer.json()) == (201, {"customer": "Zoë", "total": 25.0})
    refused = fastapi_client.post("/orders", json={"customer": "Zoë", "lines": [{**line, "count": 0}]})
    assert refused.status_code == 422
    broken = fastapi_client.post("/orders", content=b"{", headers={"Content-Type": "application/json"})
    assert broken.status_code == 422


def test_an_exception_handler_answers(fastapi_client: httpx.Client) -> None:
    order = {"customer": "Zoë", "lines": [{"article": "teapot", "count": 1, "price": 1}]}
    answer = fastapi_client.post("/orders", json=order)
    assert (answer.status_code, answer.json()) == (409, {"out_of_stock": "teapot"})
    assert answer.headers["retry-after"] == "60"


def test_a_file_of_megabytes_is_uploaded(fastapi_client: httpx.Client) -> None:
    document = secrets.token_bytes(5 << 20)
    answer = fastapi_client.post("/files", data={"title": "Plan"}, files={"document": ("plan.bin", document)})
    digest = hashlib.sha256(document).hexdigest()
    assert answer.json() == {"title": "Plan", "name": "plan.bin", "size": len(document), "sha256": digest}


def test_dependencies_and_endpoints_that_are_no_coroutines_run_in_threads(fastapi_client: httpx.Client) -> None:
    threads = fastapi_client.get("/threads").json()
    assert threads["endpoint"] == "MainThread" and threads["dependency"] != "MainThread"
    assert fastapi_client.get("/in-a-thread").json()["endpoint"] != "MainThread"


def test_a_background_task_runs_after_its_answer(fastapi_client: httpx.Client) -> None:
    assert fastapi_client.post("/jobs/sweep").status_code == 202
    deadline = time.monotonic() + 10
    # Another request may overtake the task; that it comes at all is what is promised.
    while "sweep" not in fastapi_client.get("/jobs").json():
        assert time.monotonic() < deadline


def test_streams_arrive_whole_from_coroutines_and_from_threads(fastapi_client: httpx.Client) -> None:
    for path in ("/count", "/count-in-threads"):
        with fastapi_client.stream("GET", path, params={"to": 1000}) as answer:
            assert answer.headers["transfer-encoding"] == "chunked"
            assert list(answer.iter_lines()) == [str(number) for number in range(1000)]


def test_the_request_is_seen_as_it_was_made(fastapi_client: httpx.Client, fastapi_server: Server) -> None:
    headers = [("X-Twice", "one"), ("X-Twice", "two"), ("Cookie", "a=1; b=2")]
    seen = fastapi_client.get("/request?q=%C3%A4", headers=headers).json()
    assert [value for name, value in seen["headers"] if name == "x-twice"] == ["one", "two"]
    assert ["cookie", "a=1; b=2"] in seen["headers"]
    assert seen["url"] == f"{fastapi_server.url}/request?q=%C3%A4"
    assert (seen["http_version"], seen["path"], seen["raw_path"]) == ("1.1", "/request", "/request")
    assert seen["client"][0] == "127.0.0.1"
    assert seen["loop"].startswith("penstock_reactor")


def test_a_bug_is_answered_with_500_and_the_connection_goes_on(
    fastapi_client: httpx.Client, fastapi_server: Server
) -> None:
    before = fastapi_client.get("/request").json()["client"]
    assert fastapi_client.get("/bug").status_code == 500
    fastapi_server.wait_line("RuntimeError: a bug in the application")
    after = fastapi_client.get("/request").json()["client"]
    assert before == after


def test_one_connection_serves_many_requests(fastapi_client: httpx.Client) -> None:
    clients = [fastapi_client.get("/request").json()["client"] for _ in range(20)]
    assert clients == clients[:1] * 20


def test_many_clients_are_served_at_once(fastapi_server: Server) -> None:
    def ask(number: int) -> int:
        with httpx.Client(base_url=fastapi_server.url, timeout=15, trust_env=False) as client:
            answers = [client.get(f"/articles/{number * 10 + n + 1}", params={"tag": "x"}) for n in range(10)]
        assert [answer.json()["number"] for answer in answers] == [number * 10 + n + 1 for n in range(10)]
        return len(answers)

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(ask, range(20))) == 200


def test_the_access_log_has_each_request(fastapi_client: httpx.Client, fastapi_server: Server) -> None:
    fastapi_client.get("/articles/4711", params={"tag": "logged"})
    fastapi_server.wait_line(r'127\.0\.0\.1:\d+ - "GET /articles/4711\?tag=logged HTTP/1\.1" 200')
