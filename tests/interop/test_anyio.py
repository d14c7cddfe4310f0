"""anyio on our event loop: task groups, cancellation, threads, streams, TLS, processes, signals, files."""

import asyncio
import os
import signal
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest
from anyio.streams.tls import TLSStream

import penstock_reactor
from interop.looping import make_certificate

T = TypeVar("T")


def run(main: Callable[[], Awaitable[T]]) -> T:
    """Run an anyio program on our loop; a hang is a TimeoutError."""

    async def limited() -> T:
        with anyio.fail_after(20):
            return await main()

    result: T = anyio.run(limited, backend_options={"debug": True, "loop_factory": penstock_reactor.new_event_loop})
    return result


def test_a_task_group_cancels_its_tasks_when_one_fails() -> None:
    cancelled = []

    async def sleeper() -> None:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            cancelled.append(True)
            raise

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(sleeper)
            await anyio.lowlevel.checkpoint()
            raise LookupError("one failed")

    with pytest.raises(ExceptionGroup) as failure:
        run(main)
    assert failure.group_contains(LookupError)
    assert cancelled == [True] * 3


def test_scopes_time_out_and_shield() -> None:
    async def main() -> None:
        with anyio.move_on_after(0.01) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError):
            with anyio.fail_after(0.01):
                await anyio.Event().wait()
        with anyio.CancelScope() as outer:
            outer.cancel()
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.01)
            reached = True
        assert reached

    run(main)


def test_threads_are_called_and_call_back() -> None:
    async def twice(number: int) -> int:
        await anyio.lowlevel.checkpoint()
        return number * 2

    def in_thread(number: int) -> int:
        doubled: int = anyio.from_thread.run(twice, number)
        more: int = anyio.from_thread.run_sync(lambda: doubled + 1)
        return more

    async def main() -> None:
        results = {}

        async def call(number: int) -> None:
            results[number] = await anyio.to_thread.run_sync(in_thread, number)

        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(call, number)
        assert results == {number: number * 2 + 1 for number in range(50)}

    run(main)


def test_a_portal_from_a_thread_runs_on_our_loop() -> None:
    async def where() -> str:
        return type(asyncio.get_running_loop()).__module__

    options = {"loop_factory": penstock_reactor.new_event_loop}
    with anyio.from_thread.start_blocking_portal("asyncio", options) as portal:
        assert portal.call(where).startswith("penstock_reactor")


def test_tcp_streams_carry_megabytes_both_ways() -> None:
    body = os.urandom(1 << 20)

    async def main() -> None:
        async def echo(stream: anyio.abc.SocketStream) -> None:
            async with stream:
                async for piece in stream:
                    await stream.send(piece)

        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, echo)
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                group.start_soon(stream.send, body)
                got = bytearray()
                while len(got) < len(body):
                    got += await stream.receive()
                assert got == body
            group.cancel_scope.cancel()

    run(main)


def test_unix_and_udp_sockets_work(tmp_path: Path) -> None:
    async def main() -> None:
        async def answer(stream: anyio.abc.SocketStream) -> None:
            async with stream:
                await stream.send(b"<" + await stream.receive() + b">")

        async with await anyio.create_unix_listener(tmp_path / "s") as listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, answer)
            async with await anyio.connect_unix(tmp_path / "s") as stream:
                await stream.send(b"unix")
                assert await stream.receive() == b"<unix>"
            group.cancel_scope.cancel()
        async with await anyio.create_udp_socket(socket.AF_INET, local_host="127.0.0.1") as one:
            port = one.extra(anyio.abc.SocketAttribute.local_port)
            async with await anyio.create_connected_udp_socket("127.0.0.1", port) as two:
                await two.send(b"datagram")
                assert (await one.receive())[0] == b"datagram"

    run(main)


def test_tls_streams_shake_hands_and_carry_a_megabyte(tmp_path: Path) -> None:
    server_context, client_context = make_certificate(tmp_path)
    body = os.urandom(1 << 20)

    async def main() -> None:
        async def send_all(stream: TLSStream) -> None:
            async with stream:
                await stream.send(body)

        tcp = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = tcp.extra(anyio.abc.SocketAttribute.local_port)
        listener = anyio.streams.tls.TLSListener(tcp, server_context)
        async with listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, send_all)
            async with await anyio.connect_tcp("127.0.0.1", port, ssl_context=client_context, tls_hostname="localhost") as stream:
                got = b"".join([piece async for piece in stream])
            group.cancel_scope.cancel()
        assert got == body

    run(main)


def test_an_untrusted_certificate_is_refused(tmp_path: Path) -> None:
    server_context, _ = make_certificate(tmp_path)

    async def main() -> None:
        tcp = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = tcp.extra(anyio.abc.SocketAttribute.local_port)
        listener = anyio.streams.tls.TLSListener(tcp, server_context)
        async with listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, anyio.aclose_forcefully)
            with pytest.raises(ssl.SSLCertVerificationError):
                await anyio.connect_tcp("127.0.0.1", port, tls=True, tls_hostname="localhost")
            group.cancel_scope.cancel()

    run(main)


def test_processes_are_run_spoken_to_and_killed() -> None:
    async def main() -> None:
        done = await anyio.run_process([sys.executable, "-c", "print('x' * 3_000_000)"])
        assert len(done.stdout.strip()) == 3_000_000
        done = await anyio.run_process([sys.executable, "-c", "import sys; sys.exit(len(sys.stdin.read()))"], input=b"abc", check=False)
        assert done.returncode == 3
        with anyio.move_on_after(0.2):
            await anyio.run_process([sys.executable, "-c", "import time; time.sleep(100)"])
        async with await anyio.open_process([sys.executable, "-c", "input()"], stdin=-1) as process:
            process.terminate()
            assert await process.wait() == -signal.SIGTERM

    run(main)


def test_signals_are_received() -> None:
    async def main() -> None:
        with anyio.open_signal_receiver(signal.SIGUSR1) as signals:
            os.kill(os.getpid(), signal.SIGUSR1)
            async for number in signals:
                assert number == signal.SIGUSR1
                break

    run(main)


def test_files_are_read_and_names_resolved(tmp_path: Path) -> None:
    async def main() -> None:
        path = anyio.Path(tmp_path / "file")
        await path.write_text("written")
        async with await anyio.open_file(path) as file:
            assert await file.read() == "written"
        found = await anyio.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
        assert {address[0] for *_, address in found} & {"127.0.0.1", "::1"}

    run(main)


def test_a_raw_socket_is_waited_for() -> None:
    async def main() -> None:
        one, two = socket.socketpair()
        with one, two:
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.wait_readable, one)
                await anyio.wait_writable(two)
                two.send(b"x")
            assert one.recv(1) == b"x"

    run(main)


def test_memory_streams_and_locks_pass_work_between_many_tasks() -> None:
    async def main() -> None:
        send, receive = anyio.create_memory_object_stream[int](10)
        got: list[int] = []
        lock = anyio.Lock()

        async def consume() -> None:
            async with receive.clone() as mine:
                async for number in mine:
                    async with lock:
                        got.append(number)

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(consume)
            async with send:
                for number in range(1000):
                    await send.send(number)
            receive.close()
        assert sorted(got) == list(range(1000))

    run(main)


def test_the_result_of_a_program_comes_back() -> None:
    async def main(number: int) -> int:
        return number

    assert run(partial(main, 7)) == 7
