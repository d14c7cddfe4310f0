import copy
import io
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock import log
from penstock.log.configuration import LOGGING_CONFIG
from penstock.settings import Settings
from support.logs import exchange, flush
from support.serving import environment

ERROR = logging.getLogger("penstock.error")


def now() -> float:
    return 2.0


def test_messages_go_to_standard_error_under_their_level(out: Any, err: Any) -> None:
    log.configure(Settings())
    ERROR.info("up %d", 1)
    logging.getLogger("penstock").critical("down")
    ERROR.debug("not at this level")
    assert err.getvalue() == "INFO:     up 1\nCRITICAL: down\n"


def test_trace_is_a_level_below_debug(err: Any) -> None:
    log.configure(Settings(log_level="trace"))
    ERROR.log(log.TRACE, "each byte")
    assert err.getvalue() == "TRACE:    each byte\n"


def test_configuring_again_replaces_the_handlers(err: Any) -> None:
    log.configure(Settings())
    first = logging.getLogger("penstock").handlers[0]
    log.configure(Settings(log_level="warning"))
    assert logging.getLogger("penstock").handlers != [first]
    ERROR.info("quiet")
    ERROR.warning("once")
    assert err.getvalue() == "WARNING:  once\n"


def test_the_handlers_of_a_program_stay_and_ours_are_left_out(err: Any) -> None:
    own = io.StringIO()
    logging.getLogger("penstock").addHandler(logging.StreamHandler(own))
    log.configure(Settings())
    ERROR.info("hello")
    assert (own.getvalue(), err.getvalue()) == ("hello\n", "")


def test_a_program_without_a_console_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "stdout", None)
    log.configure(Settings())
    logger = log.access_logger(Settings(), now)
    assert logger is not None
    logger(exchange())
    ERROR.info("nowhere")


def test_colours_can_be_forced(err: Any) -> None:
    log.configure(Settings(use_colors=True))
    ERROR.warning("x")
    assert err.getvalue() == "\x1b[33mWARNING\x1b[0m:  x\n"


def test_json_is_for_both_logs(out: Any, err: Any) -> None:
    log.configure(Settings(log_json=True))
    ERROR.warning("x")
    assert json.loads(err.getvalue())["message"] == "x"


def changed() -> dict[str, Any]:
    """The default as a program changes it."""
    config = copy.deepcopy(LOGGING_CONFIG)
    config["formatters"]["access"]["fmt"] = "%(levelprefix)s|%(client_addr)s|%(request_line)s|%(status_code)s|%(ending)s"
    config["formatters"]["default"]["fmt"] = "> %(message)s"
    return config


def check_changed(err: Any, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(settings)
    ERROR.info("up")
    logger = log.access_logger(settings, now)
    assert logger is not None
    logger(exchange())
    flush()
    assert capsys.readouterr() == ("INFO:    |127.0.0.1:5000|GET / HTTP/1.1|200 OK|ok\n", "> up\n")


def test_the_default_as_a_dict_may_be_changed_and_given_back(err: Any, capsys: pytest.CaptureFixture[str]) -> None:
    check_changed(err, Settings(log_config=changed()), capsys)


def test_the_default_may_be_changed_in_place(monkeypatch: pytest.MonkeyPatch, err: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in changed().items():
        monkeypatch.setitem(LOGGING_CONFIG, name, value)
    check_changed(err, Settings(), capsys)


def test_the_default_as_a_dict_says_what_the_options_do(capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for settings in (Settings(), Settings(log_config=copy.deepcopy(LOGGING_CONFIG))):
        log.configure(settings)
        ERROR.warning("up\n\x1b")
        logger = log.access_logger(settings, now)
        assert logger is not None
        logger(exchange(b'/"'))
        flush()
        said.append(capsys.readouterr())
    assert said[0] == said[1]
    assert "200 OK" in said[0].out


def test_no_log_configuration_leaves_the_loggers_to_the_program(caplog: pytest.LogCaptureFixture, err: Any) -> None:
    with caplog.at_level(logging.INFO):
        log.configure(Settings(log_config=None))
        ERROR.info("for the root")
        logger = log.access_logger(Settings(log_config=None), now)
        assert logger is not None
        logger(exchange())
    assert [record.args for record in caplog.records] == [(), ("127.0.0.1:5000", "GET", "/", "1.1", 200)]
    assert err.getvalue() == ""


TOML = """
version = 1
disable_existing_loggers = false
[formatters.default]
"()" = "penstock.logging.DefaultFormatter"
fmt = "%(levelprefix)s %(message)s"
[handlers.default]
class = "logging.StreamHandler"
formatter = "default"
[loggers.penstock]
handlers = ["default"]
level = "WARNING"
propagate = false
"""
INI = """
[loggers]
keys=root,penstock
[handlers]
keys=console
[formatters]
keys=plain
[logger_root]
handlers=
[logger_penstock]
handlers=console
qualname=penstock
level=WARNING
propagate=0
[handler_console]
class=StreamHandler
formatter=plain
args=(sys.stderr,)
[formatter_plain]
class=penstock.logging.DefaultFormatter
format=%(levelprefix)s %(message)s
"""
JSON = json.dumps({
    "version": 1, "disable_existing_loggers": False,
    "formatters": {"default": {"()": "penstock.logging.DefaultFormatter", "fmt": "%(levelprefix)s %(message)s"}},
    "handlers": {"default": {"class": "logging.StreamHandler", "formatter": "default"}},
    "loggers": {"penstock": {"handlers": ["default"], "level": "WARNING", "propagate": False}},
})


@pytest.mark.parametrize("name, text", [("log.toml", TOML), ("log.ini", INI), ("log.conf", INI), ("log.json", JSON)])
def test_a_configuration_is_read_from_a_file(tmp_path: Path, err: Any, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    root = logging.getLogger()
    before = list(root.handlers), root.level
    try:
        log.configure(Settings(log_config=str(tmp_path / name)))
    finally:
        root.handlers[:], root.level = before
    ERROR.info("its own level counts")
    ERROR.warning("shown")
    assert err.getvalue() == "WARNING:  shown\n"


def test_a_level_given_beside_a_configuration_counts(tmp_path: Path, err: Any) -> None:
    (tmp_path / "log.json").write_text(JSON)
    log.configure(Settings(log_config=str(tmp_path / "log.json"), log_level="debug"))
    ERROR.debug("shown")
    assert err.getvalue() == "DEBUG:    shown\n"


def test_colours_asked_for_reach_a_configuration(tmp_path: Path, err: Any) -> None:
    (tmp_path / "log.json").write_text(JSON)
    log.configure(Settings(log_config=str(tmp_path / "log.json"), use_colors=True))
    ERROR.error("x")
    assert err.getvalue() == "\x1b[31mERROR\x1b[0m:    x\n"


@pytest.mark.parametrize("name, text, reason", [
    ("none.json", None, "No such file"),
    ("none.ini", None, "No such file"),
    ("bad.json", "{", "Expecting property name"),
    ("bad.toml", "=", "Invalid statement"),
    ("bad.ini", "nothing", "no section headers"),
    ("list.json", "[]", "it holds no table of settings"),
    ("version.json", "{}", "lacks a 'version'|unable|KeyError|version"),
    ("class.json", JSON.replace("DefaultFormatter", "NoFormatter"), "NoFormatter"),
    ("x.yaml", "a: 1", "YAML needs the package PyYAML"),
])
def test_a_configuration_that_does_not_work_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str | None, reason: str
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(log.LogConfigError, match=reason) as caught:
        log.configure(Settings(log_config=str(tmp_path / name)))
    assert str(caught.value).startswith(f"--log-config {tmp_path / name}: ")


def test_yaml_is_read_where_there_is_a_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, err: Any) -> None:
    class Yaml:
        safe_load = staticmethod(json.load)

    monkeypatch.setitem(sys.modules, "yaml", Yaml)
    (tmp_path / "log.yml").write_text(JSON)
    log.configure(Settings(log_config=str(tmp_path / "log.yml")))
    ERROR.warning("shown")
    assert err.getvalue() == "WARNING:  shown\n"


@pytest.mark.parametrize("options, message", [
    ({"access_log_format": "%(nonsense)s"}, r"--access-log-format: %\(nonsense\)s is no atom"),
    ({"log_config": {"version": 1}, "log_json": True}, "--log-json and --log-config"),
])
def test_options_that_make_no_sense_are_refused(options: Any, message: str) -> None:
    with pytest.raises(log.LogConfigError, match=message):
        log.configure(Settings(**options))


PRINTS = """
import sys
from penstock import log
from penstock.settings import Settings
log.configure(Settings())
for _ in range(300):
    log.tell([("info", "logged")])
    print("printed", file=sys.stderr)
"""


def test_what_an_unbuffered_program_prints_is_not_split_by_the_log() -> None:
    done = subprocess.run([sys.executable, "-u", "-c", PRINTS], env=environment(), capture_output=True, text=True, timeout=30)
    assert sorted(set(done.stderr.splitlines())) == ["INFO:     logged", "printed"]
    assert done.stderr.count("\n") == 600


def test_after_a_flush_everything_is_written(err: Any) -> None:
    log.configure(Settings())
    for number in range(100):
        logging.getLogger("penstock.error").info("line %d", number)
    log.flush()
    assert err.getvalue().endswith("line 99\n")
