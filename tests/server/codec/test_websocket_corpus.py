"""Every case of tests/cases/*.ws on the codec, however its octets are cut: whole, one by one, in two at every place, in
pieces of every small size, and with a Ping behind. The same must come of it each time, to the word."""

import pytest

from support.ws_cases import Case, Outcome, differences, frame, load, play

CASES = load()
TAIL = frame(0x89, b"tail")


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.param
    return chosen


def test_a_case_comes_to_what_it_says(case: Case) -> None:
    assert list(differences(case.expected, play([case.octets], case.is_compressed))) == []


def test_octet_by_octet_the_same_comes_of_it(case: Case) -> None:
    octets = case.octets
    assert play((octets[at : at + 1] for at in range(len(octets))), case.is_compressed) == play([octets], case.is_compressed)


def test_cut_anywhere_the_same_comes_of_it(case: Case) -> None:
    octets = case.octets
    whole = play([octets], case.is_compressed)
    for at in range(1, len(octets)):
        assert play([octets[:at], octets[at:]], case.is_compressed) == whole, f"cut at {at}: {octets[:at]!r}"


def test_in_pieces_of_any_size_the_same_comes_of_it(case: Case) -> None:
    octets = case.octets
    whole = play([octets], case.is_compressed)
    for size in (2, 3, 5, 7, 64):
        assert play((octets[at : at + size] for at in range(0, len(octets), size)), case.is_compressed) == whole


def test_with_a_tail_the_same_comes_of_it_and_then_the_tail(case: Case) -> None:
    if case.expected.wants_more:
        return  # the tail would be taken for its rest
    whole = play([case.octets], case.is_compressed)
    for pieces in ([case.octets + TAIL], [case.octets, TAIL], [*(case.octets[at : at + 1] for at in range(len(case.octets))), TAIL]):
        tailed = play(pieces, case.is_compressed)
        if whole.is_open:
            assert tailed.events.pop() == ("ping", b"tail")
        assert tailed == whole


def test_the_corpus_is_large_and_every_title_is_its_own() -> None:
    titles = [case.title for case in CASES]
    assert len(titles) >= 220 and len(set(titles)) == len(titles)
    assert all(case.clause.startswith("RFC ") for case in CASES)


def test_every_code_a_codec_gives_is_in_the_corpus() -> None:
    assert {case.expected.code for case in CASES} == {0, 1002, 1007, 1009}


def test_an_outcome_knows_whether_another_frame_may_follow() -> None:
    closed = Outcome([("close", (1000, ""))])
    assert Outcome().is_open and not closed.is_open and not Outcome(code=1002).is_open and not Outcome(wants_more=True).is_open
