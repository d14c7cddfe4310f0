import os
import random

import pytest

from penstock.codec.errors import ProtocolError
from penstock.codec.events import Close
from penstock.codec.frames import NO_CODE, close_payload, encode_head, is_close_code, read_close, unmask
from support.ws_cases import masked


@pytest.mark.parametrize("size", [*range(20), 125, 126, 398, 399, 400, 401, 402, 403, 4096, 65537])
def test_a_mask_is_taken_off_as_octet_by_octet(size: int) -> None:
    for key in (b"\x37\xfa\x21\x3d", b"\0\0\0\1", b"\xff\0\0\0", b"\0\0\0\0", os.urandom(4)):
        octets = os.urandom(size)
        plain = unmask(octets, 0, size, key)
        assert plain == masked(octets, key)
        assert unmask(b"abc" + bytes(plain) + b"d", 3, 3 + size, key) == octets
        assert type(plain) is bytes or size >= 126


def test_a_mask_turned_to_the_next_octet_goes_on_where_it_stopped() -> None:
    chosen = random.Random(1)
    octets, key = os.urandom(3000), b"abcd"
    for _ in range(50):
        at = chosen.randrange(3000)
        assert unmask(octets, 0, at, key) + unmask(octets, at, 3000, key[at % 4 :] + key[: at % 4]) == masked(octets, key)


def test_a_length_has_its_shortest_encoding() -> None:
    assert encode_head(0x81, 0) == b"\x81\x00"
    assert encode_head(0xC2, 125) == b"\xc2\x7d"
    assert encode_head(0x82, 126) == b"\x82\x7e\x00\x7e"
    assert encode_head(0x82, 65535) == b"\x82\x7e\xff\xff"
    assert encode_head(0x81, 65536) == b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"


def test_only_codes_that_are_defined_for_it_or_free_to_use_stand_in_a_close() -> None:
    allowed = {code for code in range(65536) if is_close_code(code)}
    assert allowed == {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}


def test_a_close_says_its_code_and_reason() -> None:
    assert read_close(b"") == Close(1005, "")
    assert read_close(b"\x03\xe8") == Close(1000, "")
    assert read_close(b"\x0f\xa0go \xf0\x9f\x98\x81") == Close(4000, "go \U0001f601")


@pytest.mark.parametrize("payload, code", [(b"\x03", 1002), (b"\x03\xed", 1002), (b"\0\0", 1002), (b"\xff\xff", 1002), (b"\x03\xe8\xff", 1007)])
def test_a_close_that_says_what_it_may_not_is_a_fault(payload: bytes, code: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_close(payload)
    assert caught.value.status == code


def test_a_reason_is_cut_between_two_characters() -> None:
    assert close_payload(1000, "x" * 200) == b"\x03\xe8" + b"x" * 123
    payload = close_payload(1000, "x" + "\u20ac" * 50)
    assert len(payload) == 2 + 1 + 40 * 3 and payload[2:].decode() == "x" + "\u20ac" * 40
    assert close_payload(NO_CODE, "") == b""


def test_a_reason_with_half_a_surrogate_pair_is_still_sent() -> None:
    assert close_payload(1000, "a\ud800b") == b"\x03\xe8a?b"
