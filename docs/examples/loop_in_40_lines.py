"""An event loop is a queue of callbacks, a heap of timers and one call of select.

Prints:

    first: soon
    after a moment: timer
    from the socket: hello
    done
"""

import heapq
import itertools
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable


class Loop:
    def __init__(self) -> None:
        self.ready: deque[Callable[[], object]] = deque()
        self.timers: list[tuple[float, int, Callable[[], object]]] = []
        self.order = itertools.count()  # timers of the same moment stay in order
        self.selector = selectors.DefaultSelector()
        self.running = False

    def call_soon(self, callback: Callable[[], object]) -> None:
        self.ready.append(callback)

    def call_later(self, delay: float, callback: Callable[[], object]) -> None:
        heapq.heappush(self.timers, (time.monotonic() + delay, next(self.order), callback))

    def add_reader(self, sock: socket.socket, callback: Callable[[], object]) -> None:
        self.selector.register(sock, selectors.EVENT_READ, callback)

    def turn(self) -> None:
        # How long may we sleep? Not at all while something is ready; at most until the first timer.
        timeout = None
        if self.ready:
            timeout = 0.0
        elif self.timers:
            timeout = max(self.timers[0][0] - time.monotonic(), 0.0)
        # The one place where the program waits. (Windows' select does not wait for nothing, hence the sleep.)
        if self.selector.get_map():
            for key, _ in self.selector.select(timeout):
                self.ready.append(key.data)
        else:
            time.sleep(timeout or 0)
        while self.timers and self.timers[0][0] <= time.monotonic():
            self.ready.append(heapq.heappop(self.timers)[2])
        # Only what stands in the queue now: what these callbacks add waits for the next turn.
        for _ in range(len(self.ready)):
            self.ready.popleft()()

    def run(self) -> None:
        self.running = True
        while self.running:
            self.turn()


def main() -> None:
    loop = Loop()
    mine, theirs = socket.socketpair()

    def on_timer() -> None:
        print("after a moment: timer")
        theirs.send(b"hello")

    def on_readable() -> None:
        print("from the socket:", mine.recv(100).decode())
        loop.running = False

    loop.add_reader(mine, on_readable)
    loop.call_later(0.05, on_timer)
    loop.call_soon(lambda: print("first: soon"))
    loop.run()
    print("done")
    loop.selector.close()
    mine.close()
    theirs.close()


if __name__ == "__main__":
    main()
