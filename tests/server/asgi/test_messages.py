from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import pytest

from penstock.asgi.messages import explained, kind_of, octets_of, take, wrong
from penstock.connection.exchange import ResponseError

MESSAGE = {"type": "x.y", "number": 3, "flag": True, "status": HTTPStatus.OK, "text": "a", "body": bytearray(b"abc")}


@pytest.mark.parametrize("key, kinds, value", [
    ("number", int, 3), ("status", int, 200), ("flag", bool, True), ("text", (str, bytes), "a"), ("text", Iterable, "a"),
])
def test_what_is_right_is_taken(key: str, kinds: Any, value: Any) -> None:
    assert take(MESSAGE, key, kinds, "") == value


def test_what_may_be_left_out_has_its_default() -> None:
    assert take(MESSAGE, "nothing", int, "an int", None) is None
    assert take({"offset": None}, "offset", int, "an int", None) is None


@pytest.mark.parametrize("key, kinds, wanted, error, told", [
    ("number", str, "a str", TypeError, "x.y: 'number' must be a str, not int"),
    ("flag", int, "an int", TypeError, "x.y: 'flag' must be an int, not bool"),
    ("number", bool, "a bool", TypeError, "x.y: 'number' must be a bool, not int"),
    ("nothing", int, "an int", ValueError, "x.y without 'nothing'"),
])
def test_what_is_wrong_names_message_key_and_what_was_expected(
    key: str, kinds: type, wanted: str, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=f"^{told}$"):
        take(MESSAGE, key, kinds, wanted)


@pytest.mark.parametrize("message, error, told", [
    (None, TypeError, "a message must be a dict, not NoneType"),
    ([], TypeError, "a message must be a dict, not list"),
    ({}, ValueError, "a message without 'type'"),
    ({"type": b"x.y"}, TypeError, "b'x.y': 'type' must be a str, not bytes"),
])
def test_a_message_is_a_dict_with_a_type(message: Any, error: type[Exception], told: str) -> None:
    assert kind_of(MESSAGE) == "x.y"
    with pytest.raises(error, match=f"^{told}$"):
        kind_of(message)


def test_an_error_is_told_in_the_words_of_the_message() -> None:
    mistake = TypeError("of the app itself")
    assert explained(mistake, MESSAGE) is mistake
    no_key = KeyError("status")
    assert explained(no_key, MESSAGE) is no_key
    assert str(explained(no_key, {"type": "http.response.start"})) == "http.response.start without 'status'"
    told = explained(ResponseError("too long"), MESSAGE)
    assert type(told) is ValueError and str(told) == "x.y: too long"


@pytest.mark.parametrize("value", [b"abc", bytearray(b"abc"), memoryview(b"abc")])
def test_every_buffer_is_octets(value: Any) -> None:
    assert octets_of({"type": "x.y", "body": value}, "body") == b"abc"


@pytest.mark.parametrize("value", ["abc", None, 3, [1]])
def test_what_is_no_buffer_is_no_octets(value: Any) -> None:
    with pytest.raises(TypeError, match="x.y: 'body' must be bytes, not "):
        octets_of({"type": "x.y", "body": value}, "body")


def test_a_wrong_value_is_named_by_its_type_alone() -> None:
    assert "secret" not in str(wrong({"type": "x.y", "a": "secret"}, "a", "bytes"))
