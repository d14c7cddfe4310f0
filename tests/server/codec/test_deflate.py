import os
import zlib

import pytest

from penstock.codec.deflate import Deflate, Offer, Parameters, negotiate
from penstock.codec.errors import ProtocolError

USUAL = Parameters(False, False, 12, 12)
NAME = b"permessage-deflate"
HELLO = bytes.fromhex("f248cdc9c90700")


def offer(*parameters: bytes) -> Offer:
    pairs = [each.partition(b"=") for each in parameters]
    return NAME, [(name, value if equals else None) for name, equals, value in pairs]


def answer(*parameters: bytes) -> bytes | None:
    agreed = negotiate([offer(*parameters)])
    return agreed and agreed.encode().removeprefix(b"permessage-deflate; ")


# -- what is agreed on


@pytest.mark.parametrize("offered, answered", [
    ([], b"server_max_window_bits=12"),
    ([b"client_max_window_bits"], b"server_max_window_bits=12; client_max_window_bits=12"),
    ([b"client_max_window_bits=15"], b"server_max_window_bits=12; client_max_window_bits=12"),
    ([b"client_max_window_bits=9"], b"server_max_window_bits=12; client_max_window_bits=9"),
    ([b"client_max_window_bits=8"], b"server_max_window_bits=12; client_max_window_bits=8"),
    ([b"server_max_window_bits=9"], b"server_max_window_bits=9"),
    ([b"server_max_window_bits=15"], b"server_max_window_bits=12"),
    ([b"server_no_context_takeover"], b"server_max_window_bits=12; server_no_context_takeover"),
    ([b"client_no_context_takeover"], b"server_max_window_bits=12; client_no_context_takeover"),
    ([b"server_no_context_takeover", b"client_no_context_takeover", b"server_max_window_bits=10", b"client_max_window_bits"],
     b"server_max_window_bits=10; client_max_window_bits=12; server_no_context_takeover; client_no_context_takeover"),
])
def test_an_offer_that_can_be_taken_is_answered(offered: list[bytes], answered: bytes) -> None:
    assert answer(*offered) == answered


@pytest.mark.parametrize("offered", [
    [b"unknown"], [b"server_no_context_takeover=true"], [b"client_no_context_takeover=1"], [b"server_max_window_bits"],
    [b"server_max_window_bits=8"], [b"server_max_window_bits=7"], [b"server_max_window_bits=16"], [b"server_max_window_bits=010"],
    [b"server_max_window_bits=+10"], [b"server_max_window_bits=abc"], [b"server_max_window_bits=1_0"], [b"client_max_window_bits=7"],
    [b"client_max_window_bits=16"], [b"client_max_window_bits="], [b"client_max_window_bits", b"client_max_window_bits=10"],
    [b"server_no_context_takeover", b"server_no_context_takeover"], [b"Server_No_Context_Takeover"],
])
def test_an_offer_with_a_parameter_that_is_unknown_wrong_or_there_twice_is_declined(offered: list[bytes]) -> None:
    assert answer(*offered) is None


def test_the_first_offer_that_can_be_taken_is_the_one() -> None:
    offers = [(b"other", []), offer(b"unknown"), offer(b"server_max_window_bits=10"), offer()]
    assert negotiate(offers) == Parameters(False, False, 10, None)
    assert negotiate([]) is None and negotiate([(b"other", [])]) is None


# -- messages


def inflate(deflate: Deflate, octets: bytes, most: int = 1 << 20) -> bytes:
    text = deflate.inflate(octets, most)
    return text + deflate.end(most - len(text))


def test_what_is_compressed_can_be_inflated_by_the_other_side() -> None:
    ours, theirs = Deflate(USUAL), Deflate(USUAL)
    for text in (b"", b"x", b"hello " * 100, os.urandom(100_000), b"hello " * 100):
        packed = ours.compress(text)
        assert not packed.endswith(b"\x00\x00\xff\xff")
        assert inflate(theirs, packed) == text


def test_a_window_is_kept_from_one_message_to_the_next_unless_agreed_otherwise() -> None:
    text = os.urandom(1000)
    kept, forgotten = Deflate(USUAL), Deflate(USUAL._replace(server_forgets=True))
    assert len(kept.compress(text)) > 1000 > 50 > len(kept.compress(text))
    assert len(forgotten.compress(text)) == len(forgotten.compress(text)) > 1000
    client = Deflate(USUAL._replace(client_forgets=True))
    assert inflate(client, HELLO) == b"Hello"
    with pytest.raises(ProtocolError):
        inflate(client, bytes.fromhex("f200110000"))


@pytest.mark.parametrize("bits", range(9, 13))
def test_no_more_of_a_window_is_used_than_agreed(bits: int) -> None:
    ours = Deflate(USUAL._replace(server_bits=bits))
    reader = zlib.decompressobj(-bits)
    text = os.urandom(1 << bits) * 3
    assert reader.decompress(ours.compress(text) + b"\x00\x00\xff\xff") == text


def test_a_client_that_was_not_asked_may_use_the_largest_window() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    text = os.urandom(30_000) * 2
    packed = (packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert len(packed) < 35_000
    assert inflate(Deflate(USUAL._replace(client_bits=None)), packed) == text
    assert inflate(Deflate(USUAL._replace(client_bits=8)), HELLO) == b"Hello"


def test_nothing_is_made_before_it_is_needed() -> None:
    deflate = Deflate(USUAL)
    assert deflate._compressor is None and deflate._inflator is None


@pytest.mark.parametrize("most", [0, 1, 999, 1000])
def test_never_more_is_inflated_than_there_may_be(most: int) -> None:
    packed = Deflate(USUAL).compress(b"\0" * 100_000_000)
    assert len(packed) < 600_000
    with pytest.raises(ProtocolError) as caught:
        inflate(Deflate(USUAL), packed, most)
    assert caught.value.status == 1009
    assert inflate(Deflate(USUAL), Deflate(USUAL).compress(b"\0" * most), most) == b"\0" * most


def test_a_last_block_is_followed_by_another_stream() -> None:
    final = bytes.fromhex("f348cdc9c90700")
    deflate = Deflate(USUAL)
    assert inflate(deflate, final + b"\0") == b"Hello"
    assert inflate(deflate, final) == b"Hello"
    assert inflate(deflate, final * 3 + HELLO) == b"Hello" * 4
    assert inflate(deflate, HELLO) == b"Hello"


def test_thousands_of_last_blocks_cost_time_in_proportion() -> None:
    # An empty last block is two octets: copying the rest behind each of them would be a gigabyte of copies.
    deflate = Deflate(USUAL)
    copied = 0
    inner = zlib.decompressobj

    class Counting:
        def __init__(self, bits: int) -> None:
            self._inner = inner(bits)

        def decompress(self, octets: bytes, most: int) -> bytes:
            nonlocal copied
            text = self._inner.decompress(octets, most)
            copied += len(self._inner.unused_data)
            return text

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zlib, "decompressobj", Counting)
        assert deflate.inflate(b"\x03\x00" * 30_000, 10) == b""
    assert 0 < copied < 60_000 * 600


@pytest.mark.parametrize("octets", [b"\xff\xff\xff\xff", b"\x07", bytes.fromhex("f20011000000")])
def test_what_is_no_deflate_is_a_fault_of_the_client(octets: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        inflate(Deflate(USUAL), octets)
    assert caught.value.status == 1007 and "inflated" in caught.value.reason
