import json
import os
import socket
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
