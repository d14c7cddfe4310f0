"""The logs of a real server: nobody waits for a reader, nothing is lost unsaid, and options that make no sense are named."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.client import Client, ask, request
from support.serving import BANNER, CHECKOUT, PATIENCE, command, environment, run_to_end
from whole.conftest import Serve

MOST = 40_000
TESTS = str(CHECKOUT / "tests")


def rate(client: Client, count: int) -> float:
    """Requests a second on one connection, `count` of them pipelined by tens."""
    before = time.perf_counter()
    for _ in range(count // 10):
        client.send(request("/", fields="x-filler: " + "x" * 100 + "\r\n") * 10)
        for _ in range(10):
            assert client.answer().status == 200
    return count / (time.perf_counter() - before)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are read otherwise there")
def test_a_reader_that_stops_reading_costs_lines_and_never_an_answer() -> None:
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        command("support.apps:app", "--app-dir", TESTS, "--port", "0"), env=environment(), stdin=subprocess.DEVNULL,
        stdout=write_end, stderr=subprocess.PIPE, text=True,
    )
    os.close(write_end)
    try:
        assert process.stderr is not None
        found = next(found for line in process.stderr if (found := re.search(BANNER, line)))
        port = int(found["url"].rpartition(":")[2])
        with Client(("127.0.0.1", port)) as client:
            fast = rate(client, 2000)
            stalled = rate(client, MOST)
        print(f"requests a second: {fast:.0f} at first, {stalled:.0f} with a reader that reads nothing")
        with os.fdopen(read_end, encoding="utf-8") as reader:
            lines, missing = 0, 0
            for line in reader:
                told = re.match(r"WARNING:  (\d+) lines are missing here", line)
                lines, missing = (lines, missing + int(told[1])) if told else (lines + 1, missing)
                if told:
                    break
            assert missing and lines + missing == MOST + 2000
            assert ask(("127.0.0.1", port), request("/?again")).status == 200
            assert "/?again" in reader.readline()
            process.terminate()
            assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are read otherwise there")
def test_a_reader_that_stops_reading_does_not_keep_the_server_from_ending() -> None:
    process = subprocess.Popen(
        command("support.apps:app", "--app-dir", TESTS, "--port", "0"), env=environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    try:
        assert process.stderr is not None
        found = next(found for line in process.stderr if (found := re.search(BANNER, line)))
        with Client(("127.0.0.1", int(found["url"].rpartition(":")[2]))) as client:
            rate(client, 3000)
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.communicate()


def test_each_worker_writes_what_it_answered(serve: Serve) -> None:
    with serve("--workers", "2", "--log-json", "--request-id-header", "x-request-id") as server:
        for number in range(10):
            assert ask((server.host, server.port), request(f"/?{number}", fields=f"x-request-id: id-{number}\r\n")).status == 200
        for number in range(10):
            server.wait_line(rf'"path": "/\?{number}".*"request_id": "id-{number}"')
        assert server.stop() == 0
    entries = [json.loads(line) for line in server.stdout.splitlines() if line.startswith("{")]
    assert len(entries) == 10 and {entry["sent"] for entry in entries} == {5}
    assert all(json.loads(line)["logger"].startswith("penstock") for line in server.stderr.splitlines())


def test_a_format_of_atoms_shows_fields_of_the_response(serve: Serve) -> None:
    with serve("--access-log-format", "%(m)s %(s)s %(B)s %({content-length}o)s %({x-none}o)s") as server:
        ask((server.host, server.port), request())
        server.wait_line(r"^GET 200 5 - -$")


def test_an_application_that_breaks_off_is_in_the_log_with_how_it_ended(serve: Serve) -> None:
    with serve() as server:
        with Client((server.host, server.port)) as client:
            client.send(request("/fail-late"))
            client.head()
        server.wait_line(r'"GET /fail-late HTTP/1.1" 200 OK \(failed\)$')


@pytest.mark.parametrize("options, told", [
    (("--access-log-format", "%(nonsense)s"), "penstock: --access-log-format: %(nonsense)s is no atom"),
    (("--log-config", "nowhere.json"), "penstock: --log-config nowhere.json: "),
    (("--log-config", "nowhere.json", "--workers", "2"), "penstock: --log-config nowhere.json: "),
])
def test_a_log_that_cannot_be_is_told_in_one_line(options: tuple[str, ...], told: str) -> None:
    result = run_to_end("support.apps:app", "--app-dir", TESTS, *options)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(told) and result.stderr.endswith("\nSee penstock --help.\n")
    assert result.stderr.count("\n") == 2


UVICORNS = """{
  "version": 1, "disable_existing_loggers": false,
  "formatters": {
    "default": {"()": "uvicorn.logging.DefaultFormatter", "fmt": "%(asctime)s %(levelprefix)s %(message)s", "use_colors": null},
    "access": {"()": "uvicorn.logging.AccessFormatter",
               "fmt": "%(levelprefix)s [%(client_addr)s] \\"%(request_line)s\\" %(status_code)s"}},
  "handlers": {
    "default": {"formatter": "default", "class": "logging.StreamHandler", "stream": "ext://sys.stderr"},
    "access": {"formatter": "access", "class": "logging.StreamHandler", "stream": "ext://sys.stdout"}},
  "loggers": {
    "uvicorn": {"handlers": ["default"], "level": "INFO", "propagate": false},
    "uvicorn.error": {"level": "INFO"},
    "uvicorn.access": {"handlers": ["access"], "level": "INFO", "propagate": false}}
}"""


def test_a_configuration_written_for_uvicorn_works_with_the_word_replaced(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text(UVICORNS.replace("uvicorn", "penstock"))
    with serve("--log-config", str(tmp_path / "log.json")) as server:
        ask((server.host, server.port), request())
        server.wait_line(r'^INFO:     \[127\.0\.0\.1:\d+\] "GET / HTTP/1\.1" 200 OK$')
        server.wait_line(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO:     penstock running on")
