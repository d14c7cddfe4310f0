"""Timers: what is due, and how long until the next.

A heap of (when, order, handle): tuples compare in C, and `order` keeps timers of the same moment in the order
they were asked for. Cancelling only marks a handle: most timers are timeouts that never fire, so it must be
cheap. A marked handle is dropped when it reaches the top, and all of them at once when they are more than half
of a heap worth looking at, so memory stays within twice what is wanted.

Knows nothing of descriptors or clocks; `scheduler.py` asks it once a turn and tells it the time.
"""

from heapq import heapify, heappop, heappush

from .handles import AnyTimerHandle, ReadyQueue

# epoll and select overflow on huge waits; nobody notices a turn a day.
LONGEST_WAIT = 24 * 3600.0
# Below this many cancelled timers, sweeping is not worth the walk.
SWEEP_FROM = 100


class Timers:
    """The pending timer handles of one loop. Others may look whether `heap` is empty, no more."""

    __slots__ = ("heap", "_order", "_cancelled")

    def __init__(self) -> None:
        self.heap: list[tuple[float, int, AnyTimerHandle]] = []
        self._order = 0
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self.heap)

    def add(self, when: float, handle: AnyTimerHandle) -> None:
        """Remember `handle` until `when`, a point on the loop's clock."""
        self._order += 1
        handle._scheduled = True
        heappush(self.heap, (when, self._order, handle))

    def note_cancelled(self, handle: AnyTimerHandle) -> None:
        """Count a handle that was cancelled while it waits here; sweep when they are the greater part."""
        if not handle._scheduled:
            return
        self._cancelled += 1
        if self._cancelled > SWEEP_FROM and self._cancelled * 2 > len(self.heap):
            # In place: `move_due` may be in the middle of this very list.
            self.heap[:] = [entry for entry in self.heap if not entry[2]._cancelled]
            heapify(self.heap)
            self._cancelled = 0

    def wait_from(self, now: float) -> float:
        """Seconds from `now` to the first live timer (0 when it is due), at most `LONGEST_WAIT`."""
        heap = self.heap
        # A handle without a callback is a cancelled one.
        while heap and heap[0][2]._callback is None:
            heappop(heap)
            self._cancelled -= 1
        wait = heap[0][0] - now if heap else LONGEST_WAIT
        return 0.0 if wait < 0.0 else wait if wait < LONGEST_WAIT else LONGEST_WAIT

    def move_due(self, until: float, ready: ReadyQueue) -> None:
        """Move every live timer whose time is not after `until` to the end of `ready`, in order."""
        heap = self.heap
        while heap and heap[0][0] <= until:
            handle = heappop(heap)[2]
            handle._scheduled = False
            if handle._cancelled:
                self._cancelled -= 1
            else:
                ready.append(handle)

    def clear(self) -> None:
        """Forget every timer."""
        self.heap.clear()
        self._cancelled = 0
