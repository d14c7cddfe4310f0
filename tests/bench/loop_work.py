"""What an event loop does all day, in small: the workloads of the loop bench, and the lines of its table.

Each workload is a coroutine function that does `count` operations on the running loop. It tells its gauge when to
`begin` and when to `end`. Here are callbacks, timers, tasks and futures; what moves bytes is in `loop_talk.py`.
"""

import asyncio
from functools import partial

from bench.loop_gauges import Gauge, MemoryGauge, Workload
from bench.loop_talk import (
    IDLE,
    datagram_echo,
    echo_among_idle,
    idle_memory,
    idle_transports,
    protocol_echo,
    sock_ping_pong,
    stream_echo,
    subprocess_spawn,
)


def nothing() -> None:
    """A callback that costs as little as can be."""


async def call_soon(gauge: Gauge, count: int) -> None:
    loop = asyncio.get_running_loop()
    gauge.begin()
    for _ in range(count // 100):
        for _ in range(100):
            loop.call_soon(nothing)
        await asyncio.sleep(0)
    gauge.end()


async def call_soon_chain(gauge: Gauge, count: int) -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    left = count

    def step() -> None:
        nonlocal left
        left -= 1
        if left:
            loop.call_soon(step)
        else:
            done.set_result(None)

    gauge.begin()
    loop.call_soon(step)
    await done
    gauge.end()


async def call_soon_threadsafe(gauge: Gauge, count: int) -> None:
    loop = asyncio.get_running_loop()
    gauge.begin()
    for _ in range(count // 100):
        for _ in range(100):
            loop.call_soon_threadsafe(nothing)
        await asyncio.sleep(0)
    gauge.end()


async def call_later_cancel(gauge: Gauge, count: int) -> None:
    loop = asyncio.get_running_loop()
    gauge.begin()
    for _ in range(count // 100):
        for _ in range(100):
            loop.call_later(60, nothing).cancel()
        await asyncio.sleep(0)
    gauge.end()


async def call_later_fire(gauge: Gauge, count: int) -> None:
    loop = asyncio.get_running_loop()
    gauge.begin()
    for _ in range(count // 100):
        for _ in range(100):
            loop.call_later(0, nothing)
        await asyncio.sleep(0)
    gauge.end()


async def task_switch(gauge: Gauge, count: int) -> None:
    async def worker() -> None:
        for _ in range(count // 100):
            await asyncio.sleep(0)

    gauge.begin()
    await asyncio.gather(*[worker() for _ in range(100)])
    gauge.end()


async def task_create(gauge: Gauge, count: int) -> None:
    async def worker() -> None:
        pass

    gauge.begin()
    for _ in range(count):
        await asyncio.create_task(worker())
    gauge.end()


async def future_round_trip(gauge: Gauge, count: int) -> None:
    loop = asyncio.get_running_loop()
    gauge.begin()
    for _ in range(count):
        future = loop.create_future()
        loop.call_soon(future.set_result, None)
        await future
    gauge.end()


# What the loop is judged by.
LINES: dict[str, Workload] = {
    "call_soon": Workload(call_soon, 100_000, "µs a callback, a hundred a turn"),
    "call_later and cancel": Workload(call_later_cancel, 50_000, "µs a timer"),
    "task switch": Workload(task_switch, 100_000, "µs an await of sleep(0), a hundred tasks"),
    "future round-trip": Workload(future_round_trip, 40_000, "µs a future made, set by a callback, awaited"),
    "sock ping-pong": Workload(sock_ping_pong, 10_000, "µs 64 bytes there and back, sock_sendall and sock_recv"),
    "stream echo 64 B": Workload(partial(stream_echo, size=64), 8_000, "µs a message there and back"),
    "stream echo 1 KiB": Workload(partial(stream_echo, size=1024), 8_000, "µs a message there and back"),
    "stream echo 64 KiB": Workload(partial(stream_echo, size=65536), 3_000, "µs a message there and back"),
    "TLS stream echo 1 KiB": Workload(partial(stream_echo, size=1024, secure=True), 4_000, "µs a message there and back"),
    "datagram echo": Workload(datagram_echo, 15_000, "µs a datagram of 64 bytes there and back"),
    "subprocess spawn": Workload(subprocess_spawn, 100, "µs a program started with three pipes, and awaited"),
    "10,000 idle transports": Workload(idle_transports, IDLE, "µs a transport made and closed"),
}
# The same from other sides.
MORE: dict[str, Workload] = {
    "call_soon chain": Workload(call_soon_chain, 50_000, "µs a callback, one a turn"),
    "call_soon_threadsafe": Workload(call_soon_threadsafe, 50_000, "µs a callback, from the loop's thread"),
    "call_later and fire": Workload(call_later_fire, 50_000, "µs a timer that is due at once"),
    "task": Workload(task_create, 30_000, "µs a task made, run and awaited"),
    "protocol echo 64 B": Workload(partial(protocol_echo, size=64), 20_000, "µs a message there and back"),
    "protocol echo 64 KiB": Workload(partial(protocol_echo, size=65536), 5_000, "µs a message there and back"),
    "echo among 10,000": Workload(echo_among_idle, 20_000, "µs a message of 64 bytes, idle transports beside it"),
    "memory of 10,000": Workload(idle_memory, IDLE, "bytes an idle transport", MemoryGauge, is_fresh=True),
}
WORKLOADS = LINES | MORE
