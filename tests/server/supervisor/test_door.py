import asyncio
import json
import os
import re
import socket
import stat
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from penstock_reactor import new_event_loop
from support.hangs import bounded

from penstock.supervisor import door
from penstock.supervisor.door import DoorError, obey, open_door, status_of
from penstock.supervisor.fleet import Generation, Member, Phase, Wanted
from penstock.supervisor.knock import CannotReach, address_of, knock


class Fleet:
    """Notes what it is told, and says what the test wants."""

    def __init__(self, *states: tuple[int, str]) -> None:
        self.told: list[Any] = []
        self.states = list(states) or [(1, "serving")]

    def status(self) -> dict[str, Any]:
        generation, state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return {"generation": generation, "state": state}

    def stop(self) -> None:
        self.told.append("stop")

    def scale(self, count: int) -> None:
        self.told.append(count)

    def renew(self, cause: str) -> None:
        self.told.append(cause)


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """On the loop on which it runs, with nothing left behind."""
    loop = new_event_loop()
    try:
        return loop.run_until_complete(main)
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def command(fleet: Fleet, *words: str) -> dict[str, Any]:
    answer: dict[str, Any] = run(obey(fleet, list(words)))
    return answer


def at_the_door(path: Path, fleet: Fleet, act: Callable[[], Any]) -> Any:
    """What `act` gives, run in a thread while the door is open."""

    async def main() -> Any:
        async with open_door(str(path), fleet):
            return await asyncio.get_running_loop().run_in_executor(None, act)

    return run(main())


@pytest.fixture(autouse=True)
def hangs_fail() -> Iterator[None]:
    with bounded():
        yield


@pytest.fixture(params=["socket", "file"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to have a private address; each system uses one of them, and the second works everywhere."""
    if request.param == "file":
        monkeypatch.setattr("penstock.supervisor.door.sys", SimpleNamespace(platform="win32"))
        monkeypatch.setattr("penstock.supervisor.knock.sys", SimpleNamespace(platform="win32", stderr=sys.stderr))
    elif sys.platform == "win32":
        pytest.skip("there are no Unix sockets")
    return str(request.param)


# -- the commands


def test_stop_scale_and_status_are_answered_at_once() -> None:
    fleet = Fleet()

    async def main() -> None:
        assert (await obey(fleet, ["stop"]))["message"] == "stopping"
        await asyncio.sleep(0)

    run(main())
    assert command(fleet, "scale", "3")["message"] == "3 workers are wanted"
    assert command(fleet, "status") == {"generation": 1, "state": "serving"}
    assert fleet.told == ["stop", 3]


@pytest.mark.parametrize("states, message", [
    ([(2, "starting"), (2, "starting"), (2, "serving")], "generation 2 serves"),
    ([(2, "starting"), (3, "serving")], "generation 3 serves"),
    ([(2, "starting"), (3, "starting"), (3, "serving")], "generation 3 serves"),
])  # fmt: skip
def test_a_reload_is_answered_when_the_new_ones_serve(
    states: list[tuple[int, str]], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "_LOOK", 0.001)
    fleet = Fleet(*states)
    assert command(fleet, "reload")["message"] == message
    assert fleet.told == ["penstock ctl"]


@pytest.mark.parametrize("state", ["failed", "stopping"])
def test_a_reload_that_comes_to_nothing_says_so(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_LOOK", 0.001)
    with pytest.raises(ValueError, match=f"generation 2 does not serve: {state}"):
        command(Fleet((2, "starting"), (2, state)), "reload")


@pytest.mark.parametrize("words, told", [
    (["scale"], "not nothing"), (["scale", "0"], "at least 1, not 0"), (["scale", "two"], "not two"),
    (["scale", "-1"], "not -1"), (["scale", "1", "2"], "not 1 2"), (["dance", "now"], "unknown command 'dance now'"),
    ([], "unknown command ''"), (["status", "all"], "unknown command"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused_and_named(words: list[str], told: str) -> None:
    fleet = Fleet()
    with pytest.raises(ValueError, match=told):
        command(fleet, *words)
    assert fleet.told == []


@pytest.mark.parametrize("generation, exit_code, state", [
    (Generation(), None, "starting"), (Generation(is_proven=True), None, "serving"),
    (Generation(has_failed=True), None, "failed"), (Generation(is_proven=True), 0, "stopping"),
])  # fmt: skip
def test_a_status_tells_of_the_fleet_and_of_each_worker(generation: Generation, exit_code: int | None, state: str) -> None:
    worker: Any = SimpleNamespace(
        member=Member(3, 1, 105.0, Phase.READY), pid=77, born=100.0, running=2, answered=40, memory=None
    )  # fmt: skip
    worn: Any = SimpleNamespace(**{**vars(worker), "member": Member(4, 1, 105.0, Phase.READY, is_worn=True)})
    status = status_of([worker, worn], generation, Wanted(2, exit_code=exit_code), 112.25)
    assert (status["pid"], status["generation"], status["state"], status["wanted"]) == (os.getpid(), 1, state, 2)
    assert status["workers"][0] == {
        "worker": 3, "pid": 77, "generation": 1, "phase": "ready", "age": 12.2, "running": 2, "answered": 40, "memory": None,
    }  # fmt: skip
    assert status["workers"][1]["phase"] == "worn"


@pytest.mark.parametrize("generation, state", [
    (Generation(), "starting"), (Generation(is_proven=True), "down"), (Generation(2, has_failed=True), "down"),
])  # fmt: skip
def test_where_nobody_is_ready_it_is_no_serving(generation: Generation, state: str) -> None:
    worker: Any = SimpleNamespace(
        member=Member(3, 1, 105.0), pid=77, born=100.0, running=2, answered=40, memory=None
    )  # fmt: skip
    for workers in ([], [worker]):
        assert status_of(workers, generation, Wanted(2), 112.25)["state"] == state


# -- the address


def test_without_a_path_there_is_no_door() -> None:
    async def main() -> None:
        async with open_door("", Fleet()):
            pass

    run(main())


def test_commands_are_taken_at_an_address_that_only_its_owner_may_open_and_that_is_gone_afterwards(
    way: str, tmp_path: Path
) -> None:
    path = tmp_path / "ctl"

    def act() -> None:
        mode = path.stat().st_mode
        assert stat.S_ISSOCK(mode) == (way == "socket")
        if os.name != "nt":
            assert stat.S_IMODE(mode) == 0o600
        assert knock(str(path), ["scale", "2"]) == {"message": "2 workers are wanted"}
        assert knock(str(path), ["scale", "x"])["error"].endswith("not x")

    at_the_door(path, Fleet(), act)
    assert not path.exists()
    with pytest.raises(CannotReach, match="nobody takes commands at"):
        knock(str(path), ["status"])


def test_what_somebody_else_has_put_there_meanwhile_stays(way: str, tmp_path: Path) -> None:
    path = tmp_path / "ctl"

    def act() -> None:
        (tmp_path / "thesis").write_text("my thesis")
        (tmp_path / "thesis").replace(path)

    at_the_door(path, Fleet(), act)
    assert path.read_text() == "my thesis"


def test_an_address_in_use_is_an_error_and_left_as_it_is(way: str, tmp_path: Path) -> None:
    path, fleet = tmp_path / "ctl", Fleet()

    async def second() -> None:
        async with open_door(str(path), Fleet()):
            raise AssertionError

    def act() -> None:
        with pytest.raises(DoorError, match="in use by another supervisor"):
            run(second())
        assert knock(str(path), ["status"])["state"] == "serving"

    at_the_door(path, fleet, act)


def test_what_a_killed_supervisor_left_is_in_nobodys_way(way: str, tmp_path: Path) -> None:
    path = tmp_path / "ctl"
    if way == "socket":
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
    else:
        with socket.create_server(("127.0.0.1", 0)) as free:
            path.write_text(json.dumps({"port": free.getsockname()[1], "token": "old"}))
    at_the_door(path, Fleet(), lambda: knock(str(path), ["status"]))


@contextmanager
def somebody(family: int, address: Any, says: bytes | None) -> Iterator[socket.socket]:
    """A program that listens there and answers everybody with `says`, or nobody."""

    def answer() -> None:
        with suppress(OSError):
            while says is not None:
                with listener.accept()[0] as client:
                    client.recv(1000)
                    client.sendall(says)

    with socket.socket(family) as listener:
        listener.bind(address)
        listener.listen()
        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield listener
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no Unix sockets")
@pytest.mark.parametrize("says", [b"-ERR unknown command\n", b"", None])
def test_another_programs_socket_stays_whatever_it_says(
    says: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "_PATIENCE", 0.1)
    path = tmp_path / "database"
    with somebody(socket.AF_UNIX, str(path), says):
        before = path.stat()
        with pytest.raises(DoorError, match="somebody may use it: (nobody takes commands at .*timed out|who listens at .* is no supervisor)"):
            at_the_door(path, Fleet(), lambda: None)
        assert os.path.samestat(before, path.stat())


@pytest.mark.skipif(sys.platform == "win32", reason="there are no Unix sockets")
def test_a_socket_that_cannot_be_asked_stays(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        with pytest.raises(DoorError, match="somebody may use it"):
            at_the_door(path, Fleet(), lambda: None)
        assert path.is_socket()


@pytest.mark.skipif(sys.platform == "win32", reason="a listener is woken in another way there")
@pytest.mark.parametrize("says", [b"-ERR unknown command\n", None])
def test_a_supervisors_file_whose_port_is_anothers_by_now_goes_and_a_silent_ones_stays(
    says: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.supervisor.door.sys", SimpleNamespace(platform="win32"))
    monkeypatch.setattr("penstock.supervisor.knock.sys", SimpleNamespace(platform="win32"))
    monkeypatch.setattr(door, "_PATIENCE", 0.1)
    path = tmp_path / "ctl"
    with somebody(socket.AF_INET, ("127.0.0.1", 0), says) as other:
        path.write_text(json.dumps({"port": other.getsockname()[1], "token": "old"}))
        with nullcontext() if says is not None else pytest.raises(DoorError, match="somebody may use it"):
            at_the_door(path, Fleet(), lambda: None)
        assert path.exists() == (says is None)


def test_somebodys_file_is_not_overwritten(way: str, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("my thesis")
    with pytest.raises(DoorError, match="there is a file that is not ours"):
        at_the_door(path, Fleet(), lambda: None)
    assert path.read_text() == "my thesis"


def test_a_place_that_cannot_be_had_is_named(way: str, tmp_path: Path) -> None:
    path = tmp_path / "missing" / "ctl"
    with pytest.raises(DoorError, match=re.escape(f"{path} (--control): No such file or directory")):
        at_the_door(path, Fleet(), lambda: None)


def test_without_the_token_nothing_is_done(way: str, tmp_path: Path) -> None:
    if way == "socket":
        pytest.skip("the socket's mode is its lock")
    path, fleet = tmp_path / "ctl", Fleet()

    def act() -> None:
        told = json.loads(path.read_text())
        for token in ("", "0" * 32, told["token"] + "0", None):
            path.write_text(json.dumps({**told, "token": token}))
            assert knock(str(path), ["scale", "2"]) == {"error": "the token is wrong"}
        path.write_text(json.dumps(told))

    at_the_door(path, fleet, act)
    assert fleet.told == []


@pytest.mark.skipif(sys.platform == "win32", reason="there are no Unix sockets")
@pytest.mark.parametrize("octets", [b"nonsense\n", b"[]\n", b"{}\n", b'{"command": 3}\n', b"\n", b"", b"x" * 100_000 + b"\n"])
def test_nonsense_harms_nobody(octets: bytes, tmp_path: Path) -> None:
    path, fleet = tmp_path / "ctl", Fleet()

    def act() -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            sock.sendall(octets)
            sock.shutdown(socket.SHUT_WR)
            said = b""
            try:
                while piece := sock.recv(1000):
                    said += piece
            except ConnectionResetError:
                pass
            assert said == b"" or "error" in json.loads(said)
        assert knock(str(path), ["status"])["state"] == "serving"

    at_the_door(path, fleet, act)
    assert fleet.told == []


def test_brackets_without_end_are_answered_with_an_error(way: str, tmp_path: Path) -> None:
    path = tmp_path / "ctl"

    def act() -> None:
        family, address, _ = address_of(str(path))
        with socket.socket(family) as sock:
            sock.connect(address)
            sock.sendall(b"[" * 60_000 + b"\n")
            with sock.makefile("rb") as said:
                assert "error" in json.loads(said.readline())

    at_the_door(path, Fleet(), act)
