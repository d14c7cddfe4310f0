"""What Windows has of its own: the failure that began it all, launchers, processes without a console."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import processes
from support.client import ask, request
from support.serving import BANNER, CHECKOUT, PATIENCE, Server, environment, run_to_end

windows_only = pytest.mark.skipif(sys.platform != "win32", reason="there is no such thing here")

APP = """
import os

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
        print("lifespan ended", flush=True)
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"one"})
"""


def test_the_second_process_fails_on_the_proactor_loop_and_not_on_ours() -> None:
    """The control: where this does not fail in the old way, the other tests prove nothing."""
    done = subprocess.run(
        [sys.executable, CHECKOUT / "docs" / "examples" / "winerror87.py"], env=environment(), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=4 * PATIENCE, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    proactor, ours = re.split("^penstock loop\n", done.stdout, flags=re.MULTILINE)
    assert ours == "  process 1: accepted a connection\n  process 2: accepted a connection\n"
    if sys.platform == "win32":
        assert "process 1: accepted a connection\n  process 2: OSError: [WinError 87]" in proactor
    else:
        assert f"not on {sys.platform}" in proactor


@contextmanager
def started(folder: Path, python: Path | str, flags: int, *options: str) -> Iterator[Server]:
    (folder / "main.py").write_text(APP)
    process = subprocess.Popen(
        [python, "-m", "penstock", "main:app", "--port", "0", "--no-access-log", *(options or ["--reload"])],
        cwd=folder, env=environment(), text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        creationflags=flags,
    )  # fmt: skip
    server = Server(process)
    try:
        found = server.wait_line(BANNER)
        server.host, _, port = found["url"].removeprefix("http://").rpartition(":")
        server.port = int(port)
        yield server
    except BaseException as error:
        error.add_note(f"stdout:\n{server.stdout}\nstderr:\n{server.stderr}")
        raise
    finally:
        server.kill()


def reload_and_end(server: Server, folder: Path) -> None:
    """Two new workers, each of which serves; then an end in peace. Old ones are never killed."""
    pids = set()
    for number in range(2):
        body = f"new {number}"
        (folder / "main.py").write_text(APP.replace("one", body))
        processes.eventually(lambda: ask((server.host, server.port), request()).body == body.encode())
        pids.update(processes.children(server.pid))
    assert len(pids) >= 2
    assert server.stop(signal.SIGINT) == 0
    assert server.stdout.count("lifespan ended") == 3 and "Killing" not in server.stderr


# Names that only Windows' subprocess has.
NO_WINDOW, DETACHED, NEW_CONSOLE = 0x08000000, 0x00000008, 0x00000010


@windows_only
@pytest.mark.parametrize("flags", [NO_WINDOW, DETACHED, NEW_CONSOLE], ids=["no window", "no console", "console"])
def test_reload_needs_no_console_and_minds_none(flags: int, tmp_path: Path) -> None:
    with started(tmp_path, sys.executable, flags) as server:
        reload_and_end(server, tmp_path)


@windows_only
def test_reload_works_behind_a_virtual_environments_launcher(tmp_path: Path) -> None:
    """There `Popen` knows the launcher's process id, for which a shared socket is of no use."""
    made = subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=False, timeout=PATIENCE)
    if made.returncode:
        pytest.skip("this Python makes no virtual environments")
    (tmp_path / "app").mkdir()
    with started(tmp_path / "app", tmp_path / "venv" / "Scripts" / "python.exe", 0) as server:
        assert processes.children(server.pid) and not processes.has_begun(server.pid)
        reload_and_end(server, tmp_path / "app")


@windows_only
def test_commands_do_what_signals_do_elsewhere(tmp_path: Path) -> None:
    def ctl(*words: str) -> str:
        return run_to_end("ctl", *words, "--control", "ctl", cwd=tmp_path).stdout

    with started(tmp_path, sys.executable, 0, "--workers", "1", "--control", "ctl") as server:
        assert "generation 1 is serving" in ctl("status")
        assert ctl("scale", "2") == "2 workers are wanted\n"
        processes.eventually(lambda: ctl("status", "--json").count('"ready"') == 2)
        assert ctl("reload") == "generation 2 serves\n"
        assert ctl("stop") == "stopping\n"
        assert server.wait_end() == 0 and not (tmp_path / "ctl").exists()
        assert server.stdout.count("lifespan ended") == 4 and "Killing" not in server.stderr


@windows_only
def test_workers_end_with_a_supervisor_that_is_terminated(tmp_path: Path) -> None:
    with started(tmp_path, sys.executable, 0) as server:
        workers = processes.children(server.pid)
        assert workers
        processes.kill(server.pid)
        server.wait_line("The supervisor is gone")
        processes.eventually(lambda: not any(map(processes.is_alive, workers)))


@windows_only
def test_ctrl_break_drains_all(tmp_path: Path) -> None:
    """The only console event that can be sent to one group. Wine cannot; there Ctrl+C is typed instead."""
    if hasattr(_ntdll(), "wine_get_version"):
        pytest.skip("Wine sends no console events")
    group: int = 0x00000200
    with started(tmp_path, sys.executable, group) as server:
        os.kill(server.pid, 1)  # CTRL_BREAK_EVENT
        assert server.wait_end() == 0
        assert "lifespan ended" in server.stdout


def _ntdll() -> object:
    import ctypes

    windows: object = getattr(ctypes, "windll")  # noqa: B009  # a name that only Windows has
    return getattr(windows, "ntdll")  # noqa: B009
