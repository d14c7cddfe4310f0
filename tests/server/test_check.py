import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock import check, log, runner
from penstock.settings import Settings

APP = """
print("loading")
async def app(scope, receive, send):
    assert scope["type"] == "lifespan"
    while True:
        message = (await receive())["type"]
        print(message)
        await send({"type": message + ".complete"})
        if message == "lifespan.shutdown":
            return
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with an application in it; nothing is configured."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(log, "configure", lambda settings: None)
    monkeypatch.setattr(runner, "leave", lambda code, patience: code)
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    (tmp_path / f"{tmp_path.name}.py").write_text(APP)
    return tmp_path


@pytest.fixture
def app(folder: Path) -> str:
    """Its import string; a module of the same name must not be loaded already."""
    return f"{folder.name}:app"


def report(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = check.main([*words, "--json"])
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert result["ok"] is (code == 0)
    return code, result


def findings(result: dict[str, Any], level: str) -> list[tuple[str, str]]:
    return [(each["subject"], each["text"]) for each in result["findings"] if each["level"] == level]


def test_what_holds_is_shown_with_its_origin_and_the_application_lives_once(
    app: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "pyproject.toml").write_text("[tool.penstock]\nbacklog = 7\ntimeout_head = 2.5\nlimit_body = 'none'\n")
    monkeypatch.setenv("UVICORN_ROOT_PATH", "/api")
    assert check.main([app, "--port", "0", "--host", "127.0.0.1", "--host", "127.0.0.2", "--no-access-log"]) == 0
    out, err = capsys.readouterr()
    shown, told = out.split("\n\n")
    assert [line.split(None, 1)[0] for line in shown.splitlines()[:-1]] == [
        "app", "host", "port", "backlog", "root_path", "access_log", "timeout_head", "limit_body"]
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines()}
    assert rows["app"] == [app, "command", "line"]
    assert rows["host"] == ["127.0.0.1", "127.0.0.2", "--host"]
    assert rows["backlog"] == ["7", "pyproject.toml:2"]
    assert rows["root_path"] == ["/api", "UVICORN_ROOT_PATH"]
    assert rows["access_log"] == ["off", "--access-log"]
    assert rows["timeout_head"] == ["2.5", "pyproject.toml:3"]
    assert rows["limit_body"] == ["none", "pyproject.toml:4"]
    assert told.count("can be listened on") == 2
    assert f"ok:      app: {app} starts and stops, in " in told
    assert err.splitlines() == ["loading", "lifespan.startup", "lifespan.shutdown"]


def test_defaults_are_shown_when_they_are_asked_for(app: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main([app, "--port", "0", "--all"]) == 0
    assert "\nlog_level " in (out := capsys.readouterr().out) and "All else" not in out
    code, result = report(capsys, app, "--port", "0")
    assert code == 0
    assert result["settings"]["log_level"] == {"value": "info", "origin": "default"}
    assert result["settings"]["port"] == {"value": 0, "origin": "--port"}


def test_a_password_is_never_shown(app: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = report(capsys, app, "--port", "0", "--ssl-keyfile-password", "xyzzy")
    assert "xyzzy" not in json.dumps(result)
    assert ("ssl_keyfile_password", "everybody on this machine can read it in the list of processes") in findings(result, "warning")


def test_a_mistake_in_the_options_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    code, result = report(capsys, "main:app", "--prot", "1")
    assert (code, result["settings"]) == (1, {})
    assert findings(result, "error") == [("options", "unknown option --prot; did you mean --port?")]
    assert check.main(["main:app", "--prot", "1"]) == 1
    assert capsys.readouterr().err == "penstock: unknown option --prot; did you mean --port?\nSee penstock --help.\n"


def test_help_is_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: penstock check ")


def test_what_is_in_vain_or_unknown_is_told(app: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_PROT", "1")
    code, result = report(capsys, app, "--port", "0", "--reload-delay", "1", "--loop", "asyncio")
    assert code == 0
    assert [text for subject, text in findings(result, "warning") if subject == "options"] == [
        "There is no option for the environment variable PENSTOCK_PROT; did you mean PENSTOCK_PORT?",
        "--reload-delay does nothing without --reload",
    ]
    assert [subject for subject, _ in findings(result, "info")] == ["options"]


@pytest.mark.parametrize("words, warned", [
    ("--host 127.0.0.1", set()),
    ("--host localhost --reload --log-level debug", set()),
    ("--uds s --host 0.0.0.0", set()),
    ("--host 0.0.0.0", {"limit_body", "limit_connections"}),
    ("--host 0.0.0.0 --limit-body 9 --limit-concurrency 9", set()),
    ("--host 127.0.0.1 --host 0.0.0.0 --limit-body 9 --limit-connections 9 --reload --log-level trace --min-body-rate 0"
     " --lenient-requests", {"reload", "log_level", "min_body_rate", "lenient_requests"}),
    ("--host 0.0.0.0 --limit-body 9 --limit-connections 9 --forwarded-allow-ips *", {"forwarded_allow_ips"}),
    ("--host 0.0.0.0 --limit-body 9 --limit-connections 9 --forwarded-allow-ips * --no-proxy-headers", set()),
    ("--forwarded-allow-ips *", set()),
    ("--host 0.0.0.0 --limit-body 9 --limit-connections 9 --proxy-protocol --proxy-protocol-allow-ips *", {"proxy_protocol_allow_ips"}),
    ("--timeout-graceful-shutdown none --timeout-startup none", {"timeout_graceful_shutdown", "timeout_startup"}),
])
@pytest.mark.skipif(os.name == "nt", reason="there are no Unix sockets there")
def test_dangers_are_told(words: str, warned: set[str], app: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = report(capsys, app, "--port", "0", *words.split())
    assert code == 0
    assert {subject for subject, _ in findings(result, "warning")} - {"options", "user"} == warned


def test_root_in_public_is_a_danger(app: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for user, is_warned in ((0, True), (1000, False)):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user, raising=False)
        code, result = report(capsys, app, "--port", "0", "--host", "0.0.0.0")
        assert (("user", "the server would run as root") in findings(result, "warning")) is is_warned


def test_every_rule_is_about_an_option() -> None:
    for rule in check._RULES:
        assert rule.is_dangerous(getattr(Settings(), rule.name), Settings()) in (True, False)


def test_a_list_that_is_none_ends_with_1(app: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = report(capsys, app, "--port", "0", "--forwarded-allow-ips", "10.0.0.1/8")
    ((subject, text),) = findings(result, "error")
    assert (code, subject) == (1, "options") and "--forwarded-allow-ips" in text and "10.0.0.0/8" in text


def test_an_address_that_cannot_be_had_ends_with_1_and_the_rest_is_tried(app: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, result = report(capsys, app, "--port", str(taken.getsockname()[1]))
    assert code == 1
    ((subject, text),) = findings(result, "error")
    assert subject == "address" and "in use" in text
    assert [subject for subject, _ in findings(result, "ok")] == ["app"]


@pytest.mark.skipif(os.name == "nt", reason="there are no Unix sockets there")
def test_what_is_bound_leaves_nothing(app: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "ready.json").write_text("of a server that runs")
    code, result = report(capsys, app, "--uds", "s", "--ready-file", "ready.json", "--control", "ctl")
    assert code == 0 and ("address", "unix:s can be listened on") in findings(result, "ok")
    assert not (folder / "s").exists() and not (folder / "ctl").exists()
    assert (folder / "ready.json").read_text() == "of a server that runs"


@pytest.mark.parametrize("words, subject, told", [
    ("--reload --reload-dir gone", "reload_dirs", "there is no folder "),
    ("--reload --reload-dir file", "reload_dirs", "there is no folder "),
    ("--ssl-certfile gone.pem", "ssl_certfile", "there is no file "),
    ("--control gone/ctl", "control", "Cannot take commands at gone/ctl (--control): "),
    ("--control file", "control", "Cannot take commands at file (--control): "),
    ("--ready-file gone/ready.json", "ready_file", "nothing can be written in the folder "),
])
def test_files_that_are_not_there_end_with_1(
    words: str, subject: str, told: str, app: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "file").write_text("")
    code, result = report(capsys, app, "--port", "0", *words.split())
    assert code == 1
    assert any(each == subject and text.startswith(told) for each, text in findings(result, "error"))


def test_a_file_that_may_not_be_read_ends_with_1(
    app: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    code, result = report(capsys, app, "--port", "0", "--reload", "--reload-dir", ".")
    assert (code, findings(result, "error")) == (1, [("reload_dirs", f"this user may not read the folder {folder}")])


@pytest.mark.parametrize("source, told", [
    ("1 / 0", "ZeroDivisionError"),
    ("async def app(scope, receive, send):\n    await receive()\n"
     "    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})", "no database"),
    ("def other(): ...", "app"),
])
def test_an_application_that_does_not_start_ends_with_3(
    source: str, told: str, app: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / f"{folder.name}.py").write_text(source)
    code, result = report(capsys, app, "--port", "0")
    assert code == 3
    ((subject, text),) = findings(result, "error")
    assert subject == "app" and told in text


def test_a_log_that_cannot_be_is_a_finding(app: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(settings: Any) -> None:
        raise log.LogConfigError("no such log")

    monkeypatch.setattr(log, "configure", refuse)
    code, result = report(capsys, app, "--port", "0")
    assert code == 1 and ("options", "no such log") in findings(result, "error")
