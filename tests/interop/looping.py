"""Runs a test's coroutine on our event loop, with a limit: a hang is a failure."""

import asyncio
import ssl
import subprocess
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import penstock_reactor

T = TypeVar("T")


def on_our_loop(main: Coroutine[Any, Any, T], limit: float = 20) -> T:
    """The coroutine's result, from a new event loop; TimeoutError past the limit. Debug mode, so misuse is told."""

    async def limited() -> T:
        async with asyncio.timeout(limit):
            return await main

    with asyncio.Runner(debug=True, loop_factory=penstock_reactor.new_event_loop) as runner:
        return runner.run(limited())


def make_certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's TLS context with a certificate of its own for localhost, and a client's that trusts it."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=30,
    )
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=certificate)
