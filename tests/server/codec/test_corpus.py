"""Every case of tests/cases on the codec, however its octets are cut: whole, one by one, in two at every place, in
pieces of every small size, and with more octets behind. The same must come of it each time, to the word."""

import re
from collections.abc import Iterator

import pytest

from support.cases import Case, Outcome, load
from support.replay import differences, play

CASES = load()
NEXT = b"GET /tail HTTP/1.1\r\nHost: example.test\r\n\r\n"
EVERY_PLACE = 700


def by_title(case: Case) -> str:
    return f"{case.place.partition('.')[0]}: {case.title}"


@pytest.fixture(params=CASES, ids=by_title)
def case(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.param
    return chosen


def places(octets: bytes) -> Iterator[int]:
    """Where to cut: everywhere, except that long runs of one octet are alike in their middle."""
    for at in range(1, len(octets)):
        if len(octets) <= EVERY_PLACE or at < 150 or at > len(octets) - 50 or 1015 < at < 1040 or at % 97 == 0:
            yield at


def test_a_case_comes_to_what_it_says(case: Case) -> None:
    assert list(differences(case.expected, play([case.octets]))) == []


def test_octet_by_octet_the_same_comes_of_it(case: Case) -> None:
    octets = case.octets
    assert play(octets[at : at + 1] for at in range(len(octets))) == play([octets])


def test_cut_anywhere_the_same_comes_of_it(case: Case) -> None:
    octets = case.octets
    whole = play([octets])
    for at in places(octets):
        assert play([octets[:at], octets[at:]]) == whole, f"cut at {at}: {octets[:at]!r}"


def test_in_pieces_of_any_size_the_same_comes_of_it(case: Case) -> None:
    octets = case.octets
    whole = play([octets])
    for size in (3, 64):
        assert play(octets[at : at + size] for at in range(0, len(octets), size)) == whole


def test_with_each_empty_line_and_each_head_on_its_own_the_same_comes_of_it(case: Case) -> None:
    assert play(re.findall(rb"\r\n|.+?\r\n\r\n|.+", case.octets, re.DOTALL)) == play([case.octets])


def test_with_a_tail_the_same_comes_of_it_and_then_the_tail(case: Case) -> None:
    if case.expected.wants_more:
        return  # the tail would be taken for its rest
    whole, tailed = play([case.octets]), play([case.octets + NEXT])
    if whole.is_open:
        assert tailed.requests.pop().target == b"/tail"
    assert tailed == whole
    if whole.is_open:
        assert play([case.octets, NEXT]).requests[-1].target == b"/tail"
    else:
        assert play([case.octets, NEXT]) == whole


def test_behind_requests_of_the_same_shape_the_same_comes_of_it(case: Case) -> None:
    whole = play([case.octets])
    shape = case.octets.partition(b"\r\n\r\n")[0].count(b"\r\n")
    warm = b"GET /warm HTTP/1.1\r\nHost: example.test\r\n" + b"X-A: z\r\n" * min(shape - 1, 19) + b"\r\n"
    behind = play([warm, warm, case.octets])
    del behind.requests[:2]
    assert behind == whole


def test_the_corpus_is_large_and_every_title_is_its_own() -> None:
    titles = [case.title for case in CASES]
    assert len(titles) >= 800 and len(set(titles)) == len(titles)
    assert all(case.clause for case in CASES)


def test_every_status_a_codec_gives_is_in_the_corpus() -> None:
    statuses = {case.expected.status for case in CASES}
    assert statuses >= {0, 400, 413, 414, 417, 421, 431, 501, 505}


def test_an_outcome_knows_whether_another_request_may_follow() -> None:
    assert Outcome().is_open and not Outcome(status=400).is_open and not Outcome(wants_more=True).is_open
