"""docs/settings.md and docs/from-uvicorn.md say what is so."""

import re
from typing import Any

import pytest
from support.serving import CHECKOUT
from support.settings_page import PAGE, page

from penstock.options import Option
from penstock.settings import options
from penstock.sources import UVICORN

SETTINGS = PAGE.read_text(encoding="utf-8")
COMING = (CHECKOUT / "docs" / "from-uvicorn.md").read_text(encoding="utf-8")


def test_the_tables_of_the_settings_are_those_of_the_fields() -> None:
    assert page(SETTINGS) == SETTINGS, "docs/settings.md is not up to date: run `make settings`"


def test_a_page_that_has_lost_its_mark_is_not_overwritten() -> None:
    with pytest.raises(ValueError, match="has lost its line"):
        page("# Settings\n")


def test_every_option_of_uvicorn_is_in_the_table_and_no_other() -> None:
    rows = re.findall(r"^\| `(--[\w-]+)` \| (.+) \|$", COMING, re.MULTILINE)
    names = {"reload_dir": "reload_dirs", "reload_include": "reload_includes", "reload_exclude": "reload_excludes",
             "header": "headers"}  # fmt: skip
    listed = [flag[2:].replace("-", "_") for flag, _ in rows]
    assert {names.get(name, name) for name in listed} == (UVICORN - {"app"}) | {"version", "help"}
    assert len(rows) == len(set(listed)) == 52


def uvicorns_defaults() -> dict[str, Any]:
    """Those that are not `none`, empty or off."""
    return {
        "host": ("127.0.0.1",), "port": 8000, "reload_delay": 0.25, "loop": "auto", "http": "auto", "ws": "auto",
        "ws_max_size": 16777216, "ws_max_queue": 32, "ws_ping_interval": 20.0, "ws_ping_timeout": 20.0,
        "ws_per_message_deflate": True, "lifespan": "auto", "interface": "auto", "log_level": "info", "access_log": True,
        "proxy_headers": True, "server_header": True, "date_header": True, "backlog": 2048, "timeout_keep_alive": 5.0,
        "timeout_worker_healthcheck": 5.0, "ssl_version": 17,
    }  # fmt: skip


def is_same(option: Option) -> bool:
    return re.search(rf"^\| `{option.flag}` \| same\b", COMING, re.MULTILINE) is not None


def test_what_is_called_the_same_has_the_same_default() -> None:
    ours = {option.name: option for option in options()}
    for name, default in uvicorns_defaults().items():
        if name in ours and is_same(ours[name]):
            assert ours[name].default == default, name
    for option in options():
        if option.name in UVICORN and is_same(option) and option.name not in uvicorns_defaults():
            # Which addresses are trusted stands in a text of its own.
            assert not option.default or option.name == "forwarded_allow_ips", option.name


def test_the_pages_name_only_options_that_there_are() -> None:
    ours = {option.flag for option in options()} | {"--config", "--version", "--help", "--all", "--json", "--no-", "--no-access-log"}
    of_uvicorn = {"--" + name.replace("_", "-") for name in UVICORN} | {"--header"}
    for text in (SETTINGS, COMING):
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text)) - of_uvicorn <= ours
