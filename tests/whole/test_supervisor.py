"""Many processes behind one set of sockets: whatever comes and goes, no request is lost, and nobody is left behind."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.client import Client, ask, request
from support.pressure import Pressure
from support.processes import children, eventually, has_begun, is_alive, kill, send
from support.serving import CHECKOUT, PATIENCE, Server, ServingError, command, environment, run_to_end, serving

KILLED = "exit code 15" if sys.platform == "win32" else "signal 9"
posix = pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")

APP = """
import asyncio, os, sys

VERSION = "one"

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
            if kind == "shutdown":
                print("lifespan ended", os.getpid(), flush=True)
        return
    path, body = scope["path"], VERSION.encode()
    if path == "/pid":
        body = str(os.getpid()).encode()
    elif path == "/stdin":
        body = sys.stdin.readline().encode()
    elif path == "/sleep":
        print("sleeping", flush=True)
        await asyncio.sleep(1)
    elif path == "/hold":
        print("sleeping", flush=True)
        while not os.path.exists("released"):
            await asyncio.sleep(0.01)
    elif path in ("/events", "/deaf"):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b"data: here", "more_body": True})
        if path == "/deaf":
            await asyncio.Event().wait()
        await receive()
        while (await receive())["type"] != "http.disconnect":
            pass
        await send({"type": "http.response.body", "body": b"data: bye"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""

Fleet = Callable[..., contextlib.AbstractContextManager[Server]]


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """Starts the application in `main.py` of a folder of its own."""
    write(tmp_path, "one")

    def start(*options: str, **more: Any) -> contextlib.AbstractContextManager[Server]:
        return serving("main:app", "--no-access-log", *options, cwd=tmp_path, **more)

    return start


def write(folder: Path, version: str, more: str = "") -> None:
    (folder / "main.py").write_text(APP.replace('"one"', f'"{version}"') + more)


def replaced(folder: Path, version: str) -> None:
    """As editors do that write a new file and rename it."""
    (folder / "main.py.new").write_text(APP.replace('"one"', f'"{version}"'))

    def is_renamed() -> bool:
        try:
            os.replace(folder / "main.py.new", folder / "main.py")
        except PermissionError:
            # On Windows a file that somebody reads at that moment cannot be replaced.
            return False
        return True

    eventually(is_renamed)


def get(server: Server, path: str = "/") -> bytes:
    return ask((server.host, server.port), request(path)).body


@contextlib.contextmanager
def nobody_left(server: Server) -> Iterator[None]:
    """All workers that are there at the start of the block end."""
    workers = children(server.pid)
    yield
    eventually(lambda: not any(is_alive(pid) for pid in workers), PATIENCE)


# -- reload


@pytest.mark.parametrize("save", [write, replaced])
def test_the_new_code_serves_soon_after_a_save_and_no_request_is_lost(
    save: Callable[[Path, str], None], fleet: Fleet, tmp_path: Path
) -> None:
    with fleet("--reload") as server, Pressure(server, 8) as load:
        for version in ("two", "two?", "four"):
            load.wait_for_answers(20)
            save(tmp_path, version)
            begin = time.monotonic()
            load.wait_until_answered(version.encode())
            took = time.monotonic() - begin
            assert took < PATIENCE, took
        eventually(lambda: server.stdout.count("lifespan ended") == 3)
        load.wait_for_answers(20)
        assert "main.py changed: starting anew" in server.stderr
    assert load.failures == [] and load.bodies[-1] == b"four"


def test_several_workers_are_reloaded_too(fleet: Fleet, tmp_path: Path) -> None:
    with fleet("--reload", "--workers", "2") as server, Pressure(server, 8) as load:
        write(tmp_path, "two")
        load.wait_until_answered(b"two")
        eventually(lambda: server.stdout.count("lifespan ended") == 2)
        load.wait_for_answers(50)
        assert load.bodies[-1] == b"two"
    assert load.failures == []


def test_after_a_bad_save_the_old_code_serves_on_until_it_is_mended(fleet: Fleet, tmp_path: Path) -> None:
    with fleet("--reload") as server, Pressure(server, 4) as load:
        write(tmp_path, "two", "this is no Python")
        server.wait_line(r"this is no Python\n.*\n +SyntaxError")
        server.wait_line("The code from before serves on. Save again")
        load.wait_for_answers(20)
        write(tmp_path, "two", "import no_such_thing")
        server.wait_line("no_such_thing")
        load.wait_for_answers(20)
        write(tmp_path, "two", "def app(scope, receive, send): raise SystemExit(7)")
        server.wait_line("The application ended the program while starting")
        load.wait_for_answers(20)
        write(tmp_path, "two", "import os; os._exit(5)")
        server.wait_line("ended before it was ready: exit code 5")
        assert load.bodies == [b"one"]
        write(tmp_path, "three")
        load.wait_until_answered(b"three")
        assert server.stderr.count("SyntaxError") == 1
    assert load.failures == []


def folder_of(pid: int) -> str | None:
    """Where a process stands; None for one that has ended."""
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/cwd")
    return None


@posix
@pytest.mark.parametrize("meanwhile", ["", "The code from before serves on"])
def test_a_project_whose_folder_goes_and_comes_back_is_served_on(meanwhile: str, tmp_path: Path) -> None:
    """The folder in which all stand is another one then, as after a switch of branches."""
    folder = tmp_path / "shop"
    folder.mkdir()
    write(folder, "one")
    with serving("main:app", "--no-access-log", "--reload", cwd=folder) as server:
        shutil.rmtree(folder)
        if meanwhile:
            server.wait_line(meanwhile)
            assert get(server) == b"one"
        folder.mkdir()
        write(folder, "two")
        eventually(lambda: get(server) == b"two")
        write(folder, "three")
        eventually(lambda: get(server) == b"three")
        if os.path.exists("/proc"):
            eventually(lambda: str(folder) in filter(None, map(folder_of, children(server.pid))))


def test_a_module_that_could_never_be_imported_is_watched_all_the_same(fleet: Fleet, tmp_path: Path) -> None:
    with fleet("--reload") as server:
        (tmp_path / "part.py").write_text("1 +\n")
        write(tmp_path, "two", "import part")
        server.wait_line("SyntaxError")
        (tmp_path / "part.py").write_text("1\n")
        eventually(lambda: get(server) == b"two")


def test_so_is_one_that_lies_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "deploy").mkdir()
    write(tmp_path / "src", "one")
    with serving("main:app", "--no-access-log", "--reload", "--app-dir", "../src", cwd=tmp_path / "deploy") as server:
        (tmp_path / "src" / "part.py").write_text("def f(:\n")
        write(tmp_path / "src", "two", "import part")
        server.wait_line("SyntaxError")
        (tmp_path / "src" / "part.py").write_text("1\n")
        eventually(lambda: get(server) == b"two")


def test_an_import_that_hangs_blocks_nothing_and_the_next_save_ends_it(fleet: Fleet, tmp_path: Path) -> None:
    with fleet("--reload") as server:
        write(tmp_path, "two", "import time; print('hanging', flush=True); time.sleep(1000)")
        server.wait_line("hanging")
        assert get(server) == b"one"
        write(tmp_path, "three")
        eventually(lambda: get(server) == b"three")
        eventually(lambda: len(children(server.pid)) == 1)


def test_an_open_stream_does_not_hold_a_reload_up(fleet: Fleet, tmp_path: Path) -> None:
    with fleet("--reload", "--timeout-reload", "1") as server:
        events, deaf = (Client((server.host, server.port)) for _ in range(2))
        with events, deaf:
            for client, path in ((events, "/events"), (deaf, "/deaf")):
                client.send(request(path))
                assert client.head().status == 200
                client.line()
            write(tmp_path, "two")
            eventually(lambda: get(server) == b"two")
            # One was told and ended in peace; the other did not listen and was cut when its time was over.
            assert events.rest().endswith(b"data: bye\r\n0\r\n\r\n")
            server.wait_line("Cancelling GET /deaf after")
            server.wait_line("lifespan ended")


def test_a_running_request_is_finished_by_the_old_code(fleet: Fleet, tmp_path: Path) -> None:
    with fleet("--reload") as server, Client((server.host, server.port)) as client:
        client.send(request("/hold"))
        server.wait_line("sleeping")
        write(tmp_path, "two")
        server.wait_line("Shutting down")
        assert get(server) == b"two"
        (tmp_path / "released").touch()
        answer = client.answer()
        assert (answer.body, answer.get("connection")) == (b"one", "close")


def test_a_connection_that_was_idle_for_a_while_meets_the_new_code(fleet: Fleet, tmp_path: Path) -> None:
    """A browser that is not told otherwise asks again on the connection it has."""
    with fleet("--reload") as server, Client((server.host, server.port)) as client:
        client.send(request())
        assert client.answer().body == b"one"
        write(tmp_path, "two")
        server.wait_line("lifespan ended")
        assert client.is_closed()
        assert get(server) == b"two"


def test_standard_input_stays_the_applications(fleet: Fleet, tmp_path: Path) -> None:
    """So a debugger works in a worker."""
    read, write_end = os.pipe()
    process = subprocess.Popen(
        command("main:app", "--reload", "--port", "0"), cwd=tmp_path, env=environment(), text=True,
        stdin=read, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(read)
    server = Server(process)
    try:
        found = server.wait_line(r"running on http://(?P<host>[\d.]+):(?P<port>\d+)")
        server.host, server.port = found["host"], int(found["port"])
        os.write(write_end, b"typed\n")
        assert get(server, "/stdin") == b"typed\n"
        assert server.stop() == 0
    finally:
        os.close(write_end)
        server.kill()


# -- restart, scale, death


@posix
def test_a_rolling_restart_loses_nothing(fleet: Fleet) -> None:
    with fleet("--workers", "2") as server, Pressure(server, 16) as load:
        before = children(server.pid)
        for _ in range(3):
            server.signal(signal.SIGHUP)
            gone = set(before)
            eventually(lambda: not gone & set(children(server.pid)) and len(children(server.pid)) == 2)
            before = children(server.pid)
            load.wait_for_answers(20)
    assert load.failures == []


@posix
def test_workers_can_be_added_and_taken_away(fleet: Fleet) -> None:
    with fleet("--workers", "1", "--reload") as server, Pressure(server, 4) as load:
        server.signal(signal.SIGTTIN)
        server.wait_line("2 workers are wanted")
        server.wait_line("Ready: worker 2")
        server.signal(signal.SIGTTOU)
        eventually(lambda: len(children(server.pid)) == 1)
        load.wait_for_answers(20)
    assert load.failures == []


def test_a_worker_that_is_killed_is_replaced_and_only_its_own_requests_are_lost(fleet: Fleet) -> None:
    with fleet("--workers", "2") as server, Pressure(server, 8) as load:
        for _ in range(2):
            victim = int(get(server, "/pid"))
            kill(victim)
            server.wait_line(f"process {victim}\\) died: {KILLED}. Another takes its place")
            eventually(lambda: len(children(server.pid)) == 2)
            load.wait_for_answers(30)
    # Each client has one request under way at most; none was refused.
    assert len(load.failures) <= 2 * 8
    assert not [each for each in load.failures if "Refused" in each or "status" in each], load.failures


def test_a_worker_that_is_told_to_end_by_somebody_else_is_replaced_meanwhile(fleet: Fleet) -> None:
    with fleet("--reload") as server, Client((server.host, server.port)) as client:
        worker = int(get(server, "/pid"))
        client.send(request("/sleep"))
        server.wait_line("sleeping")
        send(worker, signal.SIGTERM)
        assert get(server) == b"one"
        assert client.answer().body == b"one"
        assert int(get(server, "/pid")) != worker


# -- the end


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("options", [("--reload",), ("--workers", "2")])
def test_a_signal_drains_all_workers_and_the_code_is_0(number: int, options: tuple[str, ...], fleet: Fleet) -> None:
    with fleet(*options) as server, Client((server.host, server.port)) as client, nobody_left(server):
        count = len(children(server.pid))
        client.send(request("/sleep"))
        server.wait_line("sleeping")
        server.signal(number)
        assert client.answer().body == b"one"
        client.socket.close()
        assert server.wait_end(5) == 0
        assert server.stdout.count("lifespan ended") == count
        assert "Traceback" not in server.stderr


def test_ctrl_c_in_a_terminal_reaches_all_and_is_the_supervisors(fleet: Fleet) -> None:
    with fleet("--workers", "2") as server, nobody_left(server):
        for pid in [*children(server.pid), server.pid]:
            send(pid, signal.SIGINT)
        assert server.wait_end(5) == 0
        assert server.stdout.count("lifespan ended") == 2 and "KeyboardInterrupt" not in server.stderr


def test_a_second_signal_ends_all_at_once_with_1(fleet: Fleet) -> None:
    with fleet("--workers", "2") as server, Client((server.host, server.port)) as client, nobody_left(server):
        client.send(request("/deaf"))
        client.head()
        server.signal(signal.SIGINT)
        server.wait_line("Shutting down")
        with pytest.raises(ServingError):
            server.wait_end(0.3)
        assert server.stop(signal.SIGINT, patience=3) == 1
        assert "Forced to end" in server.stderr


@pytest.mark.parametrize("busy", [False, True])
def test_workers_do_not_outlive_a_supervisor_that_is_killed(busy: bool, fleet: Fleet, tmp_path: Path) -> None:
    with fleet("--workers", "2", "--timeout-graceful-shutdown", "0.5") as server:
        with Client((server.host, server.port)) as client, nobody_left(server):
            if busy:
                client.send(request("/deaf"))
                client.head()
            server.process.kill()
            server.wait_line("The supervisor is gone")
        server.wait_end()


def test_a_supervisor_killed_during_a_start_leaves_nobody(fleet: Fleet, tmp_path: Path) -> None:
    with fleet("--reload") as server:
        for _ in range(3):
            write(tmp_path, "two", "\nimport time\ntime.sleep(1)\n")
        eventually(lambda: len(list(filter(has_begun, children(server.pid)))) == 2)
        with nobody_left(server):
            server.process.kill()
        server.wait_end()


# -- what cannot start


def test_a_first_start_that_fails_is_said_once_and_ends_with_3(tmp_path: Path) -> None:
    for options in (["--reload"], ["--workers", "3"]):
        (tmp_path / "main.py").write_text("import no_such_thing")
        ended = run_to_end("main:app", "--port", "0", *options, cwd=tmp_path)
        assert ended.returncode == 3
        assert ended.stderr.count('which does not exist in this Python') == 1


def test_a_folder_that_is_not_there_is_said_once_and_ends_with_1(tmp_path: Path) -> None:
    ended = run_to_end("main:app", "--reload", "--reload-dir", "missing", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"ERROR:    Cannot watch {tmp_path / 'missing'}: there is no such folder (--reload-dir)\n"


def test_an_address_in_use_is_said_by_the_supervisor(fleet: Fleet, tmp_path: Path) -> None:
    with fleet() as server:
        ended = run_to_end("main:app", "--workers", "2", "--port", str(server.port), cwd=tmp_path)
        assert ended.returncode == 1 and "the port is in use" in ended.stderr


def test_a_dry_run_prints_what_would_be_watched_and_leaves(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import no_such_thing")
    ended = run_to_end("main:app", "--reload-dry-run", cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"Below {tmp_path}:\n  watched   main.py  (*.py)\n" in ended.stdout
