import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import penstock
from penstock import cli, log, runner
from penstock.connection.exchange import ClientDisconnected
from penstock.settings import Settings, options
from penstock.sources import Found
from penstock.supervisor import supervisor
from support.serving import CHECKOUT, command, environment


@pytest.fixture(autouse=True)
def loggers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """As pytest has them."""
    monkeypatch.setattr(log, "configure", lambda settings: None)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Any, Settings]]:
    """What was to be served; the answer is exit code 7."""
    calls: list[tuple[Any, Settings]] = []

    def serve(found: Found) -> int:
        calls.append((found.app, found.settings))
        return 7

    monkeypatch.setattr(cli, "serve", serve)
    for name in [each for each in os.environ if each.startswith(("PENSTOCK_", "UVICORN_", "WEB_CONCURRENCY"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return calls


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(words) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("penstock: ") and err.endswith("\nSee penstock --help.\n")
    assert err.count("\n") == 2
    return err.removeprefix("penstock: ").partition("\n")[0]


def test_an_application_alone_is_served_with_the_defaults(served: list[Any]) -> None:
    assert cli.main(["main:app"]) == 7
    assert served == [("main:app", Settings())]


def test_options_become_settings(served: list[Any]) -> None:
    words = "--host :: --port=0 main --no-access-log --factory --timeout-head 2.5 --limit-body none --log-level debug"
    assert cli.main(words.split()) == 7
    assert served == [("main", Settings(
        host=("::",), port=0, access_log=False, factory=True, timeout_head=2.5, limit_body=None, log_level="debug",
    ))]


def test_every_setting_can_be_given(served: list[Any]) -> None:
    for option in options():
        if option.doc.maximum == 0:
            continue
        value: Any
        if option.kind is bool:
            words, value = ["--no-" + option.flag[2:] if option.default else option.flag], not option.default
        else:
            text = {str: "/x", int: "2", float: "1.5", tuple: "/x"}[option.kind]
            text = option.doc.choices[-1] if option.doc.choices else {"OCTAL": "777", "NAME:VALUE": "a:b", "FIELDS": "host,port"}.get(option.doc.metavar, text)
            words, value = [option.flag, text], (text,) if option.kind is tuple else option.kind(text)
        assert cli.main(["main:app", *words]) == 7
        assert getattr(served[-1][1], option.name) == value


def test_an_option_that_may_be_given_again_keeps_all_its_values(served: list[Any]) -> None:
    assert cli.main("main:app --reload-dir a --reload-dir=b --reload-include *.html".split()) == 7
    assert (served[0][1].reload_dirs, served[0][1].reload_includes) == (("a", "b"), ("*.html",))


def test_the_words_of_the_process_are_taken_when_none_are_given(
    served: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["penstock", "other:app"])
    assert cli.main() == 7
    assert served[0][0] == "other:app"


@pytest.mark.parametrize("words, told", [
    ("", "which application? Name it as MODULE:ATTR, for example main:app"),
    ("--port 80", "which application? Name it as MODULE:ATTR, for example main:app"),
    ("main:app --prot 80", "unknown option --prot; did you mean --port?"),
    ("main:app --prot=80", "unknown option --prot; did you mean --port?"),
    ("main:app -p 80", "unknown option -p; did you mean --port?"),
    ("main:app --acces-log", "unknown option --acces-log; did you mean --access-log?"),
    ("main:app --lifespam on", "unknown option --lifespam; did you mean --lifespan?"),
    ("main:app --zzzzzz", "unknown option --zzzzzz"),
    ("main:app --port", "--port needs a value"),
    ("main:app --port http", "--port must be a whole number from 0 to 65535, not 'http'"),
    ("main:app --port -1", "--port must be a whole number from 0 to 65535, not -1"),
    ("main:app --access-log=maybe", "--access-log must be True or False, not 'maybe'"),
    ("main:app --no-access-log=yes", "--access-log/--no-access-log takes no value"),
    ("main:app --uds a --fd 3", "--uds and --fd exclude each other: leave one of them out"),
    ("main:app --loop uvloop", "--loop must be one of auto, asyncio, none, not 'uvloop':"
                               " penstock runs on its own event loop, which needs nothing installed"),
    ("main:app --config gone.toml", "--config: cannot read gone.toml: No such file or directory"),
    ("main:app --lifespan yes", "--lifespan must be one of auto, on, off, not 'yes'"),
    ("main:app 8080", "there can be one application only, so what is 8080?"),
    ("main:app --workers 0", "--workers must be a whole number of at least 1, or none, not 0"),
    ("main:app --workers two", "--workers must be a whole number of at least 1, or none, not 'two'"),
    ("main:app --smoke nope", "--smoke must be a path that begins with /, not 'nope'"),
    ("main:app --root-path api", "--root-path must be empty, or a path that begins with /, not 'api'"),
])
def test_a_mistake_is_one_line_and_exit_code_1(
    words: str, told: str, served: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, *words.split()) == told
    assert served == []


@pytest.mark.parametrize("words, is_on", [
    ("--reload", True), ("--reload=true", True), ("--reload true", True), ("--reload=0", False), ("--reload False", False),
    ("--no-reload", False), ("--reload --no-reload", False),
])
def test_a_switch_may_be_given_a_value(words: str, is_on: bool, served: list[Any]) -> None:
    assert cli.main([*words.split(), "main:app"]) == 7
    assert served[0][1].reload is is_on


def test_the_environment_and_a_file_count_less_than_the_command_line(
    served: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "its.toml").write_text('app = "filed:app"\nport = 1\nbacklog = 2\nlimit_head = 3\n')
    monkeypatch.setenv("PENSTOCK_PORT", "11")
    monkeypatch.setenv("UVICORN_BACKLOG", "12")
    assert cli.main(["--port", "21", "--config", "its.toml"]) == 7
    assert served == [("filed:app", Settings(port=21, backlog=12, limit_head=3))]


def test_words_behind_two_dashes_are_no_options(served: list[Any]) -> None:
    assert cli.main(["--port", "1", "--", "--main:app"]) == 7
    assert served[0][0] == "--main:app"


def test_help_lists_every_option_with_its_default_in_100_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.main(["main:app", "--help", "--nonsense"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    flat = " ".join(text.split())
    for option in options():
        assert option.flag in text
        assert option.doc.help in flat
        assert f"\n{option.doc.group}:\n" in text
    for default in ("(default: 8000)", "(default: 127.0.0.1)", "(auto, on, off; default: auto)", "(default: none)"):
        assert default in flat
    assert "SUPPRESS" not in text


def test_help_fits_a_narrow_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert cli.main(["-h"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 60


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Where it was to be served: in this process (None), or by so many workers."""
    calls: list[Any] = []

    async def supervise(app: str, settings: Settings, count: int) -> int:
        calls.append(count)
        return 7

    def run(app: Any, settings: Settings) -> int:
        calls.append(None)
        return 7

    monkeypatch.setattr(runner, "run", run)
    monkeypatch.setattr(supervisor, "supervise", supervise)
    return calls


def found(app: Any = "main:app", notes: list[tuple[str, str]] | None = None, **options: Any) -> Found:
    return Found(app, Settings(**options), {}, notes or [])


@pytest.mark.parametrize("options, count", [
    ({}, None), ({"workers": 1}, None), ({"workers": 3}, 3), ({"reload": True}, 1), ({"reload": True, "workers": 2}, 2),
])
def test_several_workers_or_a_reload_need_a_supervisor(options: dict[str, Any], count: int | None, started: list[Any]) -> None:
    assert cli.serve(found(**options)) == 7
    assert started == [count]


@pytest.mark.parametrize("options", [{"reload": True}, {"workers": 2}])
def test_an_application_that_is_an_object_cannot_be_loaded_again(
    options: dict[str, Any], started: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.serve(found(object(), **options)) == runner.NOT_STARTED
    assert "need an import string such as main:app" in capsys.readouterr().err
    assert started == []


def test_a_log_configuration_that_is_no_json_cannot_go_to_workers(started: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    config = {"version": 1, "handlers": {"mine": {"()": logging.NullHandler}}, "disable_existing_loggers": False}
    assert cli.serve(found(log_config=config)) == 7
    assert cli.serve(found(log_config=config, workers=2)) == 1
    assert "--log-config: it goes to the workers as JSON, which it cannot (Object of type type" in capsys.readouterr().err
    assert started == [None]


def test_remarks_on_the_options_stand_in_the_log(
    started: list[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    configured: list[Settings] = []
    monkeypatch.setattr(log, "configure", configured.append)
    assert cli.serve(found(notes=[("warning", "one"), ("info", "two")])) == 7
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [("WARNING", "one"), ("INFO", "two")]
    assert configured == [Settings()]


@pytest.mark.parametrize("options", [{"control": "x"}, {"worker_lifetime": 60}, {"limit_worker_memory": 100}])
def test_one_worker_that_is_replaced_or_controlled_needs_a_supervisor(options: dict[str, Any], started: list[Any]) -> None:
    assert cli.serve(found(**options)) == 7
    assert started == [1]


def test_a_command_for_a_running_supervisor_is_none_for_the_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ctl", "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: penstock ctl COMMAND")


def test_version_names_penstock_and_python(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["main:app", "--version"]) == 0
    python = ".".join(map(str, sys.version_info[:3]))
    out = capsys.readouterr().out
    assert out.startswith(f"penstock {penstock.__version__} with ") and f" {python} on {sys.platform}\n" in out


def test_version_loads_neither_the_server_nor_argparse() -> None:
    program = """
import sys
before = set(sys.modules)
from penstock.cli import main
main(['--version'])
print(*set(sys.modules) - before)
"""
    python = [sys.executable, "-c", program]
    result = subprocess.run(python, env=environment(), capture_output=True, text=True, timeout=15)
    assert set(result.stdout.splitlines()[1].split()) == {"penstock", "penstock.cli"}


def test_the_module_can_be_run() -> None:
    result = subprocess.run(command("--version"), env=environment(), capture_output=True, text=True, timeout=15)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("penstock ")


def test_run_serves_an_application_with_options(served: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    async def app() -> None: ...

    with pytest.raises(SystemExit) as caught:
        penstock.run(app, port=1)
    assert caught.value.code == 7
    assert served == [(app, Settings(port=1, app_dir=None))]
    monkeypatch.setattr(cli, "serve", lambda *arguments: 0)
    penstock.run("main:app", app_dir="x")


def test_run_refuses_an_unknown_option_and_a_bad_value(served: list[Any]) -> None:
    with pytest.raises(TypeError, match=r"no option 'prot'; did you mean port\?"):
        penstock.run("main:app", prot=1)
    with pytest.raises(ValueError, match="port must be"):
        penstock.run("main:app", port=-1)
    assert served == []


def test_a_bad_value_in_the_environment_is_no_traceback_of_run(
    served: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "many")
    with pytest.raises(SystemExit) as caught:
        penstock.run("main:app")
    assert caught.value.code == 1
    assert capsys.readouterr().err.startswith(
        "penstock: WEB_CONCURRENCY must be a whole number of at least 1, or none, not 'many'\n")


def test_run_inside_a_running_loop_says_what_is_most_often_wrong(served: list[Any]) -> None:
    async def inside() -> None:
        penstock.run("main:app")

    with pytest.raises(RuntimeError, match="cannot be called inside a running event loop; .* __name__"):
        asyncio.run(inside())
    assert served == []


def test_the_package_gives_its_names_when_they_are_asked_for() -> None:
    assert penstock.Settings is Settings
    assert penstock.ClientDisconnected is ClientDisconnected
    with pytest.raises(AttributeError, match="no attribute 'Sever'"):
        penstock.Sever


def test_the_version_is_that_of_the_package() -> None:
    import tomllib

    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if "version" in project:
        assert project["version"] == penstock.__version__


def test_a_log_that_cannot_be_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(settings: Settings) -> None:
        raise log.LogConfigError("no such log")

    monkeypatch.setattr(log, "configure", refuse)
    assert cli.serve(Found("main:app", Settings(), {}, [])) == 1
    assert capsys.readouterr().err.startswith("penstock: no such log\n")
