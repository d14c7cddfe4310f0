"""A few seconds of the fuzzer with every run of the tests, and that it would notice what it looks for."""

import random

import pytest

import fuzz
from penstock.codec.http1 import Http1Codec
from penstock.codec.websocket import WebSocketCodec
from support import ws_mutation
from support.cases import load, unescape
from support.mutation import Maker


def test_a_short_run_on_the_codec_finds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--inputs", "5000", "--seed", str(random.randrange(1 << 32))]) == 0, capsys.readouterr().out


def test_the_same_seed_makes_the_same_inputs() -> None:
    known = [case.octets for case in load()[:20]]
    one, other = Maker(5, known), Maker(5, known)
    assert [one.make() for _ in range(50)] == [other.make() for _ in range(50)]


def test_pieces_make_up_the_whole() -> None:
    maker = Maker(1, [])
    for _ in range(200):
        octets = maker.make()
        assert b"".join(maker.pieces(octets)) == octets


def test_a_codec_that_depends_on_how_it_is_fed_is_found_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def feed(self: Http1Codec, octets: bytes) -> None:
        self.buffer.feed(octets.replace(b"\n\n", b"\n"))

    monkeypatch.setattr(Http1Codec, "feed", feed)
    assert fuzz.main(["--inputs", "20000", "--seed", "1"]) == 1
    assert "=== found by fuzzing" in capsys.readouterr().out


@pytest.mark.parametrize("octets, is_kept", [
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", True),
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n", False),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\naa\r\n", False),
])  # fmt: skip
def test_what_ends_with_the_next_requests_empty_line_does_not_come_before_another(octets: bytes, is_kept: bool) -> None:
    before: list[bytes] = []
    fuzz.check_codec(Maker(1, []), octets, before)
    assert before == [octets] * is_kept
    fuzz.check_codec(Maker(1, []), b"\r\nGET", before)


def test_what_it_finds_is_printed_as_a_case() -> None:
    octets = b"GET /\\ HTTP/1.1\r\nA: \0\xff\t\r\n\r\nab"
    text = fuzz.as_case(octets).split("\n", 2)[2]
    lines = text.removesuffix("\n").split("\n")
    assert b"".join(unescape(line[:-1]) if line.endswith("b\\") else unescape(line) + b"\r\n" for line in lines) == octets


def test_a_short_run_on_frames_finds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--websocket", "--inputs", "5000", "--seed", str(random.randrange(1 << 32))]) == 0, capsys.readouterr().out


def test_the_second_reading_takes_nothing_for_half_a_surrogate_that_is_none() -> None:
    fragments = b"\x01\x81\0\0\0\0\xed\x00\x81\0\0\0\0\xec\x89\x80\0\0\0\0\x80\x80\0\0\0\0"
    ws_mutation.check_codec(ws_mutation.Maker(1), fragments, False)


def test_a_websocket_codec_that_depends_on_how_it_is_fed_is_found_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    feed = WebSocketCodec.feed
    monkeypatch.setattr(WebSocketCodec, "feed", lambda self, octets: feed(self, octets.replace(b"\x81\x80", b"\x82\x80")))
    assert fuzz.main(["--websocket", "--inputs", "20000", "--seed", "1"]) == 1
    assert "of seed 1" in capsys.readouterr().out
