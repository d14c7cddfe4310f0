import pytest

from penstock.connection.trust import Trust


@pytest.mark.parametrize("text, host, trusted", [
    ("127.0.0.1,::1", "127.0.0.1", True), ("127.0.0.1,::1", "::1", True), ("127.0.0.1", "127.0.0.2", False),
    ("10.0.0.0/8", "10.200.3.4", True), ("10.0.0.0/8", "11.0.0.1", False), ("10.0.0.0/8", "::1", False),
    (" 10.0.0.0/8 , fd00::/8 ", "fd00::17", True), ("0:0:0:0:0:0:0:1", "::1", True),
    ("192.0.2.1", "::ffff:192.0.2.1", True), ("192.0.2.0/24", "::ffff:192.0.2.9", True), ("::ffff:192.0.2.1", "192.0.2.1", True),
    ("*", "anything", True), ("10.0.0.1,*", "1.2.3.4", True), ("*", None, True),
    ("unix", None, True), ("127.0.0.1", None, False), ("unix", "unix", False),
    ("proxy-1", "proxy-1", True), ("proxy-1", "proxy-2", False), ("/run/proxy.sock", "/run/proxy.sock", True),
    ("", "127.0.0.1", False), ("", None, False), ("127.0.0.1", "", False),
])
def test_who_is_believed(text: str, host: str | None, trusted: bool) -> None:
    trust = Trust(text)
    assert [host in trust, host in trust] == [trusted, trusted]


def test_what_was_asked_is_remembered_up_to_a_bound() -> None:
    trust = Trust("10.0.0.0/8")
    for number in range(5000):
        assert f"host-{number}" not in trust
    assert "x" * 10_000 not in trust
    assert len(trust._known) == 4096 and "10.1.1.1" in trust


@pytest.mark.parametrize("text, told", [
    ("10.0.0.1/8", "10.0.0.1/8 is no network: 10.0.0.1/8 has host bits set; did you mean 10.0.0.0/8?"),
    ("nonsense/8", "nonsense/8 is no network: 'nonsense/8' does not appear to be an IPv4 or IPv6 network"),
])
def test_a_network_that_is_none_is_named(text: str, told: str) -> None:
    with pytest.raises(ValueError) as caught:
        Trust(text)
    assert str(caught.value) == told


def test_who_is_believed_is_told_when_it_is_more_than_this_machine() -> None:
    assert Trust("127.0.0.1,::1").warning("it") == ""
    assert Trust("::1, 10.0.0.0/8").warning("it") == "Believing it from ::1, 10.0.0.0/8"
