"""https as its users meet it: the command line, a client that checks the certificate, workers, a renewed certificate."""

import os
import shutil
import signal
import ssl
import time
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from support.serving import PATIENCE, Server, run_to_end, serving
from support.streams import CERTIFICATE

OTHER = Path(CERTIFICATE).with_name("other.pem")

APP = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if scope["path"] == "/tls":
        body = repr(scope["extensions"]["tls"]["tls_version"]).encode()
    answer = scope["scheme"].encode() + b" " + body
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for start in range(0, len(answer), 100000):
        await send({"type": "http.response.body", "body": answer[start:start + 100000], "more_body": True})
    await send({"type": "http.response.body"})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "web.py").write_text(APP, encoding="ascii")
    return tmp_path


def connect(server: Server, name: str = "localhost", trusted: Path = Path(CERTIFICATE)) -> HTTPSConnection:
    context = ssl.create_default_context(cafile=str(trusted))
    context.check_hostname = name == "localhost"
    return HTTPSConnection("localhost", server.port, timeout=15, context=context)


def shows(server: Server, certificate: Path) -> bool:
    """Whether a request is answered under this certificate."""
    connection = connect(server, "other", certificate)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read() == b"https "
    except ssl.SSLCertVerificationError:
        return False
    finally:
        connection.close()


def test_requests_with_small_and_large_bodies_are_answered_on_one_connection(folder: Path) -> None:
    with serving("web:app", "--ssl-certfile", str(CERTIFICATE), cwd=folder) as server:
        assert server.url.startswith("https://")
        connection = connect(server)
        for body in (b"", b"small", b"large" * 1_000_000):
            connection.request("POST", "/", body=body)
            assert connection.getresponse().read() == b"https " + body
        connection.close()
        assert server.stop() == 0


def test_an_app_is_told_of_tls_at_each_request(folder: Path) -> None:
    with serving("web:app", "--ssl-certfile", str(CERTIFICATE), cwd=folder) as server:
        connection = connect(server)
        for _ in range(2):
            connection.request("GET", "/tls")
            assert connection.getresponse().read() == b"https %d" % 0x0304
        connection.close()


def test_a_stop_waits_for_nobody_who_only_keeps_a_connection(folder: Path) -> None:
    with serving("web:app", "--ssl-certfile", str(CERTIFICATE), cwd=folder) as server:
        connection = connect(server)
        connection.request("GET", "/")
        connection.getresponse().read()
        assert server.stop() == 0
        connection.close()


@pytest.mark.skipif(os.name == "nt", reason="a process cannot be sent SIGHUP there")
def test_a_renewed_certificate_is_shown_after_a_rolling_restart(folder: Path) -> None:
    used = folder / "used.pem"
    shutil.copy(CERTIFICATE, used)
    with serving("web:app", "--ssl-certfile", str(used), "--workers", "2", cwd=folder) as server:
        connection = connect(server)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"https "
        connection.close()
        shutil.copy(OTHER, used)
        server.process.send_signal(signal.SIGHUP)
        server.wait_line(r"(?s)(Ready: .*){4}")
        # An old worker takes connections until it has heard that the last new one is ready.
        end = time.monotonic() + PATIENCE
        while not shows(server, OTHER):
            assert time.monotonic() < end


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_certificate_that_cannot_be_read_is_told_in_one_line_with_code_1(folder: Path, workers: str) -> None:
    ended = run_to_end("web:app", "--port", "0", "--ssl-certfile", "none.pem", "--workers", workers, cwd=folder)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.strip() == "ERROR:    --ssl-certfile none.pem: No such file or directory"
