"""Who runs when, on penstock's loop: earlier callbacks, descriptors, timers; what those add comes after them all.

Prints:

    scheduled before the wait
    found by the wait
    timer that was due
    scheduled by the timer
"""

import socket

from penstock_reactor import new_event_loop


def main() -> None:
    loop = new_event_loop()
    mine, theirs = socket.socketpair()
    theirs.send(b"x")  # so the very first wait finds it readable

    def on_readable() -> None:
        print("found by the wait")
        loop.remove_reader(mine)

    def on_timer() -> None:
        print("timer that was due")
        loop.call_soon(last)

    def last() -> None:
        print("scheduled by the timer")
        loop.stop()

    # The order in which these three are asked for makes no difference.
    loop.call_later(0, on_timer)
    loop.add_reader(mine, on_readable)
    loop.call_soon(print, "scheduled before the wait")
    loop.run_forever()
    loop.close()
    mine.close()
    theirs.close()


if __name__ == "__main__":
    main()
