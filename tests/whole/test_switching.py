"""Programs as uvicorn's users write them, run after one word was replaced."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.client import ask, request
from support.serving import BANNER, Server, ServingError, environment

APP = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%s %s" % (scope["scheme"].encode(), scope["client"][0].encode())})
"""

SCRIPT = """
import uvicorn
from web import app

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=0, log_level="info", loop="asyncio", http="h11", ws="auto", lifespan="auto",
                proxy_headers=True, forwarded_allow_ips="*", timeout_keep_alive=30, access_log=True, use_colors=False)
"""

EMBEDDED = """
import asyncio
import uvicorn

async def main():
    config = uvicorn.Config("web:app", port=0, log_level="info")
    server = uvicorn.Server(config)
    await server.serve()

if __name__ == "__main__":
    asyncio.run(main())
"""

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "default": {"()": "uvicorn.logging.DefaultFormatter", "fmt": "%(asctime)s %(levelprefix)s %(message)s", "use_colors": None},
        "access": {
            "()": "uvicorn.logging.AccessFormatter",
            "fmt": '%(levelprefix)s %(client_addr)s - "%(request_line)s" %(status_code)s',
        },
    },
    "handlers": {
        "default": {"formatter": "default", "class": "logging.StreamHandler", "stream": "ext://sys.stderr"},
        "access": {"formatter": "access", "class": "logging.StreamHandler", "stream": "ext://sys.stdout"},
    },
    "loggers": {
        "uvicorn": {"handlers": ["default"], "level": "INFO", "propagate": False},
        "uvicorn.error": {"level": "INFO"},
        "uvicorn.access": {"handlers": ["access"], "level": "INFO", "propagate": False},
    },
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project whose every word uvicorn has been replaced."""
    for name, text in (("web.py", APP), ("script.py", SCRIPT), ("embedded.py", EMBEDDED), ("log.json", json.dumps(LOGGING))):
        (tmp_path / name).write_text(text.replace("uvicorn", "penstock"), encoding="ascii")
    return tmp_path


def start(folder: Path, *words: str, env: dict[str, str] | None = None, **options: object) -> Server:
    process: subprocess.Popen[str] = subprocess.Popen(  # type: ignore[call-overload]  # its overloads know no keywords in a dict
        [sys.executable, *words], cwd=folder, env=environment(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, **options,
    )
    server = Server(process)
    try:
        url = server.wait_line(BANNER)["url"]
    except ServingError:
        server.kill()
        raise AssertionError(server.stderr) from None
    server.port = int(re.findall(r"\d+", url)[-1])
    return server


def seen(server: Server, fields: str = "") -> bytes:
    return ask(("127.0.0.1", server.port), request("/there?x=1", fields=fields)).body


@pytest.mark.parametrize("script", ["script.py", "embedded.py"])
def test_a_script_serves_logs_and_ends_with_0(folder: Path, script: str) -> None:
    server = start(folder, script)
    try:
        assert seen(server).startswith(b"http ")
        server.wait_line(r'^INFO: +127\.0\.0\.1:\d+ - "GET /there\?x=1 HTTP/1\.1" 200 OK$')
        assert server.stop(signal.SIGINT if os.name != "nt" else signal.SIGTERM) == (0 if os.name != "nt" else 1)
    finally:
        server.kill()


def test_the_script_trusts_its_proxy(folder: Path) -> None:
    server = start(folder, "script.py")
    try:
        forwarded = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n"
        assert seen(server, forwarded) == b"https 192.0.2.7"
    finally:
        server.kill()


def test_a_log_configuration_goes_on_working(folder: Path) -> None:
    server = start(folder, "-m", "penstock", "web:app", "--port", "0", "--log-config", "log.json")
    try:
        seen(server)
        server.wait_line(r'^INFO: +127\.0\.0\.1:\d+ - "GET /there\?x=1 HTTP/1\.1" 200 OK$')
        server.wait_line(r"^\d{4}-\d\d-\d\d [\d:,]+ INFO: +penstock running on")
    finally:
        server.kill()


@pytest.mark.skipif(os.name == "nt", reason="descriptors are inherited otherwise there")
def test_a_line_of_a_systemd_unit_serves_on_the_socket_it_is_given(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        words = (
            f"-m penstock web:app --fd {sock.fileno()} --workers 2 --proxy-headers --forwarded-allow-ips=127.0.0.1 --no-access-log"
            " --log-level info --timeout-graceful-shutdown 5 --timeout-keep-alive 5 --limit-concurrency 1000 --backlog 2048"
            " --no-server-header --lifespan auto"
        )
        server = start(folder, *words.split(), pass_fds=[sock.fileno()], env={"WEB_CONCURRENCY": "4"})
        try:
            server.port = sock.getsockname()[1]
            assert seen(server, "X-Forwarded-For: 192.0.2.7\r\n") == b"http 192.0.2.7"
            assert server.stderr.count("Ready: worker") == 2
            assert server.stop() == 0
        finally:
            server.kill()


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGTERM that could be handled")
def test_options_of_the_environment_go_on_working_under_their_old_names(folder: Path) -> None:
    server = start(folder, "-m", "penstock", env={"UVICORN_APP": "web:app", "UVICORN_PORT": "0", "UVICORN_ACCESS_LOG": "false"})
    try:
        assert seen(server).startswith(b"http ")
        assert server.stop() == 0
        assert "GET" not in server.stdout
    finally:
        server.kill()
