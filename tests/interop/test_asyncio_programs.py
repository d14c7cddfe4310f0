"""What ordinary asyncio programs do beside HTTP: databases in threads, child processes, TLS upgrades, failing names."""

import asyncio
import contextlib
import os
import signal
import socket
import sqlite3
import sys
from pathlib import Path

import pytest

from interop.looping import make_certificate, on_our_loop


def test_a_database_works_in_an_executor(tmp_path: Path) -> None:
    def insert(number: int) -> int:
        with contextlib.closing(sqlite3.connect(tmp_path / "db", timeout=15)) as database, database:
            database.execute("create table if not exists shelf (number integer)")
            database.execute("insert into shelf values (?)", (number,))
            return int(database.execute("select count(*) from shelf").fetchone()[0])

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, insert, 0)
        counts = await asyncio.gather(*(asyncio.to_thread(insert, number) for number in range(1, 30)))
        assert max(counts) == 30

    on_our_loop(main())


def test_a_child_process_writes_and_reads_megabytes() -> None:
    copy = "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"
    body = os.urandom(10 << 20)

    async def main() -> None:
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", copy, stdin=pipe, stdout=pipe, stderr=pipe)
        out, err = await child.communicate(body)
        assert (child.returncode, err) == (0, b"")
        assert out == body

    on_our_loop(main())


def test_many_children_end_each_with_its_own_code() -> None:
    async def main() -> None:
        async def end_with(code: int) -> int:
            child = await asyncio.create_subprocess_exec(sys.executable, "-c", f"raise SystemExit({code})")
            return await child.wait()

        assert await asyncio.gather(*(end_with(code) for code in range(8))) == list(range(8))

    on_our_loop(main())


def test_a_shell_is_run_and_a_child_is_killed() -> None:
    async def main() -> None:
        shell = await asyncio.create_subprocess_shell("echo one; exit 3", stdout=asyncio.subprocess.PIPE)
        assert (await shell.communicate())[0].split() == [b"one"]
        assert shell.returncode == 3
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(100)")
        child.kill()
        assert await child.wait() == -signal.SIGKILL

    on_our_loop(main())


def test_a_plain_stream_is_upgraded_to_tls(tmp_path: Path) -> None:
    server_context, client_context = make_certificate(tmp_path)
    body = os.urandom(1 << 20)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readline() == b"STARTTLS\n":
            writer.write(b"go\n")
            await writer.drain()
            await writer.start_tls(server_context)
            writer.write(await reader.readexactly(len(body)))
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def main() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"STARTTLS\n")
            assert await reader.readline() == b"go\n"
            await writer.start_tls(client_context, server_hostname="localhost")
            writer.write(body)
            assert await reader.readexactly(len(body)) == body
            assert writer.get_extra_info("cipher")
            writer.close()
            await writer.wait_closed()

    on_our_loop(main())


def test_a_name_that_does_not_exist_is_an_error_to_the_one_who_asked() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("no such host", 80)
        with pytest.raises(socket.gaierror):
            await asyncio.open_connection("no such host", 80)
        # The loop goes on.
        assert await loop.getaddrinfo("127.0.0.1", 80)

    on_our_loop(main())


def test_a_refused_connection_is_an_error_that_names_the_address() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        with pytest.raises(ConnectionRefusedError, match=str(port)):
            await asyncio.open_connection("127.0.0.1", port)

    on_our_loop(main())


def test_a_connection_that_is_not_taken_can_be_cancelled() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            # A backlog of none holds one connection; further ones are left without an answer.
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            address = listener.getsockname()
            for _ in range(4):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(address)
            connecting = loop.create_task(asyncio.open_connection(*address))
            raw = stack.enter_context(socket.socket())
            raw.setblocking(False)
            connecting_raw = loop.create_task(loop.sock_connect(raw, address))
            assert await asyncio.wait({connecting, connecting_raw}, timeout=0.05) == (set(), {connecting, connecting_raw})
            for task in (connecting, connecting_raw):
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

    on_our_loop(main())


def test_a_stream_ends_for_the_reader_when_the_writer_closes_its_half() -> None:
    async def answer_at_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = await reader.read()
        writer.write(body[::-1])
        writer.close()
        await writer.wait_closed()

    async def main() -> None:
        async with await asyncio.start_server(answer_at_the_end, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"drawer")
            writer.write_eof()
            assert await reader.read() == b"reward"
            writer.close()
            await writer.wait_closed()

    on_our_loop(main())
