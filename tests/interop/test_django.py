"""A real Django project, by ASGI and by WSGI: admin, sessions, uploads, streams and files."""

import hashlib
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from interop.conftest import APPS
from support.serving import Server, environment, serving


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("django")
    (folder / "download.bin").write_bytes(secrets.token_bytes(1 << 20))
    subprocess.run([sys.executable, str(APPS / "django_app.py")], env=environment({"DJANGO_FOLDER": str(folder)}), check=True)
    return folder


@pytest.fixture(scope="module", params=["asgi", "wsgi"])
def server(request: pytest.FixtureRequest, folder: Path) -> Iterator[Server]:
    with serving(f"django_app:{request.param}", "--app-dir", str(APPS), env={"DJANGO_FOLDER": str(folder)}) as server:
        yield server
        assert server.stop() == 0


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=15, trust_env=False) as client:
        yield client


def test_somebody_logs_in_to_the_admin_and_adds_a_user(client: httpx.Client, server: Server) -> None:
    page = client.get("/admin/", follow_redirects=True)
    assert page.status_code == 200 and "Log in" in page.text
    fields = {"csrfmiddlewaretoken": client.cookies["csrftoken"], "next": "/admin/"}
    wrong = client.post("/admin/login/", data={**fields, "username": "ann", "password": "wrong"})
    assert "Please enter the correct username" in wrong.text
    page = client.post("/admin/login/", data={**fields, "username": "ann", "password": "secret"}, follow_redirects=True)
    assert page.status_code == 200 and "Site administration" in page.text
    page = client.get("/admin/auth/user/add/")
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert token is not None
    name = f"ben{server.port}"
    new = {"csrfmiddlewaretoken": token[1], "username": name, "password1": "xyzzy-plugh", "password2": "xyzzy-plugh", "usable_password": "true"}
    page = client.post("/admin/auth/user/add/", data=new, follow_redirects=True)
    assert "was added successfully" in page.text
    assert name in client.get("/admin/auth/user/").text


def test_without_its_token_a_form_is_refused(client: httpx.Client) -> None:
    assert client.post("/admin/login/", data={"username": "ann"}).status_code == 403


def test_a_session_is_remembered(client: httpx.Client) -> None:
    assert [client.get("/visits").text for _ in range(3)] == ["1", "2", "3"]


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_a_file_is_uploaded(client: httpx.Client, size: int) -> None:
    content = secrets.token_bytes(size)
    answer = client.post("/upload", files={"file": ("ä.bin", content)}, data={"note": "söme"}).json()
    assert answer == {"name": "ä.bin", "note": "söme", "digest": hashlib.sha256(content).hexdigest()}


def test_a_stream_arrives_whole(client: httpx.Client) -> None:
    answer = client.get("/stream")
    assert answer.text == "".join(f"line {number}\n" for number in range(1000))
    assert answer.headers["transfer-encoding"] == "chunked"


def test_a_file_is_downloaded(client: httpx.Client, folder: Path) -> None:
    answer = client.get("/download")
    assert answer.content == (folder / "download.bin").read_bytes()
    assert answer.headers["content-length"] == str(1 << 20)
    head = client.head("/download")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(1 << 20))


def test_the_address_is_what_the_client_used(client: httpx.Client, server: Server) -> None:
    answer = client.get("/about/a%20b%C3%A9?x=y+z").json()
    assert answer == {
        "url": f"{server.url}/about/a%20b%C3%A9?x=y+z", "path": "/about/a bé", "name": "a bé", "address": "127.0.0.1"
    }


def test_an_async_view_answers(client: httpx.Client) -> None:
    assert client.get("/later").text == "later"


def test_a_view_that_fails_is_answered_500_and_the_connection_goes_on(client: httpx.Client) -> None:
    assert client.get("/fail").status_code == 500
    assert client.get("/later").status_code == 200
