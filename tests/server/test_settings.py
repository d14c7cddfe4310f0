from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from penstock.settings import Settings, from_options, options


def option(name: str) -> Any:
    return next(each for each in options() if each.name == name)


def test_the_defaults_are_allowed_and_cannot_be_changed() -> None:
    settings = Settings()
    assert (settings.host, settings.port, settings.app_dir) == (("127.0.0.1",), 8000, "")
    with pytest.raises(FrozenInstanceError):
        settings.port = 1  # type: ignore[misc]  # that it fails is the point


def test_every_field_documents_itself() -> None:
    assert [each.name for each in options()] == [each.name for each in fields(Settings)]
    for each in options():
        assert each.doc.help.endswith("."), each.name
        assert each.doc.group, each.name
        assert each.doc.metavar or each.kind is bool, each.name


@pytest.mark.parametrize("name, value, message", [
    ("port", 65536, "port must be a whole number from 0 to 65535, not 65536"),
    ("port", -1, "port must be a whole number from 0 to 65535, not -1"),
    ("port", "80", "port must be a whole number from 0 to 65535, not '80'"),
    ("port", True, "port must be a whole number from 0 to 65535, not True"),
    ("port", None, "port must be a whole number from 0 to 65535, not None"),
    ("host", 1, "host must be several texts, not 1"),
    ("uds", "", "uds must be a path, not ''"),
    ("ready_file", "a\0", "ready_file must be a path, not 'a\\x00'"),
    ("fd", 2**31, "fd must be a whole number from 0 to 2147483647, or none, not 2147483648"),
    ("uds_mode", "rw", "uds_mode must be three octal digits, such as 660, not 'rw'"),
    ("uds_owner", "a:b:c", "uds_owner must be USER, USER:GROUP or :GROUP, not 'a:b:c'"),
    ("http2", True, "http2 must be off, not True: penstock speaks HTTP/1.1; a proxy before it may speak HTTP/2 with the clients"),
    ("loop", "uvloop", "loop must be one of auto, asyncio, none, not 'uvloop':"
                       " penstock runs on its own event loop, which needs nothing installed"),
    ("access_log", 1, "access_log must be True or False, not 1"),
    ("lifespan", "yes", "lifespan must be one of auto, on, off, not 'yes'"),
    ("root_path", "api", "root_path must be empty, or a path that begins with /, not 'api'"),
    ("timeout_head", 0, "timeout_head must be a number of at least 0.001, not 0"),
    ("timeout_body", float("nan"), "timeout_body must be a number of at least 0.001, not nan"),
    ("timeout_write", float("inf"), "timeout_write must be a number of at least 0.001, not inf"),
    ("limit_body", -1, "limit_body must be a whole number of at least 0, or none, not -1"),
    ("reload_dirs", 1, "reload_dirs must be several texts, not 1"),
    ("reload_dirs", ("a", 1), "reload_dirs must be several texts, not ('a', 1)"),
    ("headers", ("a b:1",), "headers must be NAME:VALUE, a name of letters, digits and hyphens that says nothing of a message's"
     " length or connection, not 'a b:1'"),
    ("smoke", ("/", "nope"), "smoke must be a path that begins with /, not 'nope'"),
    ("smoke", "", "smoke must be a path that begins with /, not ''"),
    ("workers", 0, "workers must be a whole number of at least 1, or none, not 0"),
    ("limit_body", 1.5, "limit_body must be a whole number of at least 0, or none, not 1.5"),
])
def test_a_value_that_is_not_allowed_is_named_with_what_is(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Settings(**{name: value})
    assert str(caught.value) == message


@pytest.mark.parametrize("name, value", [
    ("port", 0), ("uds_mode", "0660"), ("uds_owner", ":www"), ("uds_owner", "me"), ("timeout_head", 3), ("timeout_graceful_shutdown", 0), ("timeout_graceful_shutdown", None),
    ("limit_body", None), ("limit_body", 0), ("app_dir", None), ("root_path", "/api"), ("log_level", "trace"),
])
def test_the_edges_of_what_is_allowed_are_allowed(name: str, value: Any) -> None:
    assert getattr(Settings(**{name: value}), name) == value


def test_keywords_become_settings() -> None:
    assert from_options({"port": 1, "access_log": False}) == Settings(port=1, access_log=False)


def test_several_texts_may_be_given_as_a_list_or_as_one_text() -> None:
    assert from_options({"reload_dirs": ["a", "b"], "reload_includes": "*.html", "reload_excludes": None}) == Settings(
        reload_dirs=("a", "b"), reload_includes=("*.html",))
    assert from_options({"host": "::1"}).host == ("::1",)
    assert from_options({"forwarded_allow_ips": ["10.0.0.1", "10.1.0.0/16"]}).forwarded_allow_ips == "10.0.0.1,10.1.0.0/16"
    assert from_options({"host": None}).host == ("127.0.0.1",)


@pytest.mark.parametrize("header", [
    "no-value", ":1", "a:1\r\nb:2", "a:\n", "a:\0", "é:1", "a:€", "content-length:1", "Connection: close", "TRANSFER-ENCODING:chunked",
])
def test_a_header_that_cannot_be_sent_is_refused(header: str) -> None:
    with pytest.raises(ValueError, match="^headers must be NAME:VALUE"):
        Settings(headers=(header,))


def test_headers_may_be_given_as_pairs() -> None:
    assert from_options({"headers": [("X-One", "1"), ["x-two", "a b"]]}).headers == ("X-One:1", "x-two:a b")


def test_a_source_without_a_null_says_none() -> None:
    assert from_options({"limit_body": "none", "uds": "none"}) == Settings(uds="none")


def test_an_unknown_keyword_is_named_with_the_nearest() -> None:
    with pytest.raises(TypeError, match=r"no option 'prot'; did you mean port\?"):
        from_options({"prot": 1})
    with pytest.raises(TypeError, match=r"no option 'zzzzz'$"):
        from_options({"zzzzz": 1})
