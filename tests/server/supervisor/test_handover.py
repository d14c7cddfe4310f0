import errno
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.hangs import bounded
from support.serving import CHECKOUT, PATIENCE, environment
from support.shared_sockets import sitecustomize

from penstock.supervisor import handover
from penstock.supervisor.handover import Handover, take

SHARED_SOCKETS = CHECKOUT / "tests" / "support" / "shared_sockets"

# Instead of a worker: takes what it is given, tells about it on the control line, ends with the lifeline.
CHILD = """
import json, os, sys
from penstock.supervisor.handover import take

post = take(int(sys.argv[1]), int(sys.argv[2]))
if post is None:
    os._exit(9)
about = [[sock.getsockname()[1], sock.getblocking(), sock.get_inheritable()] for sock in post.sockets]
post.control.setblocking(True)
post.control.sendall(json.dumps([os.getpid(), about, post.rest]).encode())
while octets := os.read(post.lifeline, 10):
    post.control.sendall(octets)
os._exit(4)
"""


@pytest.fixture(autouse=True)
def hangs_fail() -> Iterator[None]:
    with bounded():
        yield


@pytest.fixture(params=["inherited", pytest.param("shared", marks=pytest.mark.skipif(
    sys.platform != "linux", reason="the stand-in for Windows' shared sockets works on Linux only"))])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """How the sockets reach the child, which is CHILD."""
    (tmp_path / "child_for_test.py").write_text(CHILD)
    monkeypatch.setattr(handover, "_MODULE", "child_for_test")
    paths = [str(tmp_path), environment()["PYTHONPATH"]]
    if request.param == "shared":
        paths.insert(0, str(SHARED_SOCKETS))
        monkeypatch.setattr(handover, "_CAN_SHARE", True)
        monkeypatch.setattr(socket.socket, "share", sitecustomize.share, raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    return str(request.param)


@pytest.fixture
def listeners() -> Iterator[list[socket.socket]]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    yield sockets
    for sock in sockets:
        sock.close()


def hear(given: Handover) -> Any:
    given.control.settimeout(PATIENCE)
    return json.loads(given.control.recv(65536))


def finish(given: Handover) -> int:
    given.control.close()
    os.close(given.lifeline)
    return given.process.wait(PATIENCE)


def test_a_child_gets_its_sockets_and_its_task(way: str, listeners: list[socket.socket]) -> None:
    given = Handover(listeners)
    pid = given.give({"app": "x" * 200_000})
    # They do not wait, and no child of the child's has them.
    expected = [[sock.getsockname()[1], False, False] for sock in listeners]
    heard = hear_all(given)
    assert heard == [pid, expected, {"app": "x" * 200_000}]
    # Behind a launcher, which is what a virtual environment has on Windows, the process is another.
    assert pid == given.process.pid or (sys.platform == "win32" and sys.prefix != sys.base_prefix)
    assert finish(given) == 4


@pytest.mark.skipif(sys.platform == "win32", reason="a child is given numbers of other things there")
def test_what_a_child_that_died_early_was_to_get_reaches_nobody_else(
    way: str, listeners: list[socket.socket], tmp_path: Path
) -> None:
    (tmp_path / "child_for_test.py").write_text("import os, sys\nos.write(int(sys.argv[2]), b'%d\\n' % os.getpid())")
    given = Handover(listeners)
    given.process.wait(PATIENCE)
    os.close(given.lifeline)
    hears, tells = os.pipe()
    os.dup2(tells, given.lifeline)
    os.close(tells)
    # Its thread comes only now to speak to it.
    with suppress(OSError):
        given.give({"app": "its own"})
    os.close(given.lifeline)
    assert os.read(hears, 1000) == b""
    os.close(hears)
    given.control.close()


def hear_all(given: Handover) -> Any:
    given.control.settimeout(PATIENCE)
    octets = b""
    while not octets.endswith(b"}]"):
        octets += given.control.recv(1 << 20)
    return json.loads(octets)


@pytest.mark.skipif(sys.platform == "win32", reason="a launcher is no script there; tests/windows has a real one")
def test_the_child_speaks_first_so_a_launcher_between_does_not_matter(
    way: str, listeners: list[socket.socket], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    launcher = tmp_path / "launcher"
    launcher.write_text(f'#!/bin/sh\n"{sys.executable}" "$@"\nexit $?\n')
    launcher.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(launcher))
    given = Handover(listeners)
    pid = given.give({})
    assert hear(given)[0] == pid != given.process.pid
    assert finish(given) == 4


def test_both_ends_of_the_ties_break_with_the_other_process(way: str, listeners: list[socket.socket]) -> None:
    given = Handover(listeners)
    given.give({})
    hear(given)
    os.write(given.lifeline, b"?")
    assert given.control.recv(10) == b"?"
    given.process.kill()
    given.process.wait(PATIENCE)
    # Ours was its only copy: what is left says that it is gone.
    assert given.control.recv(10) == b""
    finish(given)


def test_a_child_without_a_supervisor_ends(way: str, listeners: list[socket.socket]) -> None:
    given = Handover(listeners)
    # What it holds of the child's pipe ends with it.
    for end in (given.lifeline, given._tells):
        os.close(end)
    assert given.process.wait(PATIENCE) == 9
    given.lifeline, given._tells = (os.open(os.devnull, os.O_WRONLY) for _ in range(2))
    with suppress(OSError):
        given.give({})
    finish(given)


def test_a_child_that_dies_before_it_speaks_is_an_error_for_who_waits_for_it(
    way: str, listeners: list[socket.socket], tmp_path: Path
) -> None:
    (tmp_path / "child_for_test.py").write_text("import sys; sys.exit(5)")
    given = Handover(listeners)
    with pytest.raises(ValueError):
        given.give({})
    assert finish(given) == 5


def test_a_process_that_cannot_be_had_leaves_nothing_open(
    way: str, listeners: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc") else 0
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    for _ in range(3):
        with pytest.raises(OSError):
            Handover(listeners)
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 2


@pytest.mark.parametrize("name, chances", [("pipe", 2), ("dup", 1)])
@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="nobody tells what is open")
def test_where_descriptors_are_short_none_is_left_open(
    name: str, chances: int, listeners: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system refuses at the first, second … chance."""
    real, before = getattr(os, name), len(os.listdir("/proc/self/fd"))
    for chance in range(chances):
        given = iter([real] * chance)

        def short(*words: Any, given: Iterator[Any] = given) -> Any:
            for function in given:
                return function(*words)
            raise OSError(errno.EMFILE, "Too many open files")

        with monkeypatch.context() as patch, pytest.raises(OSError, match="Too many") as caught:
            patch.setattr(os, name, short)
            Handover(listeners)
        # Also while the traceback holds what was made.
        assert len(os.listdir("/proc/self/fd")) == before and caught


def test_inherited_numbers_hold_though_the_supervisor_closes_its_sockets_meanwhile(
    listeners: list[socket.socket], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if handover._CAN_SHARE:
        pytest.skip("nothing is inherited here")
    (tmp_path / "child_for_test.py").write_text(CHILD)
    monkeypatch.setattr(handover, "_MODULE", "child_for_test")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]]))
    ports = [sock.getsockname()[1] for sock in listeners]
    given = Handover(listeners)
    for sock in listeners:
        sock.close()
    given.give({})
    assert [each[0] for each in hear(given)[1]] == ports
    finish(given)


def test_options_of_the_interpreter_hold_for_the_child(monkeypatch: pytest.MonkeyPatch, listeners: list[socket.socket]) -> None:
    commands: list[list[str]] = []

    def popen(command: list[str], **more: Any) -> Any:
        commands.append(command)
        raise OSError("no")

    monkeypatch.setattr(subprocess, "Popen", popen)
    with pytest.raises(OSError):
        Handover(listeners)
    monkeypatch.chdir(CHECKOUT / "server")
    with pytest.raises(OSError):
        Handover(listeners)
    expected: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as the code has it
    module = ["-m", "penstock.supervisor.child"]
    # The current folder is not searched, except where penstock itself is found there.
    assert commands[0][1:-2] == [*expected, "-P", *module] and commands[1][1:-2] == [*expected, *module]


def test_nothing_to_take_is_none() -> None:
    ear, theirs = os.pipe()
    heard, voice = os.pipe()
    os.close(theirs)
    assert take(*map(as_told, (ear, voice))) is None
    assert os.read(heard, 100) == b"%d\n" % os.getpid()
    os.close(heard)
    if sys.platform != "win32":
        os.close(ear)


def as_told(end: int) -> int:
    """A pipe's end as a child's command line has it: on Windows a handle, which is the child's own then."""
    if sys.platform != "win32":
        return end
    import msvcrt

    os.set_inheritable(end, True)
    return int(msvcrt.get_osfhandle(end))


@pytest.mark.skipif(sys.platform != "linux", reason="the stand-in works on Linux only")
def test_the_stand_in_for_shared_sockets_is_as_strict_as_windows() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        mine = sitecustomize.share(sock, os.getpid())
        with sitecustomize.fromshare(mine) as copy:
            assert copy.getsockname() == sock.getsockname() and len(mine) == 372
        with pytest.raises(OSError) as caught:
            sitecustomize.fromshare(mine)
        assert caught.value.errno == sitecustomize.INVALID
        with pytest.raises(OSError) as caught:
            sitecustomize.fromshare(sitecustomize.share(sock, 1))
        assert caught.value.errno == sitecustomize.NOT_A_SOCKET
    assert threading.active_count() < 50


@pytest.mark.skipif(sys.platform == "win32", reason="no folder in which somebody is can go there")
def test_a_child_is_started_though_the_folder_we_are_in_has_gone(
    way: str, listeners: list[socket.socket], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    given = Handover(listeners)
    given.give({})
    assert len(hear(given)[1]) == 2
    assert finish(given) == 4
