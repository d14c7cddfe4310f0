"""A sleeping loop hears of another thread at once: call_soon_threadsafe rings a bell, a socket it always watches.

Prints:

    the loop sleeps, with nothing to do for an hour
    called from the other thread, on the loop's thread: True
    it slept an hour: False
"""

import threading
import time

from penstock_reactor import new_event_loop


def main() -> None:
    loop = new_event_loop()
    loop_thread = threading.current_thread()
    began = time.monotonic()

    def from_elsewhere() -> None:
        print("called from the other thread, on the loop's thread:", threading.current_thread() is loop_thread)
        loop.stop()

    def other_thread() -> None:
        time.sleep(0.05)
        loop.call_soon_threadsafe(from_elsewhere)

    loop.call_later(3600, print, "never")
    loop.call_soon(print, "the loop sleeps, with nothing to do for an hour")
    threading.Thread(target=other_thread).start()
    loop.run_forever()
    print("it slept an hour:", time.monotonic() - began > 3600)
    loop.close()


if __name__ == "__main__":
    main()
