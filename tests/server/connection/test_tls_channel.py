import socket
from collections.abc import Iterator

import pytest
from penstock_reactor import EventLoop
from penstock_reactor.tls_engine import TlsEngine
from support import secure

from penstock.connection.channel import HIGH_WATER, MOST_HELD
from penstock.connection.tls_channel import RECORD, TlsChannel


class Ends:
    """A TLS channel on one end of a socket pair, its peer's TLS on the other, and what the channel told its owner."""

    def __init__(self, loop: EventLoop) -> None:
        self.loop = loop
        self.ours, self.peer = socket.socketpair()
        self.ours.setblocking(False)
        self.peer.setblocking(False)
        self.client = TlsEngine(secure.options(server_side=False))
        self.heard: list[bytes | None] = []
        self.drained = 0
        context = secure.server_context()
        self.channel = TlsChannel(self.ours, loop, self._on_readable, self._on_drained, 30.0, context)

    def _on_readable(self) -> None:
        self.heard.append(self.channel.read())

    def _on_drained(self) -> None:
        self.drained += 1

    def turn(self) -> None:
        for _ in range(4):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def push(self) -> None:
        """What the peer's TLS has to say goes out."""
        octets = self.client.take_output()
        if octets:
            self.peer.sendall(octets)

    def pull(self) -> int:
        """What came for the peer goes into its TLS; how many octets."""
        try:
            octets = self.peer.recv(1 << 20)
        except BlockingIOError:
            return 0
        self.client.feed(octets)
        return len(octets)

    def shake_hands(self) -> None:
        done = False
        while not (self.client.shake_hands() and done):
            self.push()
            done = done or self.channel.shake_hands()
            self.pull()

    def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.client.encrypt(piece)
        self.push()
        self.turn()

    def hear(self) -> bytes:
        pieces = []
        while self.pull():
            pieces.append(self.client.read() if self.client.has_input else b"")
            self.turn()
        return b"".join(pieces)


@pytest.fixture
def ends(loop: EventLoop) -> Iterator[Ends]:
    ends = Ends(loop)
    ends.shake_hands()
    yield ends
    ends.channel.close()
    ends.peer.close()


def test_what_is_read_is_plain(ends: Ends) -> None:
    ends.channel.start_reading()
    ends.say(b"one", b"two")
    assert ends.heard == [b"onetwo"]


def test_a_record_that_has_not_come_whole_is_waited_for(ends: Ends) -> None:
    ends.channel.start_reading()
    ends.client.encrypt(b"whole")
    octets = ends.client.take_output()
    for octet in octets[:-1]:
        ends.peer.sendall(bytes([octet]))
        ends.turn()
    assert set(ends.heard) == {None}
    ends.peer.sendall(octets[-1:])
    ends.turn()
    assert ends.heard[-1] == b"whole"


def test_what_is_written_arrives_whatever_its_size(ends: Ends) -> None:
    parts = [b"a" * 10, b"", b"b" * 300_000, b"c"]
    ends.channel.write(parts)
    assert ends.hear() == b"".join(parts)


def test_small_parts_share_a_record(ends: Ends) -> None:
    ends.channel.write([b"head", b"body"])
    alone = ends.pull()
    ends.channel.write([b"head"])
    ends.channel.write([b"body"])
    assert ends.pull() > alone
    assert ends.client.read() == b"headbodyheadbody"


def test_what_is_held_is_encrypted_and_leaves_in_order(ends: Ends) -> None:
    ends.channel.hold(b"first ")
    assert ends.hear() == b""
    ends.channel.hold(b"second ")
    ends.channel.write([b"third ", b"fourth "])
    assert ends.hear() == b"first second third fourth "
    ends.channel.hold(b"fifth ")
    ends.channel.release()
    assert ends.hear() == b"fifth "
    ends.channel.hold(b"x" * MOST_HELD)
    ends.channel.hold(b"y")
    assert ends.hear() == b"x" * MOST_HELD + b"y"


def test_more_than_the_socket_takes_waits_encrypted_and_is_told_when_it_is_gone(ends: Ends) -> None:
    ends.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    octets = b"x" * (RECORD * 20)
    ends.channel.write([octets])
    assert ends.channel.is_full and ends.channel.queued > HIGH_WATER
    assert ends.hear() == octets
    assert ends.drained and not ends.channel.queued


def test_the_end_of_the_peer_is_told_after_what_came_before_it(ends: Ends) -> None:
    ends.channel.start_reading()
    ends.client.encrypt(b"last")
    ends.client.say_goodbye()
    ends.push()
    ends.turn()
    assert ends.heard[:2] == [b"last", b""]


def test_the_end_is_told_to_who_begins_to_read_after_it(ends: Ends) -> None:
    ends.client.encrypt(b"last")
    ends.client.say_goodbye()
    ends.push()
    assert ends.channel.read() == b"last"
    ends.channel.start_reading()
    ends.turn()
    assert ends.heard[0] == b""


def test_an_end_without_goodbye_is_an_end_as_well(ends: Ends) -> None:
    ends.channel.start_reading()
    ends.peer.shutdown(socket.SHUT_WR)
    ends.turn()
    assert ends.heard[0] == b"" and not ends.channel.is_broken


def test_a_forged_record_breaks_the_channel_and_what_stood_before_it_is_given(ends: Ends) -> None:
    ends.client.encrypt(b"good")
    good = ends.client.take_output()
    ends.client.encrypt(b"evil")
    evil = bytearray(ends.client.take_output())
    evil[-1] ^= 1
    ends.peer.sendall(good + evil)
    assert ends.channel.read() == b"good"
    assert ends.channel.is_broken
    assert ends.channel.read() == b""


def test_a_goodbye_is_said_before_the_end_and_what_the_peer_says_can_still_be_read(ends: Ends) -> None:
    ends.channel.start_reading()
    assert ends.channel.say_goodbye()
    ends.channel.finish()
    ends.pull()
    assert ends.client.read() == b"" and ends.client.is_over and ends.client.failure is None
    assert ends.peer.recv(1) == b""


def test_a_goodbye_that_the_kernel_has_no_room_for_waits_and_is_said_once(ends: Ends) -> None:
    ends.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    ends.channel.write([b"x" * (RECORD * 20)])
    assert not ends.channel.say_goodbye()
    waiting = ends.channel.queued
    assert not ends.channel.say_goodbye() and ends.channel.queued == waiting
    assert len(ends.hear()) == RECORD * 20
    assert ends.channel.say_goodbye() and ends.client.is_over and ends.client.failure is None


def test_to_close_is_to_say_goodbye(ends: Ends) -> None:
    ends.channel.close()
    ends.pull()
    assert ends.client.read() == b"" and ends.client.is_over


def test_a_reset_says_no_goodbye(ends: Ends) -> None:
    ends.channel.end_by_reset()
    ends.channel.close()
    assert not ends.pull() or not ends.client.is_over


def test_before_the_handshake_nothing_is_written(loop: EventLoop) -> None:
    ends = Ends(loop)
    ends.channel.write([b"secret"])
    assert ends.channel.is_broken
    assert not ends.pull()
    ends.channel.close()
    ends.peer.close()


def test_a_peer_that_breaks_the_connection_breaks_what_is_written(ends: Ends) -> None:
    ends.peer.close()
    for _ in range(3):
        ends.channel.write([b"x"])
    assert ends.channel.is_broken


def test_the_kernel_cannot_send_files_in_secret(ends: Ends) -> None:
    assert not ends.channel.sends_files
