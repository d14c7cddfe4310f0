import json
import select
import socket
import threading
from collections.abc import Iterator

import pytest

from penstock.supervisor.control import LONGEST, Control


@pytest.fixture
def ends() -> Iterator[tuple[Control, socket.socket]]:
    """A line and the bare socket at its other end."""
    one, other = socket.socketpair()
    control = Control(one)
    yield control, other
    control.close()
    other.close()


Ends = tuple[Control, socket.socket]


def test_what_one_says_the_other_hears(ends: Ends) -> None:
    control, other = ends
    far = Control(other)
    control.say("ready")
    control.say("failed", message="line\nbreak ✓")
    assert far.hear() == [{"word": "ready"}, {"word": "failed", "message": "line\nbreak ✓"}]
    assert far.hear() == []
    far.say("drain", has_successor=True)
    assert control.hear() == [{"word": "drain", "has_successor": True}]


def test_a_message_may_come_in_pieces(ends: Ends) -> None:
    control, other = ends
    for octet in b'{"word": "beat"}':
        other.send(bytes([octet]))
        assert control.hear() == []
    other.send(b'\n{"word"')
    assert control.hear() == [{"word": "beat"}]


def test_the_end_comes_after_the_last_words(ends: Ends) -> None:
    control, other = ends
    other.sendall(b'{"word": "failed"}\n{"wo')
    other.close()
    assert control.hear() == [{"word": "failed"}]
    assert control.hear() is None and control.hear() is None


def test_a_reset_is_an_end_too() -> None:
    """As Windows has it when a process is terminated."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    control = Control(near)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    far.close()
    assert control.hear() is None
    control.close()


@pytest.mark.parametrize("octets", [b"nonsense\n", b"[]\n", b'"word"\n', b"{}\n", b"\n", b"\xff\xfe\n", b'{"word": 1}\n3\n'])
def test_nonsense_is_an_end(octets: bytes, ends: Ends) -> None:
    control, other = ends
    other.sendall(octets)
    assert control.hear() is None and control.fault == "it talks nonsense"


def test_a_flood_without_an_end_of_line_is_an_end(ends: Ends) -> None:
    control, other = ends
    failures: list[OSError] = []

    def flood() -> None:
        try:
            for _ in range(4 * LONGEST // 65536):
                other.sendall(b"x" * 65536)
            other.shutdown(socket.SHUT_WR)
        except OSError as error:
            failures.append(error)

    other.settimeout(30)
    thread = threading.Thread(target=flood)
    thread.start()
    messages: object = []
    while messages == []:
        select.select([control.fileno()], [], [], 30)
        messages = control.hear()
    assert messages is None and "more than anybody wants" in control.fault
    control.close()
    thread.join()
    assert isinstance(failures[0], ConnectionError)


def test_a_long_message_waits_for_the_other_side_to_take_it(ends: Ends) -> None:
    control, other = ends
    paths = ["x" * 100] * 10_000
    thread = threading.Thread(target=control.say, args=("files",), kwargs={"paths": paths})
    thread.start()
    with other.makefile("rb") as file:
        assert json.loads(file.readline()) == {"word": "files", "paths": paths}
    thread.join()


def test_nobody_who_listens_no_more_is_waited_for(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.supervisor.control._PATIENCE", 0.01)
    control, other = ends
    control.say("files", paths=["x" * 1_000_000])
    other.close()
    control.say("beat")
    assert control.hear() is None


def test_what_is_said_on_a_line_that_is_closed_is_lost_without_a_word(ends: Ends) -> None:
    control, other = ends
    control.close()
    control.say("worn")
    control.mention("beat")
    assert other.recv(10) == b""


def test_brackets_without_end_are_nonsense_and_nothing_worse(ends: Ends) -> None:
    control, other = ends
    other.sendall(b"[" * 100_000 + b"\n")
    assert control.hear() is None and control.fault == "it talks nonsense"


def test_in_one_turn_only_so_much_is_heard(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.supervisor.control.MOST_AT_ONCE", 65536)
    control, other = ends
    line = b'{"word": "%s"}\n' % (b"x" * 1000)
    thread = threading.Thread(target=other.sendall, args=(line * 1000,))
    thread.start()
    heard: list[int] = []
    while sum(heard) < 1000:
        messages = control.hear()
        assert messages is not None and len(messages) < 200
        heard.append(len(messages))
    thread.join()


def test_what_is_only_mentioned_waits_for_nobody_and_leaves_no_half_words(ends: Ends) -> None:
    control, other = ends
    for _ in range(20_000):
        control.mention("beat", filling="x" * 1000)
    other.setblocking(False)
    far, heard = Control(other), 0
    while messages := far.hear():
        assert all(each["word"] == "beat" for each in messages)
        heard += len(messages)
    assert 0 < heard < 20_000
    control.mention("beat")
    control.mention("last")
    words = [each["word"] for each in far.hear() or []]
    assert words[-1] == "last" and words.count("last") == 1
