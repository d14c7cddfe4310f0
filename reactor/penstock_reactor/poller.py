"""The poller: which descriptors are ready? The only importer of `selectors`.

Every watched descriptor has one `Watch`, which is what a wait brings back: it is run straight from there, without a trip
through the ready queue. A watch that is taken away is emptied first, so a report that is already on its way finds
nothing to call; a descriptor number that is closed and used again gets a new watch.

A wait for a single readiness, as `sock_recv` needs it, is often followed by the next in the same turn. So such a
watch is not ended but released: it stays with the selector until the loop next waits, and whoever asks for the same
socket before that goes on with it. This saves two system calls and their bookkeeping each time, 8 of the 28 microseconds
of a ping-pong.

Here too is the bell: a socket pair whose one end is always watched. Ringing it ends a wait. It is rung from
other threads, from signal handlers and by the interpreter itself (`signal.set_wakeup_fd`), so it takes no lock.

Knows nothing of what callbacks mean, of contexts, of time or of the loop.
"""

import errno
import os
import select
import selectors
import socket
import sys
import weakref
from collections.abc import Callable
from typing import Any, NoReturn

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE

Callback = Callable[[], object]
Events = list[tuple["Watch", int]]

# select.EPOLLIN and EPOLLOUT.
_IN, _OUT = 1, 4

# FD_SETSIZE as CPython for Windows is built: with one socket more, select() raises and the loop would end.
WINDOWS_LIMIT = 512

# So many waits may a set of epoll's be doubtful before a new one is made.
DOUBTFUL_WAITS = 1000


class Watch:
    """The callbacks of one descriptor; None where nothing is wanted, `_nobody` where it was released."""

    __slots__ = ("fd", "reader", "writer", "owner")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.reader: Callback | None = None
        self.writer: Callback | None = None
        # The object whose descriptor it is, if one was given: it may be closed, and its number come to mean another.
        self.owner: object = None


class Poller:
    """Watches descriptors and waits for the first that is ready.

    A `limit` means a selector like Windows' select(): it takes so many descriptors and fails as a whole when
    one of them is bad, so each is tried before it is taken, and a bad one is found and dropped.

    `asleep` belongs to the scheduler: set before the last look at the ready queue, cleared after the wait. Only
    while it is set does `wake` write anything, so waking a busy loop is free.
    """

    def __init__(self, selector: selectors.BaseSelector | None = None, limit: int | None = None) -> None:
        if limit is None and sys.platform == "win32":
            limit = WINDOWS_LIMIT
        self._selector: Any = selector or selectors.DefaultSelector()
        self._limit = limit
        self._watches: dict[int, Watch] = {}
        self._bell, self._clapper = socket.socketpair()
        self._bell.setblocking(False)
        self._clapper.setblocking(False)
        self.asleep = False
        # Watches released since the last wait; the scheduler has them let go before the next.
        self.released: list[Watch] = []
        # Wait up to so many seconds (None: for ever); what is ready.
        self.poll: Callable[[float | None], Events] = self._poll_plainly if limit is None else self._poll_warily
        self._epoll: Any = None
        self._waits_in_doubt = 0
        if sys.platform == "linux" and sys.implementation.name == "cpython" and isinstance(self._selector, selectors.EpollSelector):
            # Closed with this object, so it has a descriptor of its own.
            self._epoll = select.epoll.fromfd(os.dup(self._selector.fileno()))
            self.poll = self._poll_quickly
        self.watch_reader(self._bell.fileno(), self._quiet_bell)
        _pollers.add(self)

    @property
    def bell_fd(self) -> int:
        """The descriptor to which a byte is written to end the wait; for `signal.set_wakeup_fd`."""
        return self._clapper.fileno()

    def watch_reader(self, fd: int, callback: Callback, owner: object = None) -> None:
        """Call `callback` whenever `fd` can be read; replaces the reader there was.

        OSError when the platform's limit is reached or the descriptor cannot be polled.
        """
        watch = self._watches.get(fd)
        if watch is not None and watch.owner is not owner and self._end_released(watch):
            watch = self._watches.get(fd)
        if watch is None:
            watch = self._register(fd, READ)
        elif watch.reader is None:
            self._change(watch, READ | WRITE)
        watch.reader = callback
        watch.owner = owner

    def watch_writer(self, fd: int, callback: Callback, owner: object = None) -> None:
        """Call `callback` whenever `fd` can be written; replaces the writer there was."""
        watch = self._watches.get(fd)
        if watch is not None and watch.owner is not owner and self._end_released(watch):
            watch = self._watches.get(fd)
        if watch is None:
            watch = self._register(fd, WRITE)
        elif watch.writer is None:
            self._change(watch, READ | WRITE)
        watch.writer = callback
        watch.owner = owner

    def unwatch_reader(self, fd: int) -> bool:
        """Stop watching `fd` for reading; False when it was not."""
        watch = self._watches.get(fd)
        if watch is None or watch.reader is None or watch.reader is _nobody:
            return False
        watch.reader = None
        self._narrow(watch)
        return True

    def unwatch_writer(self, fd: int) -> bool:
        """Stop watching `fd` for writing; False when it was not."""
        watch = self._watches.get(fd)
        if watch is None or watch.writer is None or watch.writer is _nobody:
            return False
        watch.writer = None
        self._narrow(watch)
        return True

    def number_of(self, owner: object) -> int | None:
        """The descriptor that is watched for `owner`, which need not have it any more; None when there is none."""
        return next((watch.fd for watch in self._watches.values() if watch.owner is owner), None)

    def release_reader(self, fd: int, callback: Callback) -> None:
        """If `callback` is still the reader of `fd`, it is not to be called again, but its owner may come back soon."""
        watch = self._watches.get(fd)
        if watch is not None and watch.reader is callback:
            watch.reader = _nobody
            self.released.append(watch)

    def release_writer(self, fd: int, callback: Callback) -> None:
        """The same for a writer."""
        watch = self._watches.get(fd)
        if watch is not None and watch.writer is callback:
            watch.writer = _nobody
            self.released.append(watch)

    def let_go(self) -> None:
        """End what was released and not asked for again."""
        released, self.released = self.released, []
        for watch in released:
            if self._watches.get(watch.fd) is watch:
                self._end_released(watch)

    def free_room(self) -> int | None:
        """How many more descriptors can be watched; None when there is no limit."""
        return None if self._limit is None else self._limit - len(self._watches)

    def wake(self) -> None:
        """End the wait, or the one about to begin. From any thread or signal handler, at any time."""
        if self.asleep:
            self.asleep = False
            try:
                self._clapper.send(b"\0")
            except OSError:
                # Full: then there are bytes enough to wake anyone. Closed: then nobody waits here any more.
                pass

    def close(self) -> None:
        """Let go of the selector and the bell. Twice is fine."""
        self._drop_watches()
        self._close_selector()
        self._bell.close()
        self._clapper.close()

    def _register(self, fd: int, events: int) -> Watch:
        if self._limit is not None:
            if len(self._watches) >= self._limit:
                self.let_go()
            if len(self._watches) >= self._limit:
                raise OSError(f"select() takes {self._limit} descriptors on this platform, and all are in use")
            select.select([fd], [], [], 0)
        watch = Watch(fd)
        self._selector.register(fd, events, watch)
        self._watches[fd] = watch
        return watch

    def _change(self, watch: Watch, events: int) -> None:
        try:
            self._selector.modify(watch.fd, events, watch)
        except BaseException:
            # The descriptor was closed behind our back. The selector has dropped it, so must we.
            watch.reader = watch.writer = None
            self._watches.pop(watch.fd, None)
            raise

    def _end_released(self, watch: Watch) -> bool:
        """End what is released of `watch`; whether there was anything."""
        if watch.reader is not _nobody and watch.writer is not _nobody:
            return False
        if self._epoll is not None and isinstance(watch.owner, socket.socket) and watch.owner.fileno() != watch.fd:
            self.poll = self._poll_in_doubt
        watch.reader = None if watch.reader is _nobody else watch.reader
        watch.writer = None if watch.writer is _nobody else watch.writer
        self._narrow(watch)
        return True

    def _narrow(self, watch: Watch) -> None:
        try:
            if watch.reader is not None:
                self._change(watch, READ)
            elif watch.writer is not None:
                self._change(watch, WRITE)
            else:
                self._forget(watch)
        except OSError:
            # Closed since: then nothing of it is watched any more, which is what was asked for and more.
            pass

    def _forget(self, watch: Watch) -> None:
        del self._watches[watch.fd]
        self._selector.unregister(watch.fd)

    def _drop_watches(self) -> None:
        for watch in self._watches.values():
            watch.reader = watch.writer = None
        self._watches.clear()

    def _quiet_bell(self) -> None:
        # One read is enough: what is left rings again. The bytes say nothing, the ready queue does.
        try:
            self._bell.recv(4096)
        except (BlockingIOError, InterruptedError):
            pass

    def _close_selector(self) -> None:
        self._selector.close()
        if self._epoll is not None:
            self._epoll.close()

    def _poll_quickly(self, timeout: float | None) -> Events:
        # What EpollSelector.select does, in half its steps. What is wrong with a descriptor is told to all who wait for it.
        watches = self._watches
        found = self._epoll.poll(timeout)
        events = [
            (watches[fd], READ if event == _IN else (event & ~_OUT and READ) | (event & ~_IN and WRITE))
            for fd, event in found if fd in watches
        ]  # fmt: skip
        if len(events) < len(found):
            self._start_anew()
        return events

    def _poll_in_doubt(self, timeout: float | None) -> Events:
        # A released number was closed. Is what it meant still open elsewhere? Then it is reported under a number that may by
        # now be another's. After so many waits a new set costs next to nothing for each, and it tells.
        self._waits_in_doubt += 1
        if self._waits_in_doubt > max(DOUBTFUL_WAITS, len(self._watches)):
            self._start_anew()
        return self._poll_quickly(timeout)

    def _start_anew(self) -> None:
        """Put a new set in the place of epoll's, because it reports a number that is nobody's.

        It watches open files, not numbers. What was closed here before it was unwatched, and is still open in a child
        or as a copy, has no number by which it could be taken out, and would end every wait from now on.
        """
        try:
            fresh = select.epoll()
            for fd, key in self._selector.get_map().items():
                try:
                    fresh.register(fd, (key.events & READ and _IN) | (key.events & WRITE and _OUT))
                except OSError as error:
                    # Else it was closed behind our back, which is for its watcher to find.
                    if error.errno in (errno.ENOMEM, errno.ENOSPC):
                        raise
        except OSError:
            # The system has no room for it. The next wait tries again.
            return
        # Under the old numbers, so that nobody needs to know.
        os.dup2(fresh.fileno(), self._selector.fileno(), inheritable=False)
        os.dup2(fresh.fileno(), self._epoll.fileno(), inheritable=False)
        fresh.close()
        self._waits_in_doubt = 0
        self.poll = self._poll_quickly

    def _poll_plainly(self, timeout: float | None) -> Events:
        return [(key.data, mask) for key, mask in self._selector.select(timeout)]

    def _poll_warily(self, timeout: float | None) -> Events:
        try:
            return self._poll_plainly(timeout)
        except (OSError, ValueError):
            events = [(watch, READ | WRITE) for watch in self._watches.values() if not _is_sound(watch.fd)]
            if not events:
                raise
            # Reported once more, as ready for all: the owner's own system call then tells it what is wrong.
            for watch, _ in events:
                self._forget(watch)
            return events

    def _disown(self) -> None:
        # Nothing is unregistered: the parent polls the same kernel object. The bell stays: it may be the wake-up
        # descriptor of the child too, and its number must not come to mean another file.
        self._drop_watches()
        self._close_selector()
        self.poll = _refuse_to_poll


def _nobody() -> None:
    """The reader or writer of a released watch."""


def _is_sound(fd: int) -> bool:
    try:
        select.select([fd], [], [], 0)
    except (OSError, ValueError):
        return False
    return True


def _refuse_to_poll(timeout: float | None) -> NoReturn:
    raise RuntimeError("this event loop belongs to the parent process; make a new one after a fork")


# A forked child shares the parent's kernel objects: a descriptor it would take off the poller while it cleans up
# would be lost for the parent too. So in a child every poller from before the fork is closed at once.
_pollers: "weakref.WeakSet[Poller]" = weakref.WeakSet()


def _disown_all() -> None:
    for poller in list(_pollers):
        poller._disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
