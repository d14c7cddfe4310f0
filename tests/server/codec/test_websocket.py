"""What a corpus of octets cannot say: what is kept, what goes out, large messages, and random ones."""

import os
import random
import tracemalloc
from collections.abc import Iterable

import pytest

from penstock.codec.deflate import THRESHOLD, Deflate
from penstock.codec.errors import ProtocolError
from penstock.codec.states import WEBSOCKET_MOVES, WebSocketState
from penstock.codec.websocket import WebSocketCodec
from support.ws_cases import AGREED, codec_for, deflated, frame, load, play

MIB = 1 << 20


class Watched(WebSocketCodec):
    """Writes down every change of state."""

    moves: set[tuple[WebSocketState, WebSocketState]] = set()

    def __setattr__(self, name: str, value: object) -> None:
        if name == "state" and hasattr(self, name) and self.state is not value:
            assert isinstance(value, WebSocketState)
            self.moves.add((self.state, value))
        super().__setattr__(name, value)


def big() -> WebSocketCodec:
    return WebSocketCodec(16 * MIB)


def messages(codec: WebSocketCodec, pieces: Iterable[bytes]) -> list[object]:
    got: list[object] = []
    for piece in pieces:
        codec.feed(piece)
        while (event := codec.next_event()) is not None or codec.is_behind:
            if event is not None:
                got.append(event)
    return got


def test_after_many_fragments_somebody_else_has_a_turn() -> None:
    codec = codec_for(False)
    codec.feed(frame(0x01) + frame(0x00) * 999 + frame(0x80, b"x"))
    turns = 0
    while (event := codec.next_event()) is None and codec.is_behind:
        turns += 1
    assert turns == 3 and event == "x" and not codec.is_behind


# -- what comes in


@pytest.mark.parametrize("size", [1001, 65535, 65536, 70_000, 3 * MIB + 1])
@pytest.mark.parametrize("step", [65536, 4099])
def test_large_messages_come_whole_however_they_are_cut(size: int, step: int) -> None:
    octets = os.urandom(size)
    text = "a\u20ac" * (size // 4)
    stream = frame(0x82, octets, key=b"\0\0\0\0") + frame(0x81, text.encode(), key=b"\0\0\0\0") + frame(0x02, octets[:9]) + frame(0x80, octets[9:999])
    pieces = [stream[at : at + step] for at in range(0, len(stream), step)]
    assert messages(big(), pieces) == [octets, text, octets[:999]]


def test_a_large_message_that_drips_in_costs_little_more_than_its_octets() -> None:
    codec = big()
    codec.feed(frame(0x82, announced=MIB))
    tracemalloc.start()
    try:
        for _ in range(100_000):
            codec.feed(b"x")
            assert codec.next_event() is None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MIB // 3


def test_empty_fragments_leave_nothing_behind() -> None:
    codec = big()
    codec.feed(frame(0x01, b"a"))
    assert codec.next_event() is None
    tracemalloc.start()
    try:
        for _ in range(1000):
            codec.feed(frame(0x00) * 100)
            assert codec.next_event() is None and not codec.is_behind
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 20_000
    assert messages(codec, [frame(0x80, b"b")]) == ["ab"]


def test_a_message_in_very_many_fragments_comes_whole() -> None:
    stream = frame(0x01, b"") + frame(0x00, b"ab\xc3\xa9") * 70_000 + frame(0x80, b"!")
    assert messages(big(), [stream[at : at + 65536] for at in range(0, len(stream), 65536)]) == ["ab\u00e9" * 70_000 + "!"]


def test_an_idle_codec_keeps_nothing_of_what_it_read() -> None:
    codec = big()
    assert len(messages(codec, [frame(0x82, b"x" * 50_000) + frame(0x89)])) == 2
    assert codec.octets == b"" and not codec._pieces and codec._packs is None


def test_many_frames_in_one_piece_are_read_without_moving_the_rest() -> None:
    stream = frame(0x81, b"x") * 8000
    codec = big()
    codec.feed(stream)
    assert codec.next_event() == "x"
    assert codec.octets is stream
    assert sum(1 for _ in iter(codec.next_event, None)) == 7999


def test_text_is_judged_as_python_judges_it_on_random_splits() -> None:
    chosen = random.Random(20)
    atoms = [b"a", b"\xc3\xa9", b"\xe2\x82\xac", b"\xf0\x9f\x98\x81", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80"]
    for _ in range(3000):
        octets = b"".join(chosen.choices(atoms, weights=[9, 9, 9, 9, 1, 1, 1, 1, 1, 1], k=chosen.randrange(1, 12)))
        cuts = sorted(chosen.sample(range(len(octets) + 1), min(len(octets), chosen.randrange(4))))
        parts = [octets[start:end] for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True)]
        frames = [frame((0x01 if place == 0 else 0x00) | (0x80 if place == len(parts) - 1 else 0), part) for place, part in enumerate(parts)]
        stream = b"".join(frames)
        step = chosen.choice([1, 2, 3, 7, len(stream)])
        outcome = play(stream[at : at + step] for at in range(0, len(stream), step))
        try:
            assert outcome.events == [("text", octets.decode())]
        except UnicodeDecodeError:
            assert outcome.code == 1007 and not outcome.events


def test_inflating_stops_at_the_limit_whatever_was_sent() -> None:
    bomb = deflated(b"\0" * 100_000_000)
    codec = codec_for(True, MIB)
    tracemalloc.start()
    try:
        codec.feed(frame(0xC2, bomb, key=b"\0\0\0\0"))
        with pytest.raises(ProtocolError) as caught:
            codec.next_event()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.status == 1009 and peak < 5 * MIB


def test_nothing_is_read_behind_a_fault() -> None:
    codec = codec_for(False)
    codec.feed(frame(0x83) + frame(0x81, b"late"))
    with pytest.raises(ProtocolError):
        codec.next_event()
    assert codec.next_event() is None
    codec.feed(frame(0x81, b"later"))
    assert codec.next_event() is None and codec.octets == b""


# -- what goes out


def test_a_message_goes_out_unmasked_in_one_frame() -> None:
    codec = codec_for(False)
    assert codec.encode_message("h\u00e9") == [b"\x81\x03h\xc3\xa9"]
    assert codec.encode_message(b"\0\1") == [b"\x82\x02\0\1"]
    assert codec.encode_message("") == [b"\x81\x00"]


def test_a_large_message_is_not_copied() -> None:
    octets = b"x" * 70_000
    head, payload = codec_for(False).encode_message(octets)
    assert payload is octets and head == b"\x82\x7f" + (70_000).to_bytes(8, "big")
    assert len(codec_for(False).encode_message(octets[:16384])) == 1


def test_small_messages_are_not_compressed_and_others_are() -> None:
    codec, reader = codec_for(True), Deflate(AGREED)
    assert codec.encode_message("x" * (THRESHOLD - 1)) == [b"\x81\x7f"[:1] + b"\x7e\x00\x7f" + b"x" * 127]
    octets = b"".join(codec.encode_message(b"x" * THRESHOLD))
    assert octets[0] == 0xC2 and len(octets) < 20
    assert reader.inflate(octets[2:], 1000) + reader.end(1000) == b"x" * THRESHOLD


def test_text_that_is_none_raises_with_nothing_encoded() -> None:
    with pytest.raises(UnicodeEncodeError):
        codec_for(True).encode_message("a\ud800" * 200)


def test_control_frames_go_out() -> None:
    codec = codec_for(True)
    assert codec.encode_ping(b"") == b"\x89\x00"
    assert codec.encode_pong(b"payload") == b"\x8a\x07payload"
    assert codec.encode_close(1000, "bye") == b"\x88\x05\x03\xe8bye"


def test_a_close_without_a_code_is_empty() -> None:
    assert codec_for(False).encode_close(1005, "ignored") == b"\x88\x00"


@pytest.mark.parametrize("code", [-1, 0, 999, 1004, 1006, 1015, 1016, 2999, 5000, 70_000])
def test_a_code_that_may_not_be_sent_raises_and_nothing_has_happened(code: int) -> None:
    codec = codec_for(False)
    with pytest.raises(ValueError, match=str(code)):
        codec.encode_close(code, "")
    assert codec.state is WebSocketState.OPEN


def test_nothing_is_said_after_our_close() -> None:
    codec = codec_for(False)
    codec.encode_close(1000, "")
    with pytest.raises(RuntimeError):
        codec.encode_message("late")
    with pytest.raises(RuntimeError):
        codec.encode_close(1000, "")


def test_messages_are_read_on_after_our_close_until_the_clients() -> None:
    codec = codec_for(False)
    codec.encode_close(1000, "")
    assert play([frame(0x81, b"a") + frame(0x88, b"\x03\xe8") + frame(0x81, b"b")], codec=codec).events == [("text", "a"), ("close", (1000, ""))]
    assert codec.state is WebSocketState.CLOSED


# -- states


def test_every_state_has_its_line_and_can_be_reached() -> None:
    assert set(WEBSOCKET_MOVES) == set(WebSocketState)
    assert {target for targets in WEBSOCKET_MOVES.values() for target in targets} == set(WebSocketState) - {WebSocketState.OPEN}


def test_the_codec_makes_exactly_the_moves_of_the_table() -> None:
    Watched.moves.clear()
    for case in load():
        for closes_first in (False, True):
            codec = Watched(1000, Deflate(AGREED) if case.is_compressed else None)
            if closes_first:
                codec.encode_close(1000, "")
            play([case.octets], codec=codec)
            if codec.state in (WebSocketState.CLOSE_RECEIVED, WebSocketState.FAILED):
                codec.encode_close(1000, "")
    assert Watched.moves == {(state, target) for state, targets in WEBSOCKET_MOVES.items() for target in targets}
