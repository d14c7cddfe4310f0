"""The patterns and tables on their own: what each lets pass, and that none of them can be made slow."""

import ipaddress
import re
import time

import pytest

from penstock.codec import grammar
from penstock.codec.grammar import BAD_OCTET, CHUNK_EXTENSIONS, FIELD_OCTETS, HOST, TARGET_OCTETS, TCHAR, is_token, tokens_of


def test_tchar_is_what_the_rfc_lists() -> None:
    # RFC 9110 5.6.2: any VCHAR, except delimiters.
    delimiters = b'"(),/:;<=>?@[\\]{}'
    assert sorted(TCHAR) == sorted(set(range(0x21, 0x7F)) - set(delimiters))


def test_a_token_is_made_of_tchars_and_not_empty() -> None:
    assert is_token(b"GET") and is_token(b"!#$%&'*+-.^_`|~09azAZ")
    assert not is_token(b"") and not is_token(b"a b") and not is_token(b"a:") and not is_token(b"\xe9")


def test_a_field_may_hold_visible_octets_spaces_tabs_and_obs_text_and_nothing_else() -> None:
    allowed = set(FIELD_OCTETS)
    assert {octet for octet in range(256) if octet not in allowed} == {*range(9), *range(10, 32), 127}


def test_a_target_is_visible_ascii_without_a_fragment() -> None:
    assert {octet for octet in range(0x21, 0x7F) if octet not in TARGET_OCTETS} == {ord("#")}
    assert max(TARGET_OCTETS) == 0x7E and min(TARGET_OCTETS) == 0x21


@pytest.mark.parametrize("octets, at", [
    (b"GET / HTTP/1.1\r\nA: b\tc\xff\r\n", None), (b"", None), (b"a\r", None), (b"\r\n\r\n", None),
    (b"a\rb", 1), (b"a\nb", 1), (b"\n", 0), (b"a\r\r\n", 1), (b"a\r\n\n", 3), (b"ab\0", 2), (b"ab\x7f", 2), (b"\x1f", 0),
])
def test_the_first_octet_that_may_not_stand_in_a_head_is_found(octets: bytes, at: int | None) -> None:
    match = BAD_OCTET.search(octets)
    assert (match.start() if match else None) == at


@pytest.mark.parametrize("address", [
    "::", "::1", "1::", "2001:db8::1", "1:2:3:4:5:6:7:8", "::ffff:192.0.2.1", "1:2:3:4:5:6:7::", "fe80::a:b:c:d", "64:ff9b::192.0.2.33",
])
def test_every_form_of_an_ipv6_address_is_a_host(address: str) -> None:
    ipaddress.IPv6Address(address)
    assert HOST.fullmatch(f"[{address}]".encode()) and HOST.fullmatch(f"[{address}]:80".encode())


@pytest.mark.parametrize("value, members", [
    (b"", []), (b",", []), (b" , \t,", []), (b"a", [b"a"]), (b"A, b", [b"a", b"b"]), (b",a,,b,", [b"a", b"b"]), (b"\x0ba", [b"\x0ba"]),
])
def test_a_list_is_its_members_in_lower_case_without_empty_ones(value: bytes, members: list[bytes]) -> None:
    assert tokens_of(value) == members


HARD = [b"a" * 50_000, b";a" * 25_000 + b"?", b";a=b " * 10_000 + b"\t" * 50_000 + b"?", b';a="' + b"\\" * 50_000, b";" + b" " * 50_000,
        b"[" + b":" * 50_000, b"[" + b"1:" * 25_000, b"%41" * 17_000 + b"%", b"http://" + b"a" * 50_000, b"http://a?" + b"?" * 50_000,
        b"\r" * 50_000, b"a\r\n" * 17_000, b"x;a=b" * 10_000, b"\t ;" * 17_000, b'"' * 50_000, b"A" * 50_000, b"GET /" + b"?" * 50_000,
        b"GET / HTTP/1.1" + b"\r\na: b" * 32 + b"\r", b"GET / HTTP/1.1" + b"\r\na: " * 17_000, b"GET / HTTP/1.1" + b"\r\n" + b": b" * 17_000,
        b"GET / HTTP/1.1\r\na:" + b" " * 50_000, (b"GET / HTTP/1.1" + b"\r\na: %b" % (b"b " * 500) * 32)]
# What separates, runs, and what then does not fit: as it looks behind a separator too, where a list is read member by member.
HARD += [first + run * 30_000 + last for first in (b"", b"a", b"a=", b'a="', b";") for run in (b" ", b"\t ", b"a ", b"=", b",", b";a", b"; a = b")
         for last in (b"=", b" ?")]
PATTERNS = {name: value for name, value in vars(grammar).items() if isinstance(value, re.Pattern)}
PATTERNS |= {"usual_head": grammar.usual_head(32), "usual_head_of": grammar.usual_head_of([b"Host", b"Connection", *[b"a"] * 30])}


@pytest.mark.parametrize("name", PATTERNS)
def test_no_pattern_can_be_made_to_backtrack(name: str) -> None:
    pattern = PATTERNS[name]
    for text in HARD:
        start = time.process_time()
        pattern.fullmatch(text)
        pattern.match(text)
        pattern.search(text[:2000])
        # A pattern that is not linear needs minutes for these; one that is, milliseconds.
        assert time.process_time() - start < 2, text[:20]


def test_an_extension_is_read_to_its_end_or_not_at_all() -> None:
    assert CHUNK_EXTENSIONS.fullmatch(b';a="b;c" ; d') and not CHUNK_EXTENSIONS.fullmatch(b";a=b ")
