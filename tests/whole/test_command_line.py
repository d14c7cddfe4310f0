"""The command line as its users meet it: real processes, good input and bad.

Every mistake must end in one message that says what to do, the right exit code (1 for usage and binding,
3 for an application that does not start) and no line of ours.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from support import processes
from support.serving import BANNER, PATIENCE, Server, command, environment, run_to_end, serving

OURS = ("penstock/asgi", "penstock/cli.py", "penstock/runner.py", "penstock/__main__", "importlib", "penstock_reactor/")

APP = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})

def create_app(): return app

settings = {}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "main.py").write_text(APP)
    (tmp_path / "backend").mkdir()
    (tmp_path / "broken.py").write_text("def connect():\n    return 1 / 0\n\nconnect()\n")
    (tmp_path / "syntax.py").write_text("async def app(scope, receive, send:\n    pass\n")
    (tmp_path / "needy.py").write_text("import not_installed_anywhere\n")
    (tmp_path / "failing.py").write_text(
        'async def app(scope, receive, send):\n'
        '    await send({"type": "lifespan.startup.failed", "message": "the database is gone"})\n'
    )
    return tmp_path


def message_of(result: subprocess.CompletedProcess[str], code: int) -> str:
    """The one message that a failed start wrote."""
    assert (result.returncode, result.stdout) == (code, ""), result.stderr
    for part in OURS:
        assert part not in result.stderr.replace(os.sep, "/")
    entries = [line for line in result.stderr.splitlines() if line and not line.startswith((" ", "INFO:"))]
    assert len(entries) == 1, result.stderr
    return result.stderr[result.stderr.index(entries[0]):].removeprefix("ERROR:    ").rstrip("\n")


@pytest.mark.parametrize("words, told", [
    ("mian:app", 'There is no module "mian" in {folder}; did you mean main?'),
    ("main:ap", 'main ({folder}/main.py) has no "ap"; what looks like an application there: app'),
    ("main:settings", "main:settings is a dict, which cannot be called with (scope, receive, send) as ASGI asks"),
    ("main:create_app", "main:create_app has no parameters, so it looks like a factory of an application; "
                        "serve it with --factory"),
    ("mian.py:app", "There is no file mian.py; did you mean main.py?"),
    ("main:app --app-dir nowhere", "The folder to import the application from, {folder}/nowhere, does not exist"),
])
def test_an_application_that_cannot_be_found_ends_the_start(words: str, told: str, folder: Path) -> None:
    message = message_of(run_to_end(*words.split(), "--port", "0", cwd=folder), 3)
    assert message.replace(os.sep, "/") == told.format(folder=folder.as_posix())


@pytest.mark.parametrize("spec, begin, end", [
    ("broken", "broken failed while it was imported.\n    Traceback", "ZeroDivisionError: division by zero"),
    ("syntax:app", "syntax failed while it was imported.\n      File", "SyntaxError: '(' was never closed"),
    ("needy:app", 'needy imports "not_installed_anywhere", which does not exist in this Python',
     "If it is a package, install it for this Python."),
    ("failing:app", "The application failed while starting.", "the database is gone"),
    ("backend:app", '"backend" is a folder here, not a module', "name that with --app-dir."),
])
def test_an_application_that_fails_ends_the_start_with_its_own_lines(
    spec: str, begin: str, end: str, folder: Path
) -> None:
    message = message_of(run_to_end(spec, "--port", "0", cwd=folder), 3)
    assert message.startswith(begin) and message.endswith(end)
    if spec == "broken":
        assert "line 2, in connect" in message and "    return 1 / 0" in message


def test_the_checkouts_own_folder_is_not_taken_for_the_users_module(tmp_path: Path) -> None:
    (tmp_path / "server" / "penstock").mkdir(parents=True)
    message = message_of(run_to_end("server:app", "--port", "0", cwd=tmp_path), 3)
    assert message.startswith('"server" is a folder here, not a module: ')


@pytest.mark.parametrize("words, told", [
    ("main:app --prot 80", "penstock: unknown option --prot; did you mean --port?"),
    ("main:app --port 80000", "penstock: --port must be a whole number from 0 to 65535, not 80000"),
    ("", "penstock: which application? Name it as MODULE:ATTR, for example main:app"),
])
def test_a_command_that_makes_no_sense_ends_with_1(words: str, told: str, folder: Path) -> None:
    result = run_to_end(*words.split(), cwd=folder)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"{told}\nSee penstock --help.\n"


def test_a_port_in_use_is_named_with_who_uses_it(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = message_of(run_to_end("main:app", "--port", str(port), cwd=folder), 1)
    assert f"127.0.0.1:{port}" in message and "in use" in message
    if sys.platform == "linux":
        assert str(os.getpid()) in message


def test_an_address_of_another_machine_is_named(folder: Path) -> None:
    message = message_of(run_to_end("main:app", "--host", "203.0.113.7", "--port", "0", cwd=folder), 1)
    assert "203.0.113.7" in message


def unprivileged() -> list[str] | None:
    """What to put before a command so that it may not bind port 80; None when that cannot be had."""
    try:
        with socket.create_server(("127.0.0.1", 80)):
            pass
    except PermissionError:
        return []
    except OSError:
        return None
    setpriv = shutil.which("setpriv")
    allowed = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if setpriv is None or not allowed.exists() or int(allowed.read_text()) <= 80:
        return None
    return [setpriv, "--bounding-set=-net_bind_service", "--inh-caps=-all"]


def test_a_port_that_needs_privileges_is_told(folder: Path) -> None:
    before = unprivileged()
    if before is None:
        pytest.skip("every port may be bound here")
    result = subprocess.run(
        [*before, *command("main:app", "--port", "80")], cwd=folder, env=environment(),
        capture_output=True, text=True, timeout=PATIENCE,
    )
    message = message_of(result, 1)
    assert "127.0.0.1:80" in message and "privileges" in message and "--port" in message


def test_the_welcome_application_is_served_and_a_signal_ends_it() -> None:
    with serving("penstock.welcome:app") as server:
        with urllib.request.urlopen(server.url, timeout=PATIENCE) as answer:
            assert answer.status == 200
            assert b"penstock</span> is running" in answer.read()
        server.wait_line(r'INFO:     127\.0\.0\.1:\d+ - "GET / HTTP/1\.1" 200 OK')
        assert server.stop() == 0
        assert "Application shutdown complete." in server.stderr
        assert "Traceback" not in server.stderr


@pytest.mark.parametrize("words", ["main:app", "main", "main:create_app --factory"])
def test_an_application_of_the_current_folder_is_served(words: str, folder: Path) -> None:
    with serving(*words.split(), cwd=folder) as server, urllib.request.urlopen(server.url, timeout=PATIENCE) as answer:
        assert answer.read() == b"ok"


def test_an_application_of_another_folder_is_served(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with serving("main:app", "--app-dir", str(folder), "--no-access-log", cwd=elsewhere) as server:
        urllib.request.urlopen(server.url, timeout=PATIENCE).close()
        assert server.stop() == 0
        assert server.stdout == ""


def interrupted(folder: Path, source: str, ready: str) -> tuple[int, str]:
    """The end of a server that is interrupted as soon as its application has printed `ready`."""
    (folder / "slow.py").write_text(source)
    process = subprocess.Popen(
        command("slow:app", "--port", "0"), cwd=folder, env=environment({"PYTHONUNBUFFERED": "1"}),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == ready + "\n"
        processes.send(process.pid, signal.SIGINT)
        errors = process.communicate(timeout=PATIENCE)[1]
    finally:
        process.kill()
    return process.returncode, errors


def test_an_interrupt_ends_an_import_that_takes_long(folder: Path) -> None:
    code, errors = interrupted(folder, "import time\nprint('importing')\ntime.sleep(60)\n", "importing")
    assert (code, errors) == (1, "ERROR:    Interrupted while the application was being imported\n")


def test_an_interrupt_ends_a_start_that_takes_long(folder: Path) -> None:
    app = "async def app(scope, receive, send):\n    print('starting')\n    await asyncio.sleep(60)\n"
    code, errors = interrupted(folder, "import asyncio\n" + app, "starting")
    assert code == 0
    assert "Traceback" not in errors and "never" not in errors


SCRIPT = """
import penstock
from main import app
penstock.run({call})
print("after")
"""


def start_script(folder: Path, call: str) -> subprocess.Popen[str]:
    (folder / "script.py").write_text(SCRIPT.format(call=call))
    return subprocess.Popen(
        [sys.executable, "script.py"], cwd=folder, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("call", ["app, port=0", "'main:app', port=0"])
def test_a_script_serves_with_run_and_goes_on_after_it(call: str, folder: Path) -> None:
    server = Server(start_script(folder, call))
    try:
        with urllib.request.urlopen(server.wait_line(BANNER)["url"], timeout=PATIENCE) as answer:
            assert answer.read() == b"ok"
        assert server.stop() == 0
        assert server.stdout.endswith("after\n")
    finally:
        server.kill()


@pytest.mark.parametrize("call, code, told", [
    ("'mian:app', port=0", 3, 'There is no module "mian" on the import path'),
    ("app, prot=0", 1, "TypeError: penstock has no option 'prot'; did you mean port?"),
])
def test_a_script_that_cannot_serve_ends_with_the_code(call: str, code: int, told: str, folder: Path) -> None:
    process = start_script(folder, call)
    out, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (code, "")
    assert told in errors


def test_a_module_that_runs_itself_while_it_is_imported_is_told_so(folder: Path) -> None:
    (folder / "unguarded.py").write_text(APP + "import penstock\npenstock.run(app, port=0)\n")
    message = message_of(run_to_end("unguarded:app", "--port", "0", cwd=folder), 3)
    assert message.startswith("unguarded failed while it was imported.")
    assert "if __name__ == '__main__'" in message


@pytest.mark.skipif(os.name == "nt", reason="a pipe without a reader is another error there")
def test_a_reader_of_the_access_log_that_leaves_does_not_end_the_server(folder: Path) -> None:
    process = subprocess.Popen(
        command("main:app", "--port", "0"), cwd=folder, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    process.stdout = None
    try:
        banner = next(found for line in process.stderr if (found := re.search(BANNER, line)))
        for _ in range(3):
            urllib.request.urlopen(banner["url"], timeout=PATIENCE).close()
        process.terminate()
        errors = process.communicate(timeout=PATIENCE)[1]
    finally:
        process.kill()
    assert process.returncode == 0
    assert "Error" not in errors


def test_a_command_line_as_uvicorns_users_write_it_is_served(folder: Path) -> None:
    words = (
        "main:app --host 127.0.0.1 --workers 1 --loop auto --http httptools --lifespan auto --interface asgi3 --log-level info"
        " --no-server-header --no-date-header --limit-concurrency 100 --limit-max-requests 1000 --timeout-keep-alive 5"
        " --timeout-graceful-shutdown 3 --backlog 1024 --root-path /api --app-dir . --h11-max-incomplete-event-size 16384"
    )
    with serving(*words.split(), cwd=folder, env={"UVICORN_ACCESS_LOG": "false"}) as server:
        with urllib.request.urlopen(server.url, timeout=PATIENCE) as answer:
            assert answer.read() == b"ok" and answer.headers["server"] is None
        assert "INFO:     --http: penstock has one HTTP/1.1 parser, its own\n" in server.stderr
        assert server.stop() == 0
        assert server.stdout == ""


def test_a_folder_may_say_all_there_is_to_say(folder: Path) -> None:
    (folder / "pyproject.toml").write_text('[tool.penstock]\napp = "main:app"\naccess-log = false\n')
    with serving(cwd=folder, env={"PENSTOCK_PROT": "1"}) as server:
        urllib.request.urlopen(server.url, timeout=PATIENCE).close()
        told = "WARNING:  There is no option for the environment variable PENSTOCK_PROT; did you mean PENSTOCK_PORT?\n"
        assert server.stderr.startswith(told)
        assert server.stop() == 0
        assert server.stdout == ""


def test_mistakes_in_a_file_and_the_environment_are_lines_with_their_places(folder: Path) -> None:
    (folder / "pyproject.toml").write_text('[tool.penstock]\nport = "http"\n')
    result = run_to_end("main:app", cwd=folder, env={"UVICORN_RELOAD": "perhaps"})
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "penstock: pyproject.toml:2: port must be a whole number from 0 to 65535, not 'http'",
        "penstock: UVICORN_RELOAD must be True or False, not 'perhaps'",
        "See penstock --help.",
    ]
