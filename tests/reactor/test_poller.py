"""The poller alone: sockets, a fake selector with a limit, threads that ring the bell."""

import errno
import os
import select
import selectors
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from penstock_reactor.poller import DOUBTFUL_WAITS, READ, WRITE, Poller
from support.forks import forked

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def poller() -> Iterator[Poller]:
    poller = Poller()
    yield poller
    poller.close()


@pytest.fixture
def narrow() -> Iterator[Poller]:
    """A poller like on Windows: select(), and room for four, the bell among them."""
    poller = Poller(selectors.SelectSelector(), limit=4)
    yield poller
    poller.close()


def nothing() -> None:
    pass


def fail() -> None:
    raise AssertionError("called")


def ready(poller: Poller, timeout: float = 5) -> dict[int, int]:
    return {watch.fd: mask for watch, mask in poller.poll(timeout)}


def test_a_ready_descriptor_brings_its_watch(poller: Poller, pair: Pair) -> None:
    first, second = pair
    poller.watch_reader(first.fileno(), nothing)
    second.send(b"x")
    [(watch, mask)] = poller.poll(5)
    assert watch.fd == first.fileno()
    assert watch.reader is nothing
    assert watch.writer is None
    assert mask == READ


def test_reader_and_writer_of_one_descriptor_share_a_watch(poller: Poller, pair: Pair) -> None:
    first, second = pair
    poller.watch_reader(first.fileno(), nothing)
    poller.watch_writer(first.fileno(), fail)
    second.send(b"x")
    [(watch, mask)] = poller.poll(5)
    assert (watch.reader, watch.writer) == (nothing, fail)
    assert mask == READ | WRITE


def _break(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def _say(peer: socket.socket) -> None:
    peer.send(b"x")


@pytest.mark.skipif(not hasattr(selectors, "PollSelector"), reason="the platform has select() alone")
@pytest.mark.parametrize("happens", [None, _say, _break, socket.socket.close])
def test_of_a_connection_is_told_what_any_selector_tells(poller: Poller, happens: Callable[[socket.socket], None] | None) -> None:
    # A poller has its own way with the platform's best selector.
    usual = Poller(selectors.PollSelector())
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as first, closing(usual):
        second = listener.accept()[0]
        if happens is not None:
            happens(second)
        for each in (poller, usual):
            each.watch_reader(first.fileno(), nothing)
            each.watch_writer(first.fileno(), nothing)
        assert ready(poller) == ready(usual) == {first.fileno(): WRITE if happens is None else READ | WRITE}
        second.close()


def test_a_second_reader_replaces_the_first(poller: Poller, pair: Pair) -> None:
    first, second = pair
    poller.watch_reader(first.fileno(), fail)
    poller.watch_reader(first.fileno(), nothing)
    second.send(b"x")
    [(watch, _)] = poller.poll(5)
    assert watch.reader is nothing


@pytest.mark.parametrize("direction", ["reader", "writer"])
def test_unwatching_tells_whether_there_was_something(poller: Poller, pair: Pair, direction: str) -> None:
    fd = pair[0].fileno()
    watch, unwatch = getattr(poller, f"watch_{direction}"), getattr(poller, f"unwatch_{direction}")
    assert unwatch(fd) is False
    watch(fd, nothing)
    assert unwatch(fd) is True
    assert unwatch(fd) is False


class Selector(selectors.DefaultSelector):
    """The platform's selector, which counts how often its set of descriptors is changed."""

    changes = 0

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        self.changes += 1
        return super().register(fileobj, events, data)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        self.changes += 1
        return super().modify(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        self.changes += 1
        return super().unregister(fileobj)


@pytest.mark.parametrize("direction", ["reader", "writer"])
def test_an_owner_that_comes_back_to_a_released_watch_changes_nothing(pair: Pair, direction: str) -> None:
    selector = Selector()
    poller = Poller(selector)
    watch, release = getattr(poller, f"watch_{direction}"), getattr(poller, f"release_{direction}")
    fd = pair[0].fileno()
    watch(fd, nothing, pair[0])
    before = selector.changes
    for _ in range(3):
        release(fd, nothing)
        watch(fd, nothing, pair[0])
        poller.let_go()
    assert selector.changes == before
    assert getattr(poller, f"unwatch_{direction}")(fd) is True
    poller.close()


@pytest.mark.parametrize("direction", ["reader", "writer"])
def test_a_released_watch_is_as_good_as_gone_and_ends_when_it_is_let_go(pair: Pair, direction: str) -> None:
    selector = Selector()
    poller = Poller(selector)
    fd = pair[0].fileno()
    pair[1].send(b"x")
    getattr(poller, f"watch_{direction}")(fd, fail, pair[0])
    getattr(poller, f"release_{direction}")(fd, fail)
    assert getattr(poller, f"unwatch_{direction}")(fd) is False
    for watch, _ in poller.poll(0):
        (getattr(watch, direction) or fail)()
    poller.let_go()
    assert poller.poll(0) == []
    assert fd not in selector.get_map()
    poller.close()


def test_only_the_callback_that_is_watched_can_be_released(poller: Poller, pair: Pair) -> None:
    fd = pair[0].fileno()
    poller.release_reader(fd, fail)
    poller.watch_reader(fd, nothing)
    poller.release_reader(fd, fail)
    poller.release_writer(fd, fail)
    poller.let_go()
    assert poller.unwatch_reader(fd) is True


def test_one_direction_released_leaves_the_other_watched(poller: Poller, pair: Pair) -> None:
    fd = pair[0].fileno()
    pair[1].send(b"x")
    poller.watch_reader(fd, nothing)
    poller.watch_writer(fd, nothing, pair[0])
    poller.release_writer(fd, nothing)
    poller.let_go()
    assert ready(poller) == {fd: READ}


@pytest.mark.skipif(sys.platform == "win32", reason="there a number cannot be chosen")
@pytest.mark.parametrize("owned", [False, True])
def test_a_released_number_that_came_to_mean_another_socket_is_watched_anew(poller: Poller, owned: bool) -> None:
    first, second = socket.socketpair()
    third, fourth = socket.socketpair()
    fd = first.fileno()
    poller.watch_reader(fd, fail, first)
    poller.release_reader(fd, fail)
    first.close()
    os.dup2(third.fileno(), fd)
    poller.watch_reader(fd, nothing, third if owned else None)
    poller.let_go()
    fourth.send(b"x")
    [(watch, _)] = poller.poll(5)
    assert watch.reader is nothing
    poller.unwatch_reader(fd)
    os.close(fd)
    for one in (second, third, fourth):
        one.close()


@pytest.mark.parametrize("direction", ["reader", "writer"])
def test_a_closed_owner_can_still_be_found_and_unwatched(poller: Poller, direction: str) -> None:
    first, second = socket.socketpair()
    fd = first.fileno()
    getattr(poller, f"watch_{direction}")(fd, nothing, first)
    first.close()
    assert poller.number_of(first) == fd
    assert poller.number_of(second) is None
    assert getattr(poller, f"unwatch_{direction}")(fd) is True
    assert poller.number_of(first) is None
    second.close()


def test_unwatching_one_direction_of_a_closed_descriptor_does_not_fail(poller: Poller) -> None:
    first, second = socket.socketpair()
    poller.watch_reader(first.fileno(), nothing, first)
    poller.watch_writer(first.fileno(), nothing, first)
    fd = first.fileno()
    first.close()
    second.close()
    assert poller.unwatch_reader(fd) is True


def test_letting_go_of_a_descriptor_closed_behind_our_back_does_not_fail(poller: Poller) -> None:
    first, second = socket.socketpair()
    fd = first.fileno()
    poller.watch_writer(fd, nothing)
    poller.watch_reader(fd, nothing, first)
    poller.release_reader(fd, nothing)
    first.close()
    second.close()
    poller.let_go()
    if sys.platform != "win32":
        assert poller.unwatch_writer(fd) is False


needs_epoll = pytest.mark.skipif(
    sys.platform != "linux" or sys.implementation.name != "cpython", reason="epoll alone goes on with what was closed"
)


def lose_a_number(poller: Poller) -> tuple[int, socket.socket, socket.socket]:
    """Close a released socket of which there is a copy, as a child process has it; its number, the copy, and its peer."""
    first, second = socket.socketpair()
    fd = first.fileno()
    poller.watch_reader(fd, fail, first)
    poller.release_reader(fd, fail)
    copy = first.dup()
    first.close()
    poller.let_go()
    return fd, copy, second


@needs_epoll
def test_a_number_that_is_nobodys_and_yet_reported_is_reported_once(poller: Poller, pair: Pair) -> None:
    fd = pair[0].fileno()
    poller.watch_writer(fd, nothing)
    _, copy, peer = lose_a_number(poller)
    with copy, peer:
        peer.send(b"x")
        # What else is watched is told, now and later.
        for _ in range(2):
            assert ready(poller, 0) == {fd: WRITE}
        assert [event[0] for event in poller._epoll.poll(0)] == [fd]
        poller.watch_reader(fd, nothing)
        pair[1].send(b"x")
        assert ready(poller, 0) == {fd: READ | WRITE}
        poller.unwatch_reader(fd)
        poller.unwatch_writer(fd)
        poller.asleep = True
        poller.wake()
        assert len(poller.poll(20)) == 1


@needs_epoll
def test_what_is_taken_away_while_its_report_is_on_its_way_is_no_reason_to_begin_anew(poller: Poller, pair: Pair) -> None:
    poller._start_anew = fail  # type: ignore[method-assign]
    for _ in range(3):
        poller.watch_writer(pair[0].fileno(), nothing)
        poller.watch_writer(pair[1].fileno(), nothing)
        assert len(poller.poll(0)) == 2
        for one in pair:
            poller.unwatch_writer(one.fileno())
        assert poller.poll(0) == []


@needs_epoll
def test_a_number_that_is_used_again_is_not_reported_for_ever_for_what_it_meant_before(poller: Poller, pair: Pair) -> None:
    fd, copy, peer = lose_a_number(poller)
    with copy, peer:
        peer.send(b"x")
        os.dup2(pair[0].fileno(), fd)
        poller.watch_reader(fd, nothing)
        assert ready(poller, 0) == {fd: READ}
        waits = 1
        while poller.poll(0):
            waits += 1
            assert waits <= DOUBTFUL_WAITS
        pair[1].send(b"y")
        assert ready(poller) == {fd: READ}
        # It was begun anew once, and then no more.
        poller._start_anew = fail  # type: ignore[method-assign]
        assert all(poller.poll(0) for _ in range(2 * DOUBTFUL_WAITS))
        poller.unwatch_reader(fd)
        os.close(fd)


@needs_epoll
def test_a_released_watch_whose_owner_is_still_open_gives_no_reason_for_doubt(poller: Poller, pair: Pair) -> None:
    poller._start_anew = fail  # type: ignore[method-assign]
    for _ in range(2 * DOUBTFUL_WAITS):
        poller.watch_reader(pair[0].fileno(), nothing, pair[0])
        poller.release_reader(pair[0].fileno(), nothing)
        poller.let_go()
        assert poller.poll(0) == []


@needs_epoll
def test_a_set_begun_anew_leaves_out_what_was_closed_behind_our_back(poller: Poller, pair: Pair) -> None:
    first, second = socket.socketpair()
    poller.watch_reader(first.fileno(), fail)
    _, copy, peer = lose_a_number(poller)
    first.close()
    with second, copy, peer:
        peer.send(b"x")
        assert poller.poll(0) == []
        assert poller._epoll.poll(0) == []
        poller.watch_writer(pair[0].fileno(), nothing)
        assert ready(poller) == {pair[0].fileno(): WRITE}


class Full:
    """An epoll that has no room."""

    def register(self, fd: int, events: int) -> None:
        raise OSError(errno.ENOSPC, "no room for one more")


def refuse() -> None:
    raise OSError(errno.EMFILE, "too many open files")


@needs_epoll
@pytest.mark.parametrize("epoll", [refuse, Full])
def test_without_room_for_a_new_set_the_old_one_serves_on(
    poller: Poller, pair: Pair, monkeypatch: pytest.MonkeyPatch, epoll: Any
) -> None:
    _, copy, peer = lose_a_number(poller)
    poller.watch_writer(pair[0].fileno(), nothing)
    with copy, peer:
        peer.send(b"x")
        with monkeypatch.context() as patched:
            patched.setattr(select, "epoll", epoll)
            assert ready(poller, 0) == {pair[0].fileno(): WRITE}
        assert ready(poller, 0) == {pair[0].fileno(): WRITE}
        assert len(poller._epoll.poll(0)) == 1


def test_a_poller_without_room_lets_go_of_what_was_released(narrow: Poller) -> None:
    sockets = [one for _ in range(2) for one in socket.socketpair()]
    for one in sockets[:3]:
        narrow.watch_reader(one.fileno(), nothing, one)
    narrow.release_reader(sockets[0].fileno(), nothing)
    narrow.watch_reader(sockets[3].fileno(), nothing)
    assert narrow.free_room() == 0
    for one in sockets:
        narrow.unwatch_reader(one.fileno())
        one.close()


def test_one_direction_goes_and_the_other_stays(poller: Poller, pair: Pair) -> None:
    first, second = pair
    fd = first.fileno()
    second.send(b"x")
    poller.watch_reader(fd, nothing)
    poller.watch_writer(fd, nothing)
    poller.unwatch_writer(fd)
    assert ready(poller) == {fd: READ}
    poller.watch_writer(fd, nothing)
    poller.unwatch_reader(fd)
    assert ready(poller) == {fd: WRITE}
    poller.unwatch_writer(fd)
    assert ready(poller, 0) == {}


def test_an_unwatched_report_on_its_way_finds_nothing_to_call(poller: Poller, pair: Pair) -> None:
    first, second = pair
    poller.watch_reader(first.fileno(), fail)
    second.send(b"x")
    [(watch, _)] = poller.poll(5)
    poller.unwatch_reader(first.fileno())
    assert watch.reader is None


@pytest.mark.skipif(sys.platform == "win32", reason="there a number cannot be chosen")
def test_a_reused_number_gets_a_new_watch(poller: Poller) -> None:
    first, second = socket.socketpair()
    fd = first.fileno()
    poller.watch_reader(fd, fail)
    second.send(b"x")
    [(watch, _)] = poller.poll(5)
    poller.unwatch_reader(fd)
    first.close()
    second.close()
    third, fourth = socket.socketpair()
    with third, fourth:
        os.dup2(third.fileno(), fd)
        poller.watch_reader(fd, nothing)
        assert watch.reader is None
        fourth.send(b"x")
        [(watch, _)] = poller.poll(5)
        assert watch.reader is nothing
        poller.unwatch_reader(fd)
        if fd != third.fileno():
            os.close(fd)


def test_a_descriptor_closed_behind_our_back_can_be_unwatched_and_watched_again(poller: Poller) -> None:
    first, second = socket.socketpair()
    fd = first.fileno()
    poller.watch_reader(fd, nothing)
    first.close()
    assert poller.unwatch_reader(fd) is True
    second.close()
    with pytest.raises(OSError):
        poller.watch_reader(fd, nothing)
    assert poller.unwatch_reader(fd) is False


@pytest.mark.skipif(sys.platform == "win32", reason="select() hears of it at the next wait")
def test_changing_a_descriptor_closed_behind_our_back_fails_and_forgets_it(poller: Poller) -> None:
    first, second = socket.socketpair()
    fd = first.fileno()
    poller.watch_reader(fd, nothing)
    first.close()
    second.close()
    with pytest.raises(OSError):
        poller.watch_writer(fd, nothing)
    assert poller.unwatch_reader(fd) is False


def test_waking_ends_the_wait(poller: Poller) -> None:
    poller.asleep = True
    timer = threading.Timer(0.05, poller.wake)
    timer.start()
    [(watch, _)] = poller.poll(20)
    timer.join()
    (watch.reader or fail)()
    assert poller.poll(0) == []


def test_waking_before_the_wait_is_not_lost(poller: Poller) -> None:
    poller.asleep = True
    poller.wake()
    assert len(poller.poll(20)) == 1


def test_waking_a_poller_that_is_awake_writes_nothing(poller: Poller) -> None:
    poller.wake()
    assert poller.poll(0) == []


def test_a_full_bell_still_wakes_and_never_raises(poller: Poller) -> None:
    try:
        while True:
            poller._clapper.send(b"\0" * 4096)
    except BlockingIOError:
        pass
    poller.asleep = True
    poller.wake()
    [(watch, _)] = poller.poll(20)
    rounds = 0
    while poller.poll(0):
        (watch.reader or fail)()
        rounds += 1
    assert rounds > 1


def test_waking_a_closed_poller_does_nothing(poller: Poller) -> None:
    poller.close()
    poller.asleep = True
    poller.wake()


def test_closing_twice_is_fine(poller: Poller) -> None:
    poller.close()
    poller.close()


def test_without_a_limit_there_is_always_room(poller: Poller) -> None:
    if poller._limit is None:
        assert poller.free_room() is None


def test_a_poller_with_a_limit_tells_its_free_room(narrow: Poller, pair: Pair) -> None:
    assert narrow.free_room() == 3
    narrow.watch_reader(pair[0].fileno(), nothing)
    narrow.watch_writer(pair[0].fileno(), nothing)
    assert narrow.free_room() == 2
    narrow.unwatch_reader(pair[0].fileno())
    narrow.unwatch_writer(pair[0].fileno())
    assert narrow.free_room() == 3


def test_one_descriptor_too_many_is_refused_and_the_others_go_on(narrow: Poller) -> None:
    sockets = [one for _ in range(2) for one in socket.socketpair()]
    for one in sockets[:3]:
        narrow.watch_reader(one.fileno(), nothing)
    with pytest.raises(OSError, match="4 descriptors"):
        narrow.watch_reader(sockets[3].fileno(), nothing)
    with pytest.raises(OSError, match="4 descriptors"):
        narrow.watch_writer(sockets[3].fileno(), nothing)
    sockets[1].send(b"x")
    assert ready(narrow) == {sockets[0].fileno(): READ}
    narrow.unwatch_reader(sockets[2].fileno())
    narrow.watch_reader(sockets[3].fileno(), nothing)
    for one in sockets:
        narrow.unwatch_reader(one.fileno())
        one.close()


def test_the_bell_is_watched_even_when_there_is_no_more_room(narrow: Poller) -> None:
    sockets = [one for _ in range(2) for one in socket.socketpair()]
    for one in sockets[:3]:
        narrow.watch_reader(one.fileno(), nothing)
    narrow.asleep = True
    narrow.wake()
    assert len(narrow.poll(20)) == 1
    for one in sockets:
        narrow.unwatch_reader(one.fileno())
        one.close()


def test_where_one_bad_descriptor_spoils_all_it_is_refused_at_once(narrow: Poller) -> None:
    first, second = socket.socketpair()
    fd = first.fileno()
    first.close()
    second.close()
    with pytest.raises(OSError):
        narrow.watch_reader(fd, nothing)
    assert narrow.poll(0) == []


def test_where_one_bad_descriptor_spoils_all_it_is_reported_once_and_dropped(narrow: Poller, pair: Pair) -> None:
    first, second = socket.socketpair()
    fd = first.fileno()
    narrow.watch_reader(fd, nothing)
    narrow.watch_reader(pair[0].fileno(), nothing)
    first.close()
    second.close()
    assert ready(narrow) == {fd: READ | WRITE}
    assert ready(narrow, 0) == {}
    pair[1].send(b"x")
    assert ready(narrow) == {pair[0].fileno(): READ}


def test_a_wait_that_fails_for_another_reason_fails(narrow: Poller) -> None:
    narrow._selector.select = _broken
    with pytest.raises(OSError, match="broken"):
        narrow.poll(0)


def _broken(timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
    raise OSError("broken")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_cannot_take_a_descriptor_off_its_parents_poller(poller: Poller, pair: Pair) -> None:
    first, second = pair
    poller.watch_reader(first.fileno(), nothing)

    def child() -> bool:
        removed = poller.unwatch_reader(first.fileno())
        poller.close()
        return not removed

    assert forked(child) == 0
    second.send(b"x")
    assert ready(poller) == {first.fileno(): READ}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_cannot_wait_on_its_parents_poller(poller: Poller) -> None:
    def child() -> None:
        with pytest.raises(RuntimeError, match="parent process"):
            poller.poll(0)

    assert forked(child) == 0
