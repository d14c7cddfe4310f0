"""The tables of moves: complete, without dead ends, and kept to by the codec in every case of the corpus."""

from enum import Enum
from typing import Any

from penstock.codec.http1 import Http1Codec
from penstock.codec.states import REQUEST_MOVES, RESPONSE_MOVES, Request, Response
from support.cases import load
from support.replay import LIMITS, NO_DEFAULTS, play

Moves = set[tuple[Enum, Enum]]


class Watched(Http1Codec):
    """Writes down every change of state."""

    moves: Moves = set()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("_request", "_response") and hasattr(self, name):
            before = getattr(self, name)
            if before is not value:
                self.moves.add((before, value))
        super().__setattr__(name, value)


def allowed() -> Moves:
    return {(state, target) for state, targets in REQUEST_MOVES.items() for target in targets} | {
        (state, target) for state, targets in RESPONSE_MOVES.items() for target in targets
    }


def test_every_state_is_in_its_table() -> None:
    assert set(REQUEST_MOVES) == set(Request) and set(RESPONSE_MOVES) == set(Response)


def test_every_state_can_be_reached() -> None:
    targets = {target for _, target in allowed()}
    assert {*Request, *Response} <= targets


def test_only_a_failed_request_goes_nowhere() -> None:
    assert [state for state, targets in REQUEST_MOVES.items() if not targets] == [Request.FAILED]
    assert all(RESPONSE_MOVES.values())


def test_the_codec_makes_exactly_the_moves_of_the_tables() -> None:
    Watched.moves.clear()
    for case in load():
        play([case.octets], Watched(LIMITS))
        play([case.octets[:40], case.octets[40:]], Watched(LIMITS))
    codec = Watched(LIMITS)
    codec.encode_head(200, [], NO_DEFAULTS)
    codec.drop_head()
    assert Watched.moves == allowed()
