import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.hangs import bounded
from support.serving import environment

from penstock.supervisor import knock
from penstock.supervisor.knock import main, table

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no Unix sockets")

STATUS = {
    "pid": 5, "generation": 2, "state": "serving", "wanted": 2, "workers": [
        {"worker": 3, "pid": 7, "generation": 1, "phase": "retiring", "age": 36061.5, "running": 12, "answered": 4000,
         "memory": 25165824},
        {"worker": 10, "pid": 123456, "generation": 2, "phase": "ready", "age": 0.4, "running": 0, "answered": 0, "memory": None},
    ],
}  # fmt: skip


@pytest.fixture(autouse=True)
def hangs_fail(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("PENSTOCK_CONTROL", raising=False)
    with bounded():
        yield


@contextmanager
def supervisor(path: Path, says: bytes) -> Iterator[list[Any]]:
    """One that answers each command with `says`."""
    heard: list[Any] = []

    def answer() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock, sock.makefile("rb") as line:
                heard.append(json.loads(line.readline())["command"])
                sock.sendall(says)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=answer)
        thread.start()
        yield heard
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.parametrize("words", [
    ["scale", "3", "--control", "ctl"], ["--control=ctl", "scale", "3"], ["--control=a", "--control=ctl", "scale", "3"],
    ["scale", "--control", "a", "--control", "ctl", "3"],
])  # fmt: skip
def test_a_command_is_told_and_what_is_said_is_printed(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with supervisor(tmp_path / "ctl", b'{"message": "done"}\n') as heard:
        assert main(words) == 0
    assert heard == [["scale", "3"]] and capsys.readouterr().out == "done\n"


def test_the_address_may_stand_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PENSTOCK_CONTROL", str(tmp_path / "ctl"))
    with supervisor(tmp_path / "ctl", json.dumps(STATUS).encode() + b"\n"):
        assert main(["status", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == STATUS
        assert main(["status"]) == 0
        assert capsys.readouterr().out.startswith("supervisor 5: generation 2 is serving, 2 workers are wanted\n")


def test_a_status_is_a_table() -> None:
    assert table(STATUS).splitlines()[1:] == [
        "worker     pid  generation     phase       age  running  answered    memory",
        "     3       7           1  retiring  10:01:01       12      4000  24.0 MiB",
        "    10  123456           2     ready   0:00:00        0         0         ?",
    ]


@pytest.mark.parametrize("says, told", [
    (b'{"error": "not today"}\n', "not today"), (b"", "is no supervisor, or has just ended"),
    (b"HTTP/1.1 400 Bad Request\r\n", "is no supervisor"),
])  # fmt: skip
def test_what_was_not_done_is_told_with_1(says: bytes, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with supervisor(tmp_path / "ctl", says):
        assert main(["stop", "--control", str(tmp_path / "ctl")]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("penstock ctl: ") and told in said.err and said.err.count("\n") == 1


@pytest.mark.parametrize("words, told", [
    (["status"], "Name the supervisor's control address with --control PATH"), (["status", "--control"], "Name the"),
    (["status", "--control", "missing"], "nobody takes commands at missing (No such file or directory)"),
])  # fmt: skip
def test_who_cannot_be_reached_is_named(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 1
    assert told in capsys.readouterr().err


def test_one_that_does_not_answer_is_waited_for_by_a_reload_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(knock, "_PATIENCE", 0.05)
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "ctl"))
        deaf.listen()
        for words in (["status"], ["scale", "2"], ["stop"]):
            assert main([*words, "--control", str(tmp_path / "ctl")]) == 1
            assert capsys.readouterr().err == f"penstock ctl: nobody takes commands at {tmp_path / 'ctl'} (timed out)\n"

    def answer() -> None:
        with listener.accept()[0] as reload, reload.makefile("rb") as line:
            assert json.loads(line.readline())["command"] == ["reload"]
            # Somebody else has given up meanwhile, so the reload has waited for longer than that.
            assert main(["status", "--control", str(tmp_path / "slow")]) == 1
            reload.sendall(b'{"message": "done"}\n')

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "slow"))
        listener.listen()
        thread = threading.Thread(target=answer)
        thread.start()
        assert main(["reload", "--control", str(tmp_path / "slow")]) == 0
        thread.join()
    assert capsys.readouterr().out == "done\n"


def test_an_interrupt_is_a_word_and_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(path: str, command: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(knock, "knock", interrupt)
    assert main(["reload", "--control", "ctl"]) == 1
    assert capsys.readouterr().err == "penstock ctl: interrupted\n"


def test_who_reads_no_further_is_no_mistake(tmp_path: Path) -> None:
    with supervisor(tmp_path / "ctl", json.dumps(STATUS).encode() + b"\n"):
        hears, says = os.pipe()
        os.close(hears)
        ended = subprocess.run(
            [sys.executable, "-m", "penstock", "ctl", "status", "--control", str(tmp_path / "ctl")], env=environment(),
            stdin=subprocess.DEVNULL, stdout=says, stderr=subprocess.PIPE, timeout=15,
        )  # fmt: skip
        os.close(says)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_file_that_says_nothing_of_the_kind_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("penstock.supervisor.knock.sys", SimpleNamespace(platform="win32", stderr=sys.stderr))
    for text in ("my thesis", "[]", '{"port": "x", "token": ""}'):
        (tmp_path / "file").write_text(text)
        assert main(["status", "--control", str(tmp_path / "file")]) == 1
        assert "does not say where a supervisor is" in capsys.readouterr().err


def test_help_is_for_who_asks_and_for_who_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert (main(["--help"]), main(["status", "-h"]), main([])) == (0, 0, 1)
    assert capsys.readouterr().out.count("usage: penstock ctl COMMAND") == 3


def test_it_loads_nothing_of_the_server() -> None:
    program = "import sys; from penstock.cli import main; main(['ctl', '-h']); print([n for n in sys.modules if n.startswith('penstock')])"
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, timeout=15, cwd=os.getcwd(), check=True
    )  # fmt: skip
    assert ended.stdout.splitlines()[-1] == "['penstock', 'penstock.cli', 'penstock.supervisor', 'penstock.supervisor.knock']"
