from pathlib import Path
from typing import Any

import pytest

from penstock.settings import Settings, options
from penstock.sources import UVICORN, Found, SourceError, from_command_line, from_keywords


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which is empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(given: dict[str, Any] | None = None, environ: dict[str, str] | None = None) -> Found:
    return from_command_line(given or {}, environ or {})


def wrong(given: dict[str, Any] | None = None, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(SourceError) as caught:
        found(given, environ)
    return str(caught.value).splitlines()


def test_without_any_source_the_defaults_hold() -> None:
    assert found() == Found(None, Settings(), {}, [])


@pytest.mark.parametrize("flag, ours, uvicorns, file, port, origin", [
    ("1", "2", "3", "port = 4", 1, "--port"),
    (None, "2", "3", "port = 4", 2, "PENSTOCK_PORT"),
    (None, None, "3", "port = 4", 3, "UVICORN_PORT"),
    (None, "", "", "port = 4", 4, "pyproject.toml:2"),
    (None, None, None, "", 8000, None),
])
def test_the_command_line_counts_most_then_the_environment_then_a_file(
    flag: str | None, ours: str | None, uvicorns: str | None, file: str, port: int, origin: str | None, here: Path
) -> None:
    (here / "pyproject.toml").write_text("[tool.penstock]\n" + file)
    environ = {name: value for name, value in (("PENSTOCK_PORT", ours), ("UVICORN_PORT", uvicorns)) if value is not None}
    result = found({"port": flag} if flag else {}, environ)
    assert (result.settings.port, result.origins.get("port"), result.notes) == (port, origin, [])


def test_only_the_value_that_counts_need_be_right(here: Path) -> None:
    (here / "pyproject.toml").write_text('[tool.penstock]\nloop = "trio"\n')
    environ = {"UVICORN_LOOP": "uvloop", "PENSTOCK_LOOP": "zuvloop"}
    assert found({"loop": "auto"}, environ).settings.loop == "auto"
    assert wrong({}, environ)[0].startswith("PENSTOCK_LOOP must be one of auto, asyncio, none, not 'zuvloop'")


def test_every_option_is_an_environment_variable_and_a_key_of_a_file(here: Path) -> None:
    for option in options():
        value: Any = option.default
        text = "none" if value is None else " ".join(value) if isinstance(value, tuple) else str(value)
        if text and not (value is None and option.kind is str):
            result = found({}, {f"PENSTOCK_{option.name.upper()}": text})
            assert (getattr(result.settings, option.name), list(result.origins)) == (value, [option.name])
        quoted = str(value).lower() if isinstance(value, bool | int | float) else repr(list(value or ()))
        if isinstance(value, str | None):
            quoted = '"none"' if value is None else f'"{value}"'
        (here / "all.toml").write_text(f"{option.name} = {quoted}\n")
        if not (value is None and option.kind is str):
            result = found({"config": "all.toml"})
            assert (getattr(result.settings, option.name), result.origins) == (value, {option.name: "all.toml:1"})


def test_lists_in_the_environment_are_split_on_white_space() -> None:
    result = found({}, {"UVICORN_RELOAD_DIRS": "a  b", "PENSTOCK_HOST": "::1 127.0.0.1"})
    assert (result.settings.reload_dirs, result.settings.host) == (("a", "b"), ("::1", "127.0.0.1"))


def test_what_platforms_say_in_common_counts_less_than_what_is_said_to_us() -> None:
    assert found({}, {"WEB_CONCURRENCY": "4"}).settings.workers == 4
    assert found({}, {"WEB_CONCURRENCY": "4", "UVICORN_WORKERS": "3"}).settings.workers == 3
    for environ, trusted in (({}, "10.0.0.1"), ({"UVICORN_FORWARDED_ALLOW_IPS": "*"}, "*")):
        assert found({}, {"FORWARDED_ALLOW_IPS": "10.0.0.1", **environ}).settings.forwarded_allow_ips == trusted
    assert wrong({}, {"WEB_CONCURRENCY": "0"}) == ["WEB_CONCURRENCY must be a whole number of at least 1, or none, not 0"]


@pytest.mark.parametrize("given, environ, file, app", [
    ({"app": "a:app"}, {"PENSTOCK_APP": "b:app", "UVICORN_APP": "c:app"}, "d:app", "a:app"),
    ({}, {"PENSTOCK_APP": "b:app", "UVICORN_APP": "c:app"}, "d:app", "b:app"),
    ({}, {"UVICORN_APP": "c:app"}, "d:app", "c:app"),
    ({}, {}, "d:app", "d:app"),
])
def test_the_application_may_be_named_anywhere(
    given: dict[str, Any], environ: dict[str, str], file: str, app: str, here: Path
) -> None:
    (here / "pyproject.toml").write_text(f'[tool.penstock]\napp = "{file}"\n')
    assert found(given, environ).app == app


# -- the environment


def test_an_unknown_variable_of_ours_is_remarked_with_the_nearest() -> None:
    result = found({}, {"PENSTOCK_PROT": "1", "UVICORN_PROT": "1", "PENSTOCK_CONFIG": "", "PORT": "1"})
    assert result == Found(None, Settings(), {}, [
        ("warning", "There is no option for the environment variable PENSTOCK_PROT; did you mean PENSTOCK_PORT?")])


def test_uvicorns_variables_hold_only_for_its_own_options() -> None:
    assert found({}, {"UVICORN_LIMIT_HEAD": "1"}) == Found(None, Settings(), {}, [])
    assert UVICORN <= {"app"} | {option.name for option in options()}


def test_all_that_is_wrong_is_told_at_once(here: Path) -> None:
    (here / "pyproject.toml").write_text('[tool.penstock]\n\nport = "http"\n')
    assert wrong({"backlog": "x"}, {"PENSTOCK_RELOAD": "perhaps"}) == [
        "pyproject.toml:3: port must be a whole number from 0 to 65535, not 'http'",
        "PENSTOCK_RELOAD must be True or False, not 'perhaps'",
        "--backlog must be a whole number from 1 to 2147483647, not 'x'",
    ]


# -- files


def test_the_project_file_is_left_alone_when_it_does_not_speak_of_penstock(here: Path) -> None:
    (here / "pyproject.toml").write_text("this is [[[ no TOML")
    assert found().settings == Settings()
    (here / "pyproject.toml").write_text('[project]\ndependencies = ["penstock"]\ntool = 1')
    assert found().settings == Settings()
    (here / "pyproject.toml").unlink()
    (here / "pyproject.toml").mkdir()
    assert found().settings == Settings()


def test_a_file_that_is_named_replaces_the_project_file(here: Path) -> None:
    (here / "pyproject.toml").write_text("[tool.penstock]\nport = 1\nbacklog = 2\n")
    text = "\ufeff# ours\r\nport = 3\r\nreload-dirs = ['a']\r\nlimit_body = 'none'\r\n"
    (here / "its.toml").write_bytes(text.encode())
    result = found({"config": "its.toml"})
    assert result.settings == Settings(port=3, reload_dirs=("a",))
    assert result.origins == {"port": "its.toml:2", "reload_dirs": "its.toml:3", "limit_body": "its.toml:4"}
    assert found({}, {"PENSTOCK_CONFIG": "its.toml"}).settings == result.settings


def test_a_project_file_may_be_named_and_has_a_table_of_ours(here: Path) -> None:
    (here / "sub").mkdir()
    (here / "sub" / "pyproject.toml").write_text("[project]\nport = 1\n[ tool . penstock ] # ours\nport = 2\n[tool.other]\nport = 3\n")
    result = found({"config": "sub/pyproject.toml"})
    assert (result.settings.port, result.origins) == (2, {"port": "sub/pyproject.toml:4"})
    (here / "other.toml").write_text("tool.penstock.port = 5")
    result = found({"config": "other.toml"})
    assert (result.settings.port, result.origins) == (5, {"port": "other.toml"})
    (here / "sub" / "pyproject.toml").write_text("[project]\nport = 1\n")
    assert found({"config": "sub/pyproject.toml"}).settings == Settings()


@pytest.mark.parametrize("text, told", [
    ("prot = 1", "its.toml:1: penstock has no option 'prot'; did you mean port?"),
    ("port = 1\n[server]\nport = 2", "its.toml: penstock has no option 'server'; did you mean server_header?"),
    ("limit-head = 1\nlimit_head = 2", "its.toml:2: limit_head is there already, at its.toml:1"),
    ("port = '80'", "its.toml:1: port must be a whole number from 0 to 65535, not '80'"),
    ("access_log = 1", "its.toml:1: access_log must be True or False, not 1"),
    ("reload_dirs = [1]", "its.toml:1: reload_dirs must be several texts, not (1,)"),
    ("app = 1", "its.toml:1: app must be text, not 1"),
    ("port = ]", "its.toml cannot be read as TOML: Invalid value (at line 1, column 8)"),
    ("[tool]\npenstock = 1", "its.toml: tool.penstock must be a table of options"),
    (b"\xff", "its.toml cannot be read as TOML: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
])
def test_a_mistake_in_a_file_is_named_with_its_line(text: Any, told: str, here: Path) -> None:
    (here / "its.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert wrong({"config": "its.toml"}) == [told]


def test_a_file_that_is_named_must_be_there() -> None:
    assert wrong({"config": "gone.toml"}) == ["--config: cannot read gone.toml: No such file or directory"]
    assert wrong({}, {"PENSTOCK_CONFIG": "gone.toml"}) == ["PENSTOCK_CONFIG: cannot read gone.toml: No such file or directory"]


# -- several together


def test_two_that_exclude_each_other_are_named(here: Path) -> None:
    assert wrong({"uds": "a", "fd": "3"}) == ["--uds and --fd exclude each other: leave one of them out"]
    environ = {"PENSTOCK_UDS": "a", "UVICORN_FD": "3"}
    assert wrong({}, environ) == ["PENSTOCK_UDS and UVICORN_FD exclude each other: leave one of them out"]


def test_of_two_ways_to_say_where_to_listen_the_stronger_source_counts(here: Path) -> None:
    (here / "pyproject.toml").write_text('[tool.penstock]\nuds = "a"\nport = 1\n')
    assert found().settings == Settings(uds="a", port=1)
    assert found({"fd": "3"}).settings == Settings(fd=3)
    result = found({"port": "2"})
    assert (result.settings, result.notes) == (Settings(port=2), [])


@pytest.mark.parametrize("given, told", [
    ({"reload_dirs": ["a"]}, "--reload-dir does nothing without --reload"),
    ({"ssl_ca_certs": "ca.pem"}, "--ssl-ca-certs does nothing without --ssl-certfile"),
    ({"forwarded_allow_ips": "*", "proxy_headers": False}, "--forwarded-allow-ips does nothing without --proxy-headers"),
    ({"uds_mode": "600"}, "--uds-mode does nothing without --uds"),
    ({"uds": "a", "port": "1"}, "--port does nothing beside --uds"),
    ({"fd": "3", "host": ["::"]}, "--host does nothing beside --fd"),
])
def test_what_does_nothing_is_remarked(given: dict[str, Any], told: str, here: Path) -> None:
    assert found(given).notes == [("warning", told)]
    environ = {f"PENSTOCK_{name.upper()}": " ".join(value) if isinstance(value, list) else str(value) for name, value in given.items()}
    assert found({}, environ).notes == []


def test_a_default_that_is_said_again_is_no_reason_for_a_remark() -> None:
    assert from_keywords("a", {"host": "127.0.0.1", "port": 8000, "uds": "s", "reload_delay": 0.25}, {}).notes == []


@pytest.mark.parametrize("given, told", [
    ({"loop": "asyncio"}, "--loop: penstock runs on its own event loop, which needs nothing installed"),
    ({"http": "h11"}, "--http: penstock has one HTTP/1.1 parser, its own"),
    ({"reset_contextvars": True}, "--reset-contextvars: penstock gives each request a fresh context in any case"),
])
def test_what_is_taken_for_another_servers_sake_is_said(given: dict[str, Any], told: str) -> None:
    assert found(given).notes == [("info", told)]
    assert found(dict.fromkeys(given, "auto") if "reset_contextvars" not in given else {}).notes == []


def test_an_option_under_another_name_counts_where_the_first_is_not_given() -> None:
    assert found({"h11_max_incomplete_event_size": "5"}).settings.limit_head == 5
    assert found({"h11_max_incomplete_event_size": "5", "limit_head": "6"}).settings.limit_head == 6


# -- a program's own


def test_keywords_are_taken_as_they_are_and_of_the_environment_what_uvicorn_takes() -> None:
    app = object()
    environ = {"WEB_CONCURRENCY": "2", "PENSTOCK_PORT": "1", "UVICORN_PORT": "1"}
    environ["FORWARDED_ALLOW_IPS"] = "10.0.0.1"
    result = from_keywords(app, {"backlog": 5, "workers": None, "reload_dirs": None, "forwarded_allow_ips": None}, environ)
    assert (result.app, result.settings) == (app, Settings(backlog=5, workers=2, forwarded_allow_ips="10.0.0.1"))
    assert (result.origins["backlog"], result.origins["workers"]) == ("keyword", "WEB_CONCURRENCY")
    assert from_keywords(app, {"workers": 1}, environ).settings.workers == 1


def test_a_wrong_keyword_is_the_programs_mistake_and_the_rest_a_users() -> None:
    with pytest.raises(TypeError, match=r"no option 'prot'; did you mean port\?"):
        from_keywords("a", {"prot": 1}, {})
    with pytest.raises(ValueError, match="^port must be a whole number from 0 to 65535, not '80'$") as caught:
        from_keywords("a", {"port": "80"}, {})
    assert not isinstance(caught.value, SourceError)
    with pytest.raises(SourceError, match="^WEB_CONCURRENCY must be"):
        from_keywords("a", {}, {"WEB_CONCURRENCY": "x"})
    with pytest.raises(SourceError, match="^uds and fd exclude each other"):
        from_keywords("a", {"uds": "x", "fd": 3}, {})


@pytest.mark.parametrize("value", [
    "-1", "0", "1.5", "nan", "inf", "1e300", str(2**70), "true", "false", '""', "'none'", "'a\\u0000b'", '"\\u00e9\\ud7ff"', "'1'", "[]",
    "['']", "[1]", "[[]]", "['a', 'b']", "{}", "{a = 1}", "[{a = 1}]", "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z",
])
def test_any_value_of_a_file_is_taken_or_refused_with_its_place(value: str, here: Path) -> None:
    for name in ("app", *(option.name for option in options())):
        (here / "its.toml").write_text(f"# one\n{name} = {value}\n", encoding="utf-8")
        try:
            result = found({"config": "its.toml"})
        except SourceError as error:
            assert str(error).startswith(f"its.toml:2: {name} must be "), name
        else:
            assert result.origins[name] == "its.toml:2"


@pytest.mark.parametrize("text", ["-1", "1e300", "\udcff", "a\tb", "None", "\x00", "9" * 5000, "1_0", "\u0663"])
def test_any_text_of_the_environment_is_taken_or_refused_with_its_variable(text: str) -> None:
    for option in options():
        variable = f"PENSTOCK_{option.name.upper()}"
        try:
            found({}, {variable: text})
        except SourceError as error:
            assert str(error).startswith(f"{variable} must be "), option.name
