"""Every case of tests/cases over a real socket, against one started server, whose application tells what it saw."""

import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.cases import LIMIT_FIELDS, LIMIT_HEAD, Case, Seen, load
from support.responses import Response, read_responses
from support.serving import Server, serving

PATIENCE = 10.0
CASES = load()
SUPPORT = Path(__file__).parent.parent / "support"

Cut = Callable[[bytes], Iterable[bytes]]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    limits = ("--limit-head", str(LIMIT_HEAD), "--limit-fields", str(LIMIT_FIELDS), "--ws", "none", "--no-access-log")
    with serving("reporting:app", "--app-dir", str(SUPPORT), *limits) as started:
        yield started


def talk(server: Server, pieces: Iterable[bytes]) -> bytes:
    """Send the pieces one by one, end our half, and take all that comes until the server ends its own."""
    with socket.create_connection((server.host, server.port), PATIENCE) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                sock.sendall(piece)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has refused already; the answer is still to be read
        received = b""
        try:
            while octets := sock.recv(65536):
                received += octets
        except ConnectionResetError:
            pass
    return received


def check(case: Case, received: bytes) -> None:
    """What the server answered, and its application saw, against what the case says."""
    expected = case.expected
    finished = [each for each in expected.requests if each.is_finished]
    responses = read_responses(received, [each.method for each in expected.requests])
    answers, refusals = responses[: len(finished)], responses[len(finished) :]
    assert [each.status for each in answers] == [200] * len(finished), received
    for seen, answer in zip(finished, answers, strict=True):
        check_request(seen, json.loads(answer.get(b"x-saw")))
        check_response(answer, is_last=seen.closes)
    # Nobody can say more of a request that is not whole than that its time was up.
    allowed = {(expected.status,)} if expected.status else {(), (400,), (408,)} if expected.wants_more else {()}
    assert tuple(each.status for each in refusals) in allowed, received
    for refusal in refusals:
        check_response(refusal, is_last=True)
        assert expected.reason.lower() in refusal.body.decode().lower()
        assert b"Traceback" not in refusal.body and b"\r\n" not in refusal.body


def check_request(seen: Seen, saw: dict[str, Any]) -> None:
    target = saw["raw_path"] + ("?" + saw["query"] if saw["query"] else "")
    got = saw["method"], target.encode("latin-1"), saw["version"], saw["body"].encode("latin-1")
    assert got == (seen.method, seen.target, seen.version, seen.body)
    fields = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in seen.fields]
    assert [each for each in fields if each not in saw["headers"]] == []


def check_response(response: Response, *, is_last: bool) -> None:
    assert response.get(b"date") and response.get(b"server") == b"penstock"
    assert (b"close" in response.get(b"connection")) == is_last


def by_title(case: Case) -> str:
    return f"{case.place.partition('.')[0]}: {case.title}"


@pytest.mark.parametrize("case", CASES, ids=by_title)
def test_over_a_socket_a_case_comes_to_what_it_says(server: Server, case: Case) -> None:
    octets = case.octets
    half = len(octets) // 2
    check(case, talk(server, [octets]))
    check(case, talk(server, [octets[:half], octets[half:]]))
    if len(octets) <= 300:
        check(case, talk(server, (octets[at : at + 1] for at in range(len(octets)))))


def test_many_cases_at_once_come_to_what_they_say(server: Server) -> None:
    failures: list[str] = []

    def run(cases: list[Case]) -> None:
        for case in cases:
            try:
                check(case, talk(server, [case.octets]))
            except Exception as error:
                failures.append(f"{case}: {error!r}")

    threads = [threading.Thread(target=run, args=(CASES[part::16],)) for part in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []


def test_no_case_leaves_a_trace_back_in_the_log(server: Server) -> None:
    assert "Traceback" not in server.stderr
