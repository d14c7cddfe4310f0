"""The poller: which descriptors are ready? The only importer of `selectors`.

Every watched descriptor has one `Watch`, which travels through the selector as the key's data: what the
selector reports is run straight from its result, without a look-up and without a trip through the ready queue. A
watch that is taken away is emptied first, so a report that is already on its way finds nothing to call; a
descriptor number that is closed and used again gets a new watch.

Here too is the bell: a socket pair whose one end is always watched. Ringing it ends a sleep. It is rung from
other threads, from signal handlers and by the interpreter itself (`signal.set_wakeup_fd`), so it takes no lock.

Knows nothing of callbacks' meaning, contexts, time or the loop.
"""

import selectors
import socket
import sys
from collections.abc import Callable

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE

Callback = Callable[[], object]

# FD_SETSIZE as CPython for Windows is built: select() raises above so many sockets.
WINDOWS_LIMIT = 512


class Watch:
    """The callbacks of one descriptor; None where nothing is wanted."""

    __slots__ = ("fd", "reader", "writer")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.reader: Callback | None = None
        self.writer: Callback | None = None


class Poller:
    """Watches descriptors and waits for the first that is ready.

    `asleep` belongs to the scheduler: set before the last look at the ready queue, cleared after the wait. Only
    while it is set does `wake` write anything, so a busy loop is woken for free.
    """

    def __init__(self, selector: selectors.BaseSelector | None = None, limit: int | None = None) -> None:
        if limit is None and sys.platform == "win32":
            limit = WINDOWS_LIMIT
        self._selector = selector or selectors.DefaultSelector()
        self._limit = limit
        self._watches: dict[int, Watch] = {}
        self._bell, self._clapper = socket.socketpair()
        self._bell.setblocking(False)
        self._clapper.setblocking(False)
        self.asleep = False
        # Straight to the selector: a call less in every turn.
        self.poll = self._selector.select
        self.watch_reader(self._bell.fileno(), self._quiet_bell)

    @property
    def bell_fd(self) -> int:
        """The descriptor to write a byte to in order to end the wait; for `signal.set_wakeup_fd`."""
        return self._clapper.fileno()

    def watch_reader(self, fd: int, callback: Callback) -> None:
        """Call `callback` whenever `fd` can be read; replaces the reader there was.

        OSError when the platform's limit is reached or the descriptor cannot be polled.
        """
        watch = self._watches.get(fd)
        if watch is None:
            watch = self._register(fd, READ)
        elif watch.reader is None:
            self._change(watch, READ | WRITE)
        watch.reader = callback

    def watch_writer(self, fd: int, callback: Callback) -> None:
        """Call `callback` whenever `fd` can be written; replaces the writer there was."""
        watch = self._watches.get(fd)
        if watch is None:
            watch = self._register(fd, WRITE)
        elif watch.writer is None:
            self._change(watch, READ | WRITE)
        watch.writer = callback

    def unwatch_reader(self, fd: int, callback: Callback | None = None) -> bool:
        """Stop watching `fd` for reading, if its reader is `callback` (None: whatever it is); False when it was not."""
        watch = self._watches.get(fd)
        if watch is None or watch.reader is None or (callback is not None and watch.reader is not callback):
            return False
        watch.reader = None
        if watch.writer is None:
            self._forget(watch)
        else:
            self._change(watch, WRITE)
        return True

    def unwatch_writer(self, fd: int, callback: Callback | None = None) -> bool:
        """Stop watching `fd` for writing, if its writer is `callback` (None: whatever it is); False when it was not."""
        watch = self._watches.get(fd)
        if watch is None or watch.writer is None or (callback is not None and watch.writer is not callback):
            return False
        watch.writer = None
        if watch.reader is None:
            self._forget(watch)
        else:
            self._change(watch, READ)
        return True

    def free_room(self) -> int | None:
        """How many more descriptors fit; None when there is no limit."""
        return None if self._limit is None else self._limit - len(self._watches)

    def wake(self) -> None:
        """End the wait, or the one about to begin. From any thread or signal handler, at any time."""
        if self.asleep:
            self.asleep = False
            try:
                self._clapper.send(b"\0")
            except OSError:
                # Full: then there are bytes enough to wake anyone. Closed: then nobody sleeps here any more.
                pass

    def close(self) -> None:
        """Let go of the selector and the bell. Twice is fine."""
        for watch in self._watches.values():
            watch.reader = watch.writer = None
        self._watches.clear()
        self._selector.close()
        self._bell.close()
        self._clapper.close()

    def _register(self, fd: int, events: int) -> Watch:
        if self._limit is not None and len(self._watches) >= self._limit:
            raise OSError(f"this platform's select() takes {self._limit} descriptors and all are in use")
        watch = Watch(fd)
        self._selector.register(fd, events, watch)
        self._watches[fd] = watch
        return watch

    def _change(self, watch: Watch, events: int) -> None:
        try:
            self._selector.modify(watch.fd, events, watch)
        except BaseException:
            # The descriptor was closed behind our back; the selector has dropped it, so must we.
            watch.reader = watch.writer = None
            self._watches.pop(watch.fd, None)
            raise

    def _forget(self, watch: Watch) -> None:
        del self._watches[watch.fd]
        self._selector.unregister(watch.fd)

    def _quiet_bell(self) -> None:
        # One read is enough: what is left rings again. The bytes say nothing, the ready queue does.
        try:
            self._bell.recv(4096)
        except (BlockingIOError, InterruptedError):
            pass
