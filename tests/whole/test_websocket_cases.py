"""Every case of tests/cases/*.ws over a real socket, against one started server, whose application says everything back."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from support.serving import Server, serving
from support.ws_cases import MAX_SIZE, Case, load
from support.ws_client import SocketClient

TESTS = Path(__file__).parent.parent
CASES = load()
CLOSE = b"\x03\xe8"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    limit = ("--ws-max-size", str(MAX_SIZE), "--ws-max-queue", "100", "--no-access-log")
    with serving("support.ws_apps:app", "--app-dir", str(TESTS), *limit) as started:
        yield started


def talk(server: Server, case: Case, pieces: Iterable[bytes]) -> tuple[list[tuple[str, object]], int]:
    """What comes back, messages and pongs, and the code of the server's Close; 0 where none is due."""
    with SocketClient((server.host, server.port), offers=case.is_compressed) as client:
        try:
            for piece in pieces:
                client.send(piece)
            if case.expected.is_open:
                client.say(0x88, CLOSE)
        except OSError:
            pass  # it has failed already; its Close is still to be read
        if case.expected.wants_more:
            assert client.is_silent(0.01) or client.waiting[:1] in (b"\x8a", b"\x81", b"\x82")
            return [], 0
        *frames, (_, closing) = client.frames()
    kinds = {0x81: "text", 0x82: "bytes", 0x8A: "pong"}
    events: list[tuple[str, object]] = [(kinds[first], payload.decode() if first == 0x81 else payload) for first, payload in frames]
    return events, int.from_bytes(closing[:2], "big") or 1005


def check(case: Case, came: tuple[list[tuple[str, object]], int]) -> None:
    expected = case.expected
    if expected.wants_more:
        return
    events, code = came
    messages = [each for each in expected.events if each[0] in ("text", "bytes")]
    assert [each for each in events if each[0] != "pong"] == messages
    assert [each[1] for each in events if each[0] == "pong"] == [each[1] for each in expected.events if each[0] == "ping"]
    closes = [each[1] for each in expected.events if each[0] == "close"]
    told = closes[0][0] if closes else 1000  # type: ignore[index]  # a code and a reason
    assert code == (expected.code or told)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_over_a_socket_a_case_comes_to_what_it_says(server: Server, case: Case) -> None:
    octets, half = case.octets, len(case.octets) // 2
    check(case, talk(server, case, [octets]))
    check(case, talk(server, case, [octets[:half], octets[half:]]))
    if len(octets) <= 150:
        check(case, talk(server, case, (octets[at : at + 1] for at in range(len(octets)))))


def test_no_case_leaves_a_trace_back_in_the_log(server: Server) -> None:
    assert "Traceback" not in server.stderr
    assert "Refused 127.0.0.1:" in server.stderr and "(RFC 6455 5" in server.stderr
