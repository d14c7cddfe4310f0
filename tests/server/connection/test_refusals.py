import pytest

from penstock.codec.errors import ProtocolError
from penstock.connection.refusals import MOST, Refusals


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level("INFO", "penstock.error")
    return caplog


def refuse(refusals: Refusals, count: int, now: float) -> None:
    for number in range(count):
        refusals.note(f"192.0.2.{number}:1", ProtocolError(400, "a bare LF", "RFC 9112 2.2", offset=7, excerpt=b"\x1b["), now)


def test_a_refusal_names_peer_rule_place_and_the_octets_escaped(lines: pytest.LogCaptureFixture) -> None:
    refuse(Refusals(), 1, 5.0)
    (line,) = lines.messages
    for part in ("192.0.2.0:1", "400", "a bare LF", "RFC 9112 2.2", "octet 7", r"\x1b["):
        assert part in line
    assert "\x1b" not in line


def test_a_flood_is_counted_instead_of_written(lines: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()
    refuse(refusals, MOST + 123, 5.2)
    assert len(lines.messages) == MOST
    refusals.settle(5.9)
    assert len(lines.messages) == MOST
    refusals.settle(6.0)
    assert lines.messages[MOST:] == ["Refused 123 more requests in that second"]
    refusals.settle(7.0)
    assert len(lines.messages) == MOST + 1


def test_the_next_second_has_lines_of_its_own(lines: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()
    refuse(refusals, MOST + 1, 5.0)
    refuse(refusals, MOST, 6.0)
    assert len(lines.messages) == 2 * MOST + 1
    refusals.flush()
    assert len(lines.messages) == 2 * MOST + 1


def test_what_was_counted_last_is_said_when_nobody_is_left(lines: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()
    refuse(refusals, MOST + 2, 5.0)
    refusals.flush()
    assert lines.messages[-1] == "Refused 2 more requests in that second"
