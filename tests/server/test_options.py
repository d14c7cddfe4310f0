from typing import Any

import pytest

from penstock.options import Option, did_you_mean
from penstock.settings import options


def option(name: str) -> Option:
    return next(each for each in options() if each.name == name)


@pytest.mark.parametrize("name, text, value", [
    ("port", "0", 0), ("host", "::1", ("::1",)), ("uds", "a b", "a b"), ("timeout_head", "2.5", 2.5), ("limit_body", "none", None),
    ("timeout_startup", "None", None), ("app_dir", "none", "none"), ("log_level", "debug", "debug"),
    ("reload_dirs", " a  b ", ("a", "b")), ("reload", "1", True), ("reload", "TRUE", True), ("access_log", "off", False),
])
def test_text_is_read_as_the_kind_of_its_option(name: str, text: str, value: Any) -> None:
    assert option(name).parse(text) == value


@pytest.mark.parametrize("name, text, message", [
    ("port", "http", "--port must be a whole number from 0 to 65535, not 'http'"),
    ("port", "none", "--port must be a whole number from 0 to 65535, not 'none'"),
    ("reload", "maybe", "--reload must be True or False, not 'maybe'"),
    ("timeout_head", "-1", "--timeout-head must be a number of at least 0.001, not -1.0"),
])
def test_text_that_cannot_be_read_is_refused_under_the_name_it_has_there(name: str, text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        option(name).parse(text)
    assert str(caught.value) == message


def test_the_beginning_of_a_word_is_near_enough() -> None:
    assert did_you_mean("--p", ["--host", "--port"]) == "; did you mean --port?"
    assert did_you_mean("--q", ["--host", "--port"]) == ""


@pytest.mark.parametrize("name, value, text", [
    ("reload", True, "on"), ("reload", False, "off"), ("port", 1, "1"), ("timeout_head", 2.0, "2"), ("limit_body", None, "none"),
    ("reload_dirs", ("a", "b"), "a b"), ("reload_dirs", (), ""), ("root_path", "/api", "/api"),
])
def test_a_value_is_written_as_people_read_it(name: str, value: Any, text: str) -> None:
    assert option(name).written(value) == text
