import json
import os
import socket
import sys
from contextlib import closing
from pathlib import Path

import pytest

from penstock.listener import ListenError
from penstock.ready import Announcement
from penstock.settings import Settings


def test_each_address_is_told_in_a_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        with closing(Announcement(Settings())) as announcement:
            announcement.make([one, two])
        ports = [each.getsockname()[1] for each in (one, two)]
    assert [each.getMessage() for each in caplog.records] == [
        f"penstock running on http://127.0.0.1:{port} (Press CTRL+C to quit)" for port in ports]


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no Unix sockets here")
def test_a_unix_socket_is_told_as_such(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as sock, closing(Announcement(Settings(ready_file=str(tmp_path / "ready")))) as announcement:
        sock.bind(path)
        announcement.make([sock])
        assert json.loads((tmp_path / "ready").read_text())["addresses"] == [f"unix:{path}"]
    assert caplog.messages == [f"penstock running on unix socket {path} (Press CTRL+C to quit)"]


def test_the_file_is_there_while_requests_are_taken_and_only_then(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    path.write_text("of a server that was killed")
    with socket.create_server(("127.0.0.1", 0)) as sock, closing(Announcement(Settings(ready_file=str(path)))) as announcement:
        assert not path.exists()
        announcement.make([sock])
        assert json.loads(path.read_text()) == {
            "addresses": [f"http://127.0.0.1:{sock.getsockname()[1]}"], "pid": os.getpid()}
        assert os.listdir(tmp_path) == ["ready.json"]
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="nobody is asked there whether a process lives")
def test_the_file_of_a_server_that_runs_is_not_taken_from_it_by_a_start_that_fails(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    path.write_text(json.dumps({"addresses": [], "pid": os.getppid()}))
    Announcement(Settings(ready_file=str(path))).close()
    assert os.listdir(tmp_path) == ["ready.json"]
    # One that serves elsewhere takes its place.
    with closing(Announcement(Settings(ready_file=str(path)))) as announcement:
        announcement.make([])
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert os.listdir(tmp_path) == []


def test_the_file_of_a_server_that_came_after_stays_with_it(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    with closing(Announcement(Settings(ready_file=str(path)))) as announcement:
        announcement.make([])
        path.write_text(json.dumps({"addresses": [], "pid": os.getppid()}))
    assert os.listdir(tmp_path) == ["ready.json"]


@pytest.mark.parametrize("left", ['{"pid": %d}' % os.getpid(), '{"pid": %d}' % (1 << 30), '{"pid": %d}' % (1 << 70), "[]", "\xff", ""])
def test_what_a_killed_server_left_goes_at_the_start(left: str, tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    path.write_text(left, encoding="latin-1")
    with closing(Announcement(Settings(ready_file=str(path)))):
        assert not path.exists()


def test_the_file_stands_where_it_was_asked_for_though_the_application_goes_to_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with closing(Announcement(Settings(ready_file="ready.json"))) as announcement:
        monkeypatch.chdir(tmp_path / "elsewhere")
        announcement.make([])
        assert sorted(os.listdir(tmp_path)) == ["elsewhere", "ready.json"]
    assert os.listdir(tmp_path) == ["elsewhere"] and os.listdir(tmp_path / "elsewhere") == []


def test_a_start_that_fails_leaves_nothing(tmp_path: Path) -> None:
    Announcement(Settings(ready_file=str(tmp_path / "ready.json"))).close()
    assert os.listdir(tmp_path) == []


def test_a_file_that_cannot_be_written_is_told_before_anything_is_started(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "ready.json"
    with pytest.raises(ListenError) as caught:
        Announcement(Settings(ready_file=str(path)))
    assert str(caught.value) == f"Cannot write {path}: No such file or directory. Choose another with --ready-file."


def test_a_file_that_can_be_written_no_longer_does_not_end_the_server(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with closing(Announcement(Settings(ready_file=str(folder / "ready.json")))) as announcement:
        for each in folder.iterdir():
            each.unlink()
        folder.rmdir()
        announcement.make([])
    assert caplog.messages == [f"Cannot write {folder / 'ready.json'}: No such file or directory"]
