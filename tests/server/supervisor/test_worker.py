import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hangs import bounded
from support.serving import PATIENCE, environment

from penstock.supervisor import handover
from penstock.supervisor.fleet import Phase
from penstock.supervisor.worker import Worker

# Instead of a worker: says what it hears, and on its lifeline nothing but that it was asked.
CHILD = """
import os, sys
from penstock.supervisor.control import Control
from penstock.supervisor.handover import take

post = take(int(sys.argv[1]), int(sys.argv[2]))
post.control.setblocking(True)
if post.rest.get("ends"):
    os._exit(post.rest["ends"])
control = Control(post.control)
control.say("ready")
os.read(post.lifeline, 1)
control.say("asked")
for _ in range(2):
    while not (messages := control.hear()):
        pass
    control.say("heard", messages=messages)
os.read(post.lifeline, 1)
"""


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Worker]:
    (tmp_path / "child_for_test.py").write_text(CHILD)
    monkeypatch.setattr(handover, "_MODULE", "child_for_test")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]]))
    with bounded(), socket.create_server(("127.0.0.1", 0)) as listener:
        worker = Worker(3, 2, [listener], 100.0)
        yield worker
        worker.kill()
        worker.process.wait(PATIENCE)
        worker.close()


def heard(worker: Worker) -> dict[str, object]:
    while not (messages := worker.control.hear()):
        pass
    return messages[0]


def test_a_worker_is_started_and_told_and_asked(worker: Worker) -> None:
    assert (worker.member.number, worker.member.generation, worker.member.phase) == (3, 2, Phase.STARTING)
    worker.give({})
    # Behind a launcher, which is what a virtual environment has on Windows, the process is another.
    is_behind_launcher = sys.platform == "win32" and sys.prefix != sys.base_prefix
    assert (worker.pid == worker.process.pid) is not is_behind_launcher and str(worker) == f"worker 3 (process {worker.pid})"
    assert heard(worker) == {"word": "ready"}
    worker.question()
    assert worker.member.is_questioned
    assert heard(worker) == {"word": "asked"}
    worker.share(2.5)
    assert heard(worker) == {"word": "heard", "messages": [{"word": "share", "running": 2.5}]}
    worker.retire(has_successor=True)
    assert heard(worker) == {"word": "heard", "messages": [{"word": "drain", "has_successor": True}]}
    assert not worker.has_ended()
    worker.close()
    worker.process.wait(PATIENCE)
    assert worker.has_ended() and worker.describe_end() == "exit code 0" and not worker.is_ended_by_others


def test_its_life_is_noted(worker: Worker) -> None:
    worker.enter(Phase.READY, 105.0)
    assert (worker.member.since, worker.member.heard, worker.was_ready) == (105.0, 105.0, True)
    worker.question()
    worker.note_life(110.0, {"word": "beat", "running": 3, "answered": 40, "memory": "none of a number"})
    assert (worker.member.since, worker.member.heard, worker.member.is_questioned) == (105.0, 110.0, False)
    assert (worker.running, worker.answered, worker.memory) == (3, 40, None)
    worker.excuse(1000.0, 2000.0)
    assert (worker.member.since, worker.member.heard) == (1105.0, 1110.0)
    worker.excuse(1000.0, 2107.0)
    # It was heard after we woke up.
    assert (worker.member.since, worker.member.heard) == (2105.0, 2107.0)
    worker.question()
    worker.enter(Phase.RETIRING, 2108.0)
    assert not worker.member.is_questioned
    worker.enter(Phase.READY, 105.0)
    worker.note_life(110.0, {})
    worker.enter(Phase.RETIRING, 111.0, 5.0)
    assert (worker.member.phase, worker.member.patience, worker.was_ready) == (Phase.RETIRING, 5.0, True)


@pytest.mark.skipif(sys.platform == "win32", reason="a process that is terminated has an exit code there")
def test_a_killed_one_says_by_what(worker: Worker) -> None:
    worker.kill()
    worker.process.wait(PATIENCE)
    worker.kill()
    assert worker.has_ended() and worker.describe_end() == "signal 9" and not worker.is_ended_by_others
    worker.question()
    worker.retire(has_successor=False)
    worker.give({})


@pytest.mark.skipif(sys.platform == "win32", reason="a process that is terminated has an exit code there")
def test_one_that_others_kill_is_known_by_it(worker: Worker) -> None:
    os.kill(worker.process.pid, signal.SIGKILL)
    worker.process.wait(PATIENCE)
    assert worker.is_ended_by_others


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be sent signals there")
def test_signals_of_the_terminal_wait_until_a_child_can_take_them(worker: Worker) -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        os.kill(worker.process.pid, number)
    worker.give({})
    assert heard(worker) == {"word": "ready"} and not worker.has_ended()


def test_one_that_ends_during_the_handover_is_no_error_here(worker: Worker) -> None:
    worker.give({"ends": 7})
    worker.process.wait(PATIENCE)
    assert worker.describe_end() == "exit code 7" and not worker.was_ready
