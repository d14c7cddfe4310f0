"""A server that has nothing to do does nothing."""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.client import Client, ask, request
from support.serving import Server

Serve = Any

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is observed through /proc")


def switches(server: Server) -> int:
    """How often the process gave the processor up of itself: once for each time it slept."""
    lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("voluntary_ctxt_switches")).split()[1])


def test_without_connections_it_never_wakes_up(serve: Serve) -> None:
    with serve() as server:
        assert ask((server.host, server.port), request()).status == 200
        # The sweep finds nobody left and goes to sleep for good.
        time.sleep(1.2)
        before = switches(server)
        time.sleep(1.5)
        # A sweep would make three.
        assert switches(server) - before <= 1


def test_with_idle_connections_it_wakes_twice_a_second(serve: Serve) -> None:
    with serve("--timeout-keep-alive", "60") as server:
        clients = [Client((server.host, server.port)) for _ in range(20)]
        try:
            for client in clients:
                client.send(request())
                client.answer()
            before = switches(server)
            time.sleep(1.5)
            assert switches(server) - before <= 6
        finally:
            for client in clients:
                client.socket.close()


@pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace here")
def test_no_system_call_is_made_without_connections(serve: Serve) -> None:
    with serve() as server:
        time.sleep(0.3)
        try:
            trace = subprocess.run(
                ["timeout", "--signal=INT", "1", "strace", "-f", "-p", str(server.pid)], capture_output=True, text=True, timeout=10,
            )
        except subprocess.TimeoutExpired:
            pytest.skip("strace may not attach here")
        if "attached" not in trace.stderr:
            pytest.skip("strace may not attach here")
        calls = [line for line in trace.stderr.splitlines() if "(" in line and "attached" not in line and "detached" not in line]
        # The one it is asleep in.
        assert len(calls) <= 1, calls
