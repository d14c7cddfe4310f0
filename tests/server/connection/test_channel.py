import asyncio
import socket
import sys
from collections.abc import Iterator
from typing import Any, cast

import pytest
from penstock_reactor import EventLoop
from support.clock import Clock
from support.faults import Fault, FaultySocket, Short
from support.wire import wait_for_loopback

from penstock.connection.channel import HIGH_WATER, LOW_WATER, MOST_FOR_READERS, MOST_HELD, NEVER, READ_SIZE, Channel


class Ends:
    """A channel on one end of a socket pair, and what it told its owner."""

    def __init__(self, loop: EventLoop, **faults: dict[int, Fault]) -> None:
        self.loop = loop
        self.clock = Clock()
        loop.time = self.clock
        self.ours, self.peer = socket.socketpair()
        self.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.ours.setblocking(False)
        self.peer.setblocking(False)
        self.faulty = FaultySocket(self.ours, **faults)
        self.heard: list[bytes | None] = []
        self.drained: list[int] = []
        self.channel = Channel(cast(socket.socket, self.faulty), loop, self._on_readable, self._on_drained, 30.0)

    def _on_readable(self) -> None:
        self.heard.append(self.channel.read())

    def _on_drained(self) -> None:
        self.drained.append(self.channel.queued)

    def turn(self, turns: int = 3) -> None:
        for _ in range(turns):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def take(self, most: int = 1 << 20) -> bytes:
        """What the peer can read now."""
        wait_for_loopback(self.peer)
        try:
            return self.peer.recv(most)
        except BlockingIOError:
            return b""

    def take_all(self) -> bytes:
        pieces = []
        while piece := self.take():
            pieces.append(piece)
            self.turn()
        return b"".join(pieces)


@pytest.fixture
def ends(loop: EventLoop) -> Iterator[Ends]:
    ends = Ends(loop)
    yield ends
    ends.channel.close()
    ends.peer.close()


@pytest.fixture
def made(loop: EventLoop) -> Iterator[Any]:
    """Makes ends with faults."""
    all_ends: list[Ends] = []

    def make(**faults: dict[int, Fault]) -> Ends:
        all_ends.append(Ends(loop, **faults))
        return all_ends[-1]

    yield make
    for ends in all_ends:
        ends.channel.close()
        ends.peer.close()


# -- reading


def test_reading_is_one_call_for_each_time_the_loop_says_so(ends: Ends) -> None:
    ends.channel.start_reading()
    ends.peer.send(b"x" * 100)
    ends.turn()
    assert ends.heard == [b"x" * 100]


def test_nothing_to_read_is_none_and_the_end_is_empty(ends: Ends) -> None:
    assert ends.channel.read() is None
    ends.peer.close()
    assert ends.channel.read() == b""
    assert not ends.channel.is_broken, "the peer's end is no failure: it may still listen"


@pytest.mark.parametrize("error", [ConnectionResetError(), TimeoutError(), OSError(113, "No route to host")])
def test_a_failure_to_read_is_the_end_and_breaks_the_channel(made: Any, error: OSError) -> None:
    ends = made(recv={1: error})
    assert ends.channel.read() == b"" and ends.channel.is_broken
    ends.channel.start_reading()
    assert not ends.channel.is_reading


@pytest.mark.parametrize("error", [BlockingIOError(), InterruptedError()])
def test_a_read_that_would_block_is_nothing(made: Any, error: OSError) -> None:
    ends = made(recv={1: error})
    ends.peer.send(b"later")
    assert ends.channel.read() is None
    assert ends.channel.read() == b"later"


def test_what_is_not_read_stays_in_the_kernel(ends: Ends) -> None:
    ends.channel.start_reading()
    ends.channel.stop_reading()
    ends.peer.send(b"x")
    ends.turn()
    assert ends.heard == []
    ends.channel.start_reading()
    ends.channel.start_reading()
    ends.turn()
    assert ends.heard == [b"x"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not tell")
@pytest.mark.parametrize("leaves_by", ["half an end", "an end"])
def test_an_end_is_seen_behind_what_nobody_reads(ends: Ends, leaves_by: str) -> None:
    ends.peer.send(b"x")
    assert not ends.channel.has_unread_end()
    if leaves_by == "an end":
        ends.peer.close()
    else:
        ends.peer.shutdown(socket.SHUT_WR)
    assert ends.channel.has_unread_end()
    ends.channel.start_reading()
    assert not ends.channel.has_unread_end(), "it will be read"
    assert ends.channel.read() == b"x"


def test_a_read_is_bounded(ends: Ends) -> None:
    ends.peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    ends.peer.send(b"x" * (READ_SIZE + 1000))
    assert len(ends.channel.read() or b"") <= READ_SIZE


# -- writing


def test_what_the_socket_takes_leaves_at_once(ends: Ends) -> None:
    ends.channel.write([b"one"])
    ends.channel.write([b"two", b"three"])
    assert ends.take() == b"onetwothree"
    assert ends.channel.queued == 0 and ends.channel.stalls_at is NEVER


def test_what_the_socket_refuses_waits_and_leaves_in_order(ends: Ends) -> None:
    parts = [bytes([number % 256]) * 1000 for number in range(300)]
    for place in range(0, 300, 3):
        ends.channel.write(parts[place : place + 3])
    assert ends.channel.is_full
    assert ends.take_all() == b"".join(parts)
    assert ends.channel.queued == 0


@pytest.mark.parametrize("call", [1, 2, 3, 4])
@pytest.mark.parametrize("fault", [BlockingIOError(), InterruptedError(), Short(1), Short(1500)])
def test_no_octet_is_lost_or_doubled_whatever_a_call_takes(made: Any, call: int, fault: Fault) -> None:
    ends = made(send={call: fault}, sendmsg={call: fault})
    said = b""
    for number in range(20):
        parts = [bytes([number]) * 700, b"-" * number, bytes([number]) * 900]
        ends.channel.write(parts if number % 2 else [b"".join(parts)])
        said += b"".join(parts)
        ends.turn(1)
    assert ends.take_all() == said
    assert ends.channel.queued == 0 and ends.channel.stalls_at is NEVER


@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_a_peer_that_resets_breaks_the_channel_and_nothing_is_raised(made: Any, call: int) -> None:
    ends = made(send={call: ConnectionResetError()}, sendmsg={call: BrokenPipeError()})
    for _ in range(10):
        ends.channel.write([b"x" * 3000])
        ends.channel.write([b"x", b"y"])
        ends.take()
        ends.turn(1)
    assert ends.channel.is_broken and ends.channel.queued == 0


def test_what_is_written_to_a_broken_channel_goes_nowhere(ends: Ends) -> None:
    ends.peer.close()
    ends.channel.write([b"x"])
    ends.channel.write([b"y"])
    assert ends.channel.is_broken and ends.channel.queued == 0


def test_the_owner_hears_when_most_of_the_queue_has_left(ends: Ends) -> None:
    ends.channel.write([b"x" * 200_000])
    assert ends.channel.queued > HIGH_WATER
    ends.take_all()
    assert ends.drained and all(left <= LOW_WATER for left in ends.drained)
    assert ends.drained[-1] == 0


def test_the_owner_hears_when_the_peer_goes_while_something_waits(ends: Ends) -> None:
    ends.channel.write([b"x" * 200_000])
    ends.peer.close()
    ends.turn()
    assert ends.channel.is_broken and ends.drained == [0]


def test_the_time_of_a_stall_moves_on_with_each_octet_taken(ends: Ends) -> None:
    ends.channel.write([b"x" * 2_000_000])
    assert ends.channel.stalls_at == ends.clock.now + 30
    ends.turn(20)
    ends.clock.advance(20)
    ends.turn()
    assert ends.channel.stalls_at == ends.clock.now + 10
    ends.take(50_000)
    ends.turn()
    assert ends.channel.stalls_at == ends.clock.now + 30


def test_a_socket_without_sendmsg_is_given_the_parts_joined(ends: Ends) -> None:
    class Plain:
        def __init__(self, sock: socket.socket) -> None:
            self.recv, self.send, self.fileno, self.close = sock.recv, sock.send, sock.fileno, sock.close

    channel = Channel(cast(socket.socket, Plain(ends.ours)), ends.loop, list, list, 30.0)
    channel.write([b"one", b"two", b"three"])
    assert ends.take() == b"onetwothree"


# -- what is held


def test_what_is_held_leaves_in_one_call(made: Any) -> None:
    ends = made(sendmsg={}, send={})
    ends.channel.hold(b"first")
    ends.channel.hold(b"second")
    assert ends.take() == b"" and ends.channel.queued == 11
    ends.channel.release()
    assert ends.take() == b"firstsecond" and ends.channel.queued == 0 and not ends.channel.held
    assert sum(ends.faulty.calls.values()) == 1


def test_what_is_held_leaves_before_what_is_written(made: Any) -> None:
    ends = made(sendmsg={}, send={})
    ends.channel.hold(b"first")
    ends.channel.write([b"second", b"third"])
    assert ends.take() == b"firstsecondthird" and ends.channel.queued == 0 and not ends.channel.held
    ends.channel.release()
    assert sum(ends.faulty.calls.values()) == 1


def test_only_so_much_is_held(ends: Ends) -> None:
    ends.channel.hold(b"x" * MOST_HELD)
    ends.channel.hold(b"y")
    assert ends.take() == b""
    ends.channel.hold(b"z")
    assert ends.take_all() == b"x" * MOST_HELD + b"yz"


def test_what_is_held_fills_nothing(ends: Ends) -> None:
    """It leaves without the owner's being told, who would wait for ever."""
    ends.channel.hold(b"x" * (HIGH_WATER + 1))
    assert ends.channel.queued > HIGH_WATER and not ends.channel.is_full
    ends.channel.release()
    assert ends.channel.is_full is (ends.channel.queued > HIGH_WATER)


def test_nothing_is_held_behind_a_queue_that_waits(ends: Ends) -> None:
    ends.channel.write([b"x" * 100_000])
    ends.channel.hold(b"y")
    assert not ends.channel.held
    ends.channel.release()
    assert ends.take_all() == b"x" * 100_000 + b"y"


@pytest.mark.parametrize("fault", [BlockingIOError(), Short(10)])
def test_what_was_held_and_the_socket_refuses_waits(made: Any, fault: Fault) -> None:
    ends = made(send={1: fault})
    ends.channel.hold(b"x" * 1000)
    ends.channel.release()
    assert ends.channel.queued and ends.channel.stalls_at is not NEVER
    ends.turn()
    assert ends.take_all() == b"x" * 1000
    assert ends.drained[-1] == 0


def test_what_was_held_for_a_peer_that_is_gone_breaks_the_channel(made: Any) -> None:
    ends = made(send={1: BrokenPipeError()})
    ends.channel.hold(b"x")
    ends.channel.release()
    assert ends.channel.is_broken and not ends.channel.queued


# -- the end


def test_finishing_tells_the_peer_and_can_still_read(ends: Ends) -> None:
    ends.channel.finish()
    assert ends.peer.recv(1) == b""
    ends.peer.send(b"last words")
    assert ends.channel.read() == b"last words"


def test_finishing_when_the_peer_is_gone_breaks_the_channel(made: Any) -> None:
    ends = made(shutdown={1: OSError(107, "not connected")})
    ends.channel.finish()
    assert ends.channel.is_broken


def test_closing_leaves_nothing_on_the_loop(ends: Ends) -> None:
    ends.channel.start_reading()
    ends.channel.write([b"x" * 200_000])
    number = ends.ours.fileno()
    ends.channel.close()
    ends.channel.close()
    assert ends.ours.fileno() == -1 and ends.channel.is_broken and ends.channel.queued == 0
    assert not ends.loop.remove_reader(number) and not ends.loop.remove_writer(number)
    ends.peer.close()
    ends.turn()
    assert ends.heard == [] and ends.drained == []


def test_closing_loses_what_is_held(ends: Ends) -> None:
    ends.channel.hold(b"x")
    ends.channel.close()
    ends.channel.release()
    assert ends.take() == b"" and not ends.channel.queued


@pytest.mark.skipif(sys.platform == "win32", reason="a reset cannot be had reliably there")
@pytest.mark.parametrize("faults", [{}, {"setsockopt": {1: OSError()}}])
def test_a_reset_is_seen_as_an_error(loop: EventLoop, faults: dict[str, dict[int, Fault]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as peer:
        sock, _ = listening.accept()
        sock.setblocking(False)
        channel = Channel(cast(socket.socket, FaultySocket(sock, **faults)), loop, list, list, 30.0)
        channel.write([b"half"])
        channel.end_by_reset()
        channel.close()
        peer.settimeout(5)
        try:
            while peer.recv(100):
                pass
            was_reset = False
        except ConnectionResetError:
            was_reset = True
    assert was_reset is not bool(faults)


def test_it_runs_on_the_stock_loop_too() -> None:
    loop = asyncio.SelectorEventLoop()
    try:
        ours, peer = socket.socketpair()
        with peer:
            ours.setblocking(False)
            heard: list[bytes | None] = []
            channel = Channel(ours, loop, lambda: heard.append(channel.read()), list, 30.0)
            channel.start_reading()
            peer.send(b"x")
            for _ in range(3):
                loop.call_soon(loop.stop)
                loop.run_forever()
            channel.close()
        assert heard == [b"x"]
    finally:
        loop.close()


class Noting:
    """A socket that notes how it was asked to send."""

    def __init__(self, real: socket.socket) -> None:
        self.real = real
        self.flags: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def send(self, octets: bytes, flags: int = 0) -> int:
        self.flags.append(flags)
        return self.real.send(octets, flags)

    def sendmsg(self, parts: list[bytes], ancillary: tuple[()] = (), flags: int = 0) -> int:
        self.flags.append(flags)
        return self.real.sendmsg(parts, ancillary, flags)


def test_the_last_octets_leave_with_the_end_that_follows_them(loop: EventLoop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname(), 10) as peer:
        noting = Noting(listener.accept()[0])
        channel = Channel(cast(socket.socket, noting), loop, list, list, 30.0)
        channel.write([b"a"])
        channel.write([b"b", b"c"], True)
        channel.write([b"d"], True)
        channel.finish()
        assert b"".join(iter(lambda: peer.recv(9), b"")) == b"abcd"
        channel.close()
    waits = socket.MSG_MORE if sys.platform == "linux" else 0
    assert noting.flags == [0, waits, waits]


def test_what_the_socket_does_not_take_at_once_waits_for_nothing(ends: Ends) -> None:
    ends.channel.write([b"x" * 100_000], True)
    assert ends.channel.queued
    assert ends.take_all() == b"x" * 100_000


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no such limit")
def test_while_it_is_lent_the_kernel_may_hold_as_much_as_it_likes(loop: EventLoop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()):
        sock, _ = listening.accept()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 4096)
        channel = Channel(sock, loop, lambda: None, lambda: None, 1.0)
        channel.lend(lambda: None)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 0
        channel.take_back()
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 4096
        channel.close()
        channel.take_back()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no such limit")
def test_for_a_peer_that_is_trusted_the_kernel_may_hold_more(loop: EventLoop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()):
        sock, _ = listening.accept()
        channel = Channel(sock, loop, lambda: None, lambda: None, 1.0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 4096)
        channel.trust()
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == MOST_FOR_READERS
        channel.close()


def test_on_a_plain_channel_there_is_no_goodbye_to_wait_for(ends: Ends) -> None:
    assert ends.channel.say_goodbye() and ends.take() == b"" and not ends.channel.is_broken


def test_a_channel_that_is_handed_over_tells_its_new_owner(ends: Ends) -> None:
    heard: list[str] = []
    ends.channel.start_reading()
    ends.channel.hand_over(lambda: heard.append("readable"), lambda: heard.append("drained"))
    ends.peer.send(b"x")
    ends.turn()
    assert not ends.channel.is_reading and heard == []
    ends.channel.start_reading()
    ends.turn()
    assert heard[0] == "readable"
