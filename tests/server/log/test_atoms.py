import os
import re
from base64 import b64encode

import pytest

from penstock.log.atoms import compile_format, wants_response_fields
from support.logs import exchange

MEASURES = {"received": 7, "sent": 5, "duration": 1.234567, "first_byte": 0.5, "ending": "ok", "request_id": None}
FIELDS = [(b"referer", b"http://r/"), (b"user-agent", b'a "b"\\'), (b"x-a", b"1"), (b"x-a", b"2")]


@pytest.mark.parametrize("text, shown", [
    ("%(h)s %(l)s %(u)s", "127.0.0.1 - -"),
    ("%(r)s|%(m)s|%(U)s|%(q)s|%(H)s", "GET /p?q=1 HTTP/1.1|GET|/p|q=1|HTTP/1.1"),
    ("%(s)s %(B)s %(b)s", "200 5 5"),
    ('"%(f)s" "%(a)s"', '"http://r/" "a \\x22b\\x22\\x5c"'),
    ("%(T)s %(M)s %(D)s %(L)s", "1 1234 1234567 1.234567"),
    ("%(p)s", f"<{os.getpid()}>"),
    ("%({X-A}i)s %({none}i)s", "1, 2 -"),
    ("%({Set-Cookie}o)s", "c=\\x0a"),
    ("%({PENSTOCK_TEST}e)s %({PENSTOCK_NONE}e)s", "env -"),
    ("%(received)s %(first_byte)s %(ending)s %(request_id)s", "7 0.500000 ok -"),
    ("100 %% %(h)-12s|", "100 % 127.0.0.1   |"),
    ("nothing", "nothing"),
])
def test_each_atom_shows_what_gunicorns_does(text: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_TEST", "env")
    given = exchange(b"/p", query=b"q=1", fields=FIELDS)
    given.fields = [(b"Set-Cookie", b"c=\n")]
    assert compile_format(text, lambda _: MEASURES)(given) == shown


def test_the_time_is_that_of_common_log_format() -> None:
    assert re.fullmatch(r"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]", compile_format("%(t)s", lambda _: MEASURES)(exchange()))


@pytest.mark.parametrize("credentials, user", [
    (b"Basic " + b64encode(b"ada:secret"), "ada"),
    (b"basic " + b64encode("ä\n:x".encode()), "\\xe4\\x0a"),
    (b"Basic no-base64!", "-"),
    (b"Basic " + "\xe4".encode("latin-1"), "-"),
    (b"Bearer token", "-"),
])
def test_the_user_of_basic_credentials_is_shown_and_never_the_password(credentials: bytes, user: str) -> None:
    given = exchange(fields=[(b"authorization", credentials)])
    assert compile_format("%(u)s", lambda _: MEASURES)(given) == user


def test_the_client_that_a_proxy_names_is_shown_and_none_is_a_dash() -> None:
    line = compile_format("%(h)s", lambda _: MEASURES)
    assert line(exchange(forwarded_client=("192.0.2.1", 0))) == "192.0.2.1"
    assert line(exchange(client=None)) == "-"


@pytest.mark.parametrize("text, blamed", [
    ("%(h)s %(x)s", "%(x)s is no atom; there are h l u"),
    ("%({a}x)s", "%({a}x)s is no atom"),
    ("%(h)d", "'%(h)d' is no atom"),
    ("%h", "'%h' is no atom: they look like %(h)s"),
    ("%(h)", "'%(h)' is no atom"),
    ("50 %", "'%' is no atom"),
])
def test_what_is_no_atom_is_named(text: str, blamed: str) -> None:
    with pytest.raises(ValueError) as caught:
        compile_format(text, lambda _: MEASURES)
    assert str(caught.value).startswith(blamed)


def test_fields_of_the_response_are_kept_only_for_a_format_that_shows_them() -> None:
    assert wants_response_fields("%({etag}o)s")
    assert not wants_response_fields("%({etag}i)s")
    assert not wants_response_fields(None)
