"""Large bodies in both directions: whole, and in little memory however slow the other side is."""

import re
import sys
import threading
import time
from pathlib import Path

import pytest
from support.client import Client, request
from support.serving import Server

SIZE = 100 << 20
SPARE_KIB = 8 * 1024

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


def peak_kib(server: Server) -> int:
    """The most memory the server ever had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{server.pid}/status").read_text())
    assert found is not None
    return int(found[1])


def upload(client: Client, path: str) -> bytes:
    client.send(request(path, "POST", f"content-length: {SIZE}\r\n"))
    block = b"x" * (1 << 20)
    for _ in range(SIZE // len(block)):
        client.send(block)
    return client.answer().body


@pytest.mark.parametrize("pause", ["0", "0.5"])
def test_a_large_upload_takes_no_memory_whether_the_app_reads_at_once_or_later(server: Server, pause: str) -> None:
    with Client((server.host, server.port)) as client:
        client.send(request())
        client.answer()
        before = peak_kib(server)
        size, largest = upload(client, f"/count?{pause}").split()
        assert int(size) == SIZE and int(largest) < 300_000
    assert peak_kib(server) - before < SPARE_KIB


def test_a_large_upload_in_chunks_takes_no_memory(server: Server) -> None:
    with Client((server.host, server.port)) as client:
        client.send(request())
        client.answer()
        before = peak_kib(server)
        client.send(request("/count?0.2", "POST", "transfer-encoding: chunked\r\n"))
        chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        for _ in range(SIZE >> 20):
            client.send(chunk)
        client.send(b"0\r\n\r\n")
        assert client.answer().body.startswith(b"%d " % SIZE)
    assert peak_kib(server) - before < SPARE_KIB


def test_a_large_download_takes_no_memory_while_the_client_does_not_read(server: Server) -> None:
    with Client((server.host, server.port), receive_buffer=65536) as client:
        client.send(request())
        client.answer()
        before = peak_kib(server)
        client.send(request(f"/big?{SIZE}"))
        assert client.head().get("transfer-encoding") == "chunked"
        # As much as it could send in that time would be many times the bound.
        time.sleep(0.3)
        size = 0
        while piece := int(client.line(), 16):
            size += len(client.take(piece + 2)) - 2
        assert size == SIZE
    assert peak_kib(server) - before < SPARE_KIB


def test_pipelined_requests_for_large_answers_are_answered_one_at_a_time(server: Server) -> None:
    with Client((server.host, server.port), receive_buffer=65536) as client:
        client.send(request())
        client.answer()
        before = peak_kib(server)
        client.send(request("/unread?1000000") * 60)
        time.sleep(0.3)
        assert sum(len(client.answer().body) for _ in range(60)) == 60_000_000
    assert peak_kib(server) - before < SPARE_KIB


def test_both_ways_at_once(server: Server) -> None:
    """What is echoed piece by piece must not wait for the end of the upload, nor the upload for the client's reading."""
    with Client((server.host, server.port)) as client:
        total = 20 << 20

        def send() -> None:
            client.send(request("/mirror", "POST", f"content-length: {total}\r\n"))
            for _ in range(total >> 16):
                client.send(b"x" * 65536)

        sender = threading.Thread(target=send)
        sender.start()
        assert len(client.answer().body) == total
        sender.join()
