"""What a fleet of workers goes through in a year, in a minute: killed, worn out, commanded, deaf, in each other's way."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.casualties import children, kill
from support.client import Client, ask, request
from support.pressure import Pressure
from support.serving import PATIENCE, Server, command, environment, run_to_end, serving

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it looks at processes through /proc, and sends them signals")

APP = """
import asyncio, os, time
from contextlib import suppress

VERSION, LOCK = "one", ""
ballast = []

async def live(receive, send):
    for kind in ("startup", "shutdown"):
        await receive()
        if LOCK and kind == "startup":
            try:
                os.close(os.open(LOCK, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                await send({"type": "lifespan.startup.failed", "message": "there can be only one"})
                return
        elif LOCK:
            os.unlink(LOCK)
        await send({"type": f"lifespan.{kind}.complete"})

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return await live(receive, send)
    path, body = scope["path"], VERSION
    if path == "/pid":
        body = str(os.getpid())
    elif path == "/grow":
        ballast.append(b"x" * (150 << 20))
    elif path == "/nonsense":
        from penstock.supervisor.control import Control
        Control.mention = lambda self, *words, **more: self._socket.send(b"nonsense\\n")
    elif path == "/block":
        print("blocking", flush=True)
        time.sleep(float(scope["query_string"]))
    elif path == "/block-softly":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"here", "more_body": True})
        await asyncio.sleep(60)
    elif path == "/long":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d\\n" % os.getpid(), "more_body": True})
        await receive()
        await receive()
        await send({"type": "http.response.body"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body.encode()})
"""

Fleet = Callable[..., contextlib.AbstractContextManager[Server]]


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """Starts the application in `main.py` of a folder of its own, with a control address in it."""
    write(tmp_path)

    def start(*options: str, **more: Any) -> contextlib.AbstractContextManager[Server]:
        return serving("main:app", "--no-access-log", "--control", "ctl", *options, cwd=tmp_path, **more)

    return start


def write(folder: Path, old: str = "", new: str = "", more: str = "") -> None:
    (folder / "new").write_text(APP.replace(old, new) + more)
    os.replace(folder / "new", folder / "main.py")


def get(server: Server, path: str = "/") -> bytes:
    return ask((server.host, server.port), request(path)).body


def eventually(condition: Callable[[], object], patience: float = PATIENCE * 2) -> None:
    """Until it holds: for what nobody announces."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)


def ctl(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run_to_end("ctl", *words, "--control", "ctl", cwd=folder)


def workers(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(ctl(folder, "status", "--json").stdout)["workers"]
    return found


def wait_all_serve(folder: Path, count: int) -> list[dict[str, Any]]:
    """Until so many workers are there, and all of them are ready."""
    found: list[list[dict[str, Any]]] = []

    def serve() -> bool:
        found.append(workers(folder))
        return [each["phase"] for each in found[-1]] == ["ready"] * count

    eventually(serve)
    return found[-1]


# -- the killed


def test_those_that_are_killed_are_replaced_at_once_and_only_their_own_clients_suffer(fleet: Fleet, tmp_path: Path) -> None:
    condemned: set[int] = set()
    with fleet("--workers", "3") as server, Pressure(server, 12) as load:
        for _ in range(6):
            victim = max(wait_all_serve(tmp_path, 3), key=lambda each: int(each["worker"]))
            condemned |= kill(victim["pid"])
            server.wait_line(rf"process {victim['pid']}\) died: signal 9. Another takes its place")
        wait_all_serve(tmp_path, 3)
        load.wait_for_answers(30)
    strangers = [failure for port, failure in zip(load.lost, load.failures, strict=True) if port not in condemned]
    assert strangers == []


def test_all_killed_at_once_are_replaced_and_nobody_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    condemned: set[int] = set()
    with fleet("--workers", "2") as server, Pressure(server, 8) as load:
        for worker in wait_all_serve(tmp_path, 2):
            condemned |= kill(worker["pid"])
        eventually(lambda: len(children(server.pid)) == 2)
        load.wait_for_answers(30, 30)
    assert [failure for port, failure in zip(load.lost, load.failures, strict=True) if port not in condemned] == []


@pytest.mark.parametrize("moment", ["while it starts", "when it is ready", "while the old one leaves"])
def test_one_killed_at_any_step_of_a_restart_leaves_the_fleet_as_it_should_be(
    moment: str, fleet: Fleet, tmp_path: Path
) -> None:
    with fleet("--workers", "2") as server, Pressure(server, 4):
        former = {each["pid"] for each in wait_all_serve(tmp_path, 2)}
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: set(children(server.pid)) - former)
        new = min(set(children(server.pid)) - former)
        if moment != "while it starts":
            server.wait_line(rf"Ready: worker 3 \(process {new}\)")
        if moment == "while the old one leaves":
            new = max(former)
        with contextlib.suppress(ProcessLookupError):
            os.kill(new, signal.SIGKILL)
        eventually(lambda: not former & set(children(server.pid)))
        assert {each["generation"] for each in wait_all_serve(tmp_path, 2)} == {2}


def test_of_two_quick_saves_the_last_one_wins_and_nobody_is_left_behind(fleet: Fleet, tmp_path: Path) -> None:
    with fleet("--reload") as server, Pressure(server, 4) as load:
        slowly = "import time; time.sleep(0.5)"
        write(tmp_path, '"one"', '"two"', slowly)
        server.wait_line("changed: starting anew")
        write(tmp_path, '"one"', '"three"', slowly)
        load.wait_until_answered(b"three")
        (last,) = wait_all_serve(tmp_path, 1)
        assert children(server.pid) == [last["pid"]] and load.bodies in ([b"one", b"three"], [b"one", b"two", b"three"])
    assert load.failures == []


def test_a_save_while_the_old_code_still_drains_is_served_at_once(fleet: Fleet, tmp_path: Path) -> None:
    with fleet("--reload", "--timeout-reload", "5") as server, Pressure(server, 4) as load:
        with Client((server.host, server.port)) as client:
            # It reads nothing of what it is told, so its worker stays for the whole grace period.
            client.send(request("/block-softly"))
            client.head()
            for version in (b"two", b"three"):
                write(tmp_path, '"one"', f'"{version.decode()}"')
                load.wait_until_answered(version)
            assert {each["generation"] for each in workers(tmp_path)} >= {1, 3}
        wait_all_serve(tmp_path, 1)
    assert load.failures == []


@pytest.mark.parametrize("moment", ["start", "restart", "reload"])
def test_nobody_outlives_a_supervisor_that_is_killed_whenever_that_is(moment: str, tmp_path: Path) -> None:
    write(tmp_path)
    option = ["--reload"] if moment == "reload" else ["--workers", "2"]
    process = subprocess.Popen(
        command("main:app", "--port", "0", *option), cwd=tmp_path, env=environment(), text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    server = Server(process)
    try:
        if moment == "start":
            eventually(lambda: len(children(server.pid)) == 2)
        else:
            server.wait_line("penstock running on")
            present = set(children(server.pid))
            write(tmp_path, '"one"', '"two"')
            if moment == "restart":
                server.process.send_signal(signal.SIGHUP)
            eventually(lambda: set(children(server.pid)) - present)
        left = children(server.pid)
        server.process.kill()
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left))
        assert "Traceback" not in server.stderr
    finally:
        server.kill()


def test_a_signal_of_the_terminal_in_its_first_moments_leaves_a_worker_untouched(fleet: Fleet, tmp_path: Path) -> None:
    with fleet() as server:
        for _ in range(3):
            former = set(children(server.pid))
            server.process.send_signal(signal.SIGHUP)
            eventually(lambda: set(children(server.pid)) - former)
            new = max(set(children(server.pid)) - former)
            # From the first instructions of the interpreter on.
            while f"(process {new})" not in server.stderr:
                os.kill(new, signal.SIGINT)
                time.sleep(0.005)
            eventually(lambda: children(server.pid) == [new])
        assert "KeyboardInterrupt" not in server.stderr and "died" not in server.stderr


def test_one_that_is_told_to_go_alone_has_a_successor_at_once_and_has_not_died(fleet: Fleet, tmp_path: Path) -> None:
    with fleet("--workers", "2") as server:
        # More often than those that die by themselves would be replaced without a pause.
        for number in range(3, 6):
            victim = max(wait_all_serve(tmp_path, 2), key=lambda each: int(each["worker"]))
            os.kill(victim["pid"], signal.SIGTERM)
            server.wait_line(f"Ready: worker {number} ")
        assert "died" not in server.stderr and "has ended" not in server.stderr


# -- the worn


def test_workers_that_have_given_their_answers_are_replaced_without_a_gap(fleet: Fleet) -> None:
    with fleet("--workers", "2", "--limit-max-requests", "150") as server, Pressure(server, 8) as load:
        eventually(lambda: server.stderr.count("has given 150 answers: another takes its place") >= 4, 60)
        load.wait_for_answers(20)
    assert load.failures == []


def test_workers_that_have_lived_their_time_are_replaced_without_a_gap(fleet: Fleet, tmp_path: Path) -> None:
    with fleet("--worker-lifetime", "1") as server, Pressure(server, 4) as load:
        first = set(children(server.pid))
        eventually(lambda: not first & set(children(server.pid)) and len(children(server.pid)) == 1)
        load.wait_for_answers(20)
    assert load.failures == []


def test_a_worker_that_grows_too_large_is_replaced_without_a_gap(fleet: Fleet, tmp_path: Path) -> None:
    with fleet("--limit-worker-memory", "120") as server, Pressure(server, 4) as load:
        (first,) = children(server.pid)
        assert get(server, "/grow") == b"one"
        # Not before it has served for ten seconds.
        server.wait_line(r"has \d+ MiB resident .*: another takes its place", patience=40)
        eventually(lambda: first not in children(server.pid))
        load.wait_for_answers(20)
    assert load.failures == []


# -- one after the other


def test_an_application_that_cannot_live_twice_is_reloaded_and_nobody_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    lock = f'LOCK = "one", "{tmp_path / "lock"}"'
    write(tmp_path, 'LOCK = "one", ""', lock)
    with fleet("--reload", "--reload-mode", "restart") as server, Pressure(server, 8) as load:
        for version in (b"two", b"three"):
            write(tmp_path, 'LOCK = "one", ""', lock.replace("one", version.decode()))
            load.wait_until_answered(version)
        load.wait_for_answers(20)
        assert "only one" not in server.stderr
    assert load.failures == []


# -- on trial


def test_code_that_does_not_stand_its_trial_never_serves(fleet: Fleet, tmp_path: Path) -> None:
    with fleet("--reload", "--smoke", "/", "--smoke", "/pid") as server, Pressure(server, 4) as load:
        write(tmp_path, 'elif path == "/grow":', "elif 1 / 0:")
        server.wait_line(r"The request on trial for / \(--smoke\) failed.\n    Traceback")
        server.wait_line("The code from before serves on")
        load.wait_for_answers(20)
        write(tmp_path, '"one"', '"two"')
        load.wait_until_answered(b"two")
    assert load.failures == []


def test_a_first_start_that_does_not_stand_its_trial_ends_with_3(tmp_path: Path) -> None:
    write(tmp_path, '"status": 200', '"status": 503')
    for options in ((), ("--workers", "2")):
        ended = run_to_end("main:app", "--port", "0", "--smoke", "/health?deep", *options, cwd=tmp_path, patience=30)
        assert ended.returncode == 3
        assert ended.stderr.count("The request on trial for /health?deep (--smoke) was answered with 503.") == 1


# -- the deaf and the mad


def test_a_worker_that_talks_nonsense_is_replaced_with_a_line_in_the_log(fleet: Fleet, tmp_path: Path) -> None:
    with fleet("--workers", "2") as server:
        get(server, "/nonsense")
        server.wait_line("is replaced, for its control line is of no use: it talks nonsense")
        server.wait_line("Ready: worker 3")
        wait_all_serve(tmp_path, 2)
        assert get(server) == b"one"


def test_time_in_which_all_processes_were_stopped_is_no_silence(tmp_path: Path) -> None:
    write(tmp_path)
    process = subprocess.Popen(
        command("main:app", "--port", "0", "--workers", "2", "--timeout-worker-healthcheck", "1.5"), cwd=tmp_path,
        env=environment(), text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    server = Server(process)
    try:
        server.wait_line("penstock running on")
        os.killpg(process.pid, signal.SIGSTOP)
        time.sleep(4)
        os.killpg(process.pid, signal.SIGCONT)
        time.sleep(1)
        assert "was not heard" not in server.stderr
        assert server.stop() == 0
    finally:
        server.kill()


def test_a_first_start_that_hangs_is_shown_and_ends_with_3(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import time\ntime.sleep(1000)\n")
    ended = run_to_end("main:app", "--port", "0", "--workers", "2", "--timeout-startup", "6", cwd=tmp_path, patience=40)
    assert ended.returncode == 3
    assert "is still starting. It stands here:" in ended.stderr and ended.stderr.count('main.py", line 2 in <module>') == 2
    assert ended.stderr.count("is still starting after 10 s") == 1


def test_what_holds_many_workers_is_shown_of_each_in_one_piece(tmp_path: Path) -> None:
    """All are asked at the same moment and write to the same stream; a line that two write cannot be read."""
    (tmp_path / "main.py").write_text(
        "import time\n\ndef wait(calls):\n    wait(calls - 1) if calls else time.sleep(1000)\n\nwait(90)\n"
    )
    ended = run_to_end("main:app", "--port", "0", "--workers", "4", "--timeout-startup", "8", cwd=tmp_path, patience=40)
    place = re.escape(str(tmp_path / "main.py"))
    calls = "".join(rf"  File \"{place}\", line {line}\n" for line in ["4 in wait"] * 91 + ["6 in <module>"])
    shown = re.findall(rf"^Process (\d+), thread MainThread \(most recent call first\):\n{calls}", ended.stderr, re.MULTILINE)
    asked = re.findall(r"^WARNING:  The worker \d \(process (\d+)\) is still starting. It stands here:$", ended.stderr, re.MULTILINE)
    assert ended.returncode == 3 and len(asked) == 4 and sorted(shown) == sorted(asked)


def test_a_blocked_worker_is_shown_and_others_serve(fleet: Fleet) -> None:
    with fleet("--workers", "2", "--timeout-worker-healthcheck", "1.5", "--timeout-graceful-shutdown", "0") as server:
        with Client((server.host, server.port)) as client:
            client.send(request("/block?4"))
            server.wait_line("blocking")
            server.wait_line(r"worker \d \(process \d+\) was not heard for \d s. It stands here")
            server.wait_line(r'main\.py", line \d+ in app')
            assert get(server) == b"one"
            assert client.answer().body == b"one"


def test_a_blocked_worker_is_shown_before_it_is_killed_at_the_end(fleet: Fleet) -> None:
    with fleet("--timeout-graceful-shutdown", "0", "--timeout-shutdown", "1") as server:
        with Client((server.host, server.port)) as client:
            client.send(request("/block?300"))
            server.wait_line("blocking")
            server.process.send_signal(signal.SIGTERM)
            server.wait_line("is still retiring. It stands here:")
            server.wait_line(r'main\.py", line \d+ in app')
            server.wait_line("Killing worker 1 .*, which does not end")
            assert server.wait_end() == 0


# -- commands


def test_a_supervisor_does_as_it_is_commanded(fleet: Fleet, tmp_path: Path) -> None:
    with fleet("--workers", "2") as server, Pressure(server, 4) as load:
        lines = ctl(tmp_path, "status").stdout.splitlines()
        assert lines[0] == f"supervisor {server.pid}: generation 1 is serving, 2 workers are wanted"
        assert [int(line.split()[1]) for line in lines[2:]] == children(server.pid)
        assert ctl(tmp_path, "reload").stdout == "generation 2 serves\n"
        assert ctl(tmp_path, "scale", "3").stdout == "3 workers are wanted\n"
        assert {each["generation"] for each in wait_all_serve(tmp_path, 3)} == {2}
        eventually(lambda: sum(each["answered"] for each in workers(tmp_path)) > 0)
        ended = ctl(tmp_path, "scale", "none")
        assert (ended.returncode, ended.stderr) == (1, "penstock ctl: scale needs a number of workers, at least 1, not none\n")
        again = run_to_end("main:app", "--port", "0", "--control", "ctl", cwd=tmp_path)
        assert again.returncode == 1 and "it is in use by another supervisor" in again.stderr
        load.wait_for_answers(20)
        assert load.failures == []
        load.stop()
        assert ctl(tmp_path, "stop").stdout == "stopping\n"
        assert server.wait_end() == 0 and not (tmp_path / "ctl").exists()


def test_a_reload_that_fails_is_told_to_who_has_commanded_it(fleet: Fleet, tmp_path: Path) -> None:
    with fleet("--workers", "2") as server:
        write(tmp_path, more="this is no Python")
        ended = ctl(tmp_path, "reload")
        assert ended.returncode == 1 and "generation 2 does not serve: failed" in ended.stderr
        assert get(server) == b"one"


# -- who takes the next connection


@contextlib.contextmanager
def long_requests(server: Server, count: int) -> Iterator[Counter[int]]:
    """So many, one after the other; by which process each is answered."""
    taken: Counter[int] = Counter()
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            client = stack.enter_context(Client((server.host, server.port)))
            client.send(request("/long"))
            client.head()
            client.line()
            taken[int(client.line())] += 1
            time.sleep(0.005)
        yield taken


def test_a_worker_that_runs_more_than_its_share_leaves_new_connections_to_others(fleet: Fleet, tmp_path: Path) -> None:
    with fleet("--workers", "1", "--timeout-graceful-shutdown", "1") as server, long_requests(server, 60) as before:
        (loaded,) = before
        ctl(tmp_path, "scale", "3")
        wait_all_serve(tmp_path, 3)
        # They know of each other once the first has told how it fares.
        eventually(lambda: max(each["running"] for each in workers(tmp_path)) == 60)
        time.sleep(0.2)
        with long_requests(server, 60) as after:
            assert after[loaded] <= 10, after


# -- the end


def test_a_request_that_comes_after_the_signal_on_a_connection_from_before_is_answered(fleet: Fleet) -> None:
    with fleet("--workers", "2") as server, Client((server.host, server.port)) as client:
        # It is accepted, by whichever of the two, when some that came after it were answered.
        eventually(lambda: any(len(_connections(pid)) for pid in children(server.pid)))
        server.process.send_signal(signal.SIGTERM)
        server.wait_line("Shutting down")
        time.sleep(0.2)
        client.send(request())
        answer = client.answer()
        assert (answer.body, answer.get("connection")) == (b"one", "close")
        client.socket.close()
        assert server.wait_end() == 0


def _connections(pid: int) -> set[int]:
    from support.casualties import client_ports

    return client_ports(pid) - {0}


@pytest.mark.skipif(not shutil.which("unshare"), reason="a process that is the first of its container is needed")
def test_as_the_first_process_of_a_container_it_buries_orphans_and_leaves_nobody(tmp_path: Path) -> None:
    write(tmp_path, more="\nimport subprocess\nsubprocess.run(['sh', '-c', 'sleep 0.2 & exit'])\n")
    contained = ["unshare", "--pid", "--fork", "--mount-proc", *command("main:app", "--port", "0", "--workers", "2")]
    if subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"], capture_output=True).returncode:
        pytest.skip("a container is not allowed here")
    process = subprocess.Popen(
        contained, cwd=tmp_path, env=environment(), text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    server = Server(process)
    try:
        server.wait_line("penstock running on")
        (first,) = children(process.pid)
        eventually(lambda: len(_all_children(first)) == 2)
        os.kill(first, signal.SIGTERM)
        assert server.wait_end() == 0
        assert len(re.findall("Application shutdown complete", server.stderr)) == 2
    finally:
        server.kill()


def _all_children(pid: int) -> list[int]:
    """Zombies, too."""
    found = []
    for entry in filter(lambda entry: entry.name.isdigit(), Path("/proc").iterdir()):
        with contextlib.suppress(OSError):
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry.name))
    return found
