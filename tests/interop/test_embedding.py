"""penstock in a program's own event loop, with FastAPI as the application and httpx in the same loop as its client."""

import asyncio
import sys
from pathlib import Path

import httpx
import pytest

import penstock

APPS = str(Path(__file__).parent / "apps")

if sys.platform != "win32":
    import uvloop

    LOOPS = {"stock": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}
else:
    LOOPS = {"stock": asyncio.SelectorEventLoop}


@pytest.mark.parametrize("loop", LOOPS)
def test_fastapi_is_served_beside_its_client_on_one_loop(loop: str) -> None:
    async def main() -> None:
        async with penstock.serving("fastapi_app:app", app_dir=APPS, port=0) as running:
            async with httpx.AsyncClient(base_url=running.url) as client:
                answers = await asyncio.gather(*(client.get("/openapi.json") for _ in range(50)))
                assert {answer.status_code for answer in answers} == {200}
                streams = await asyncio.gather(*(client.post("/nowhere", content=b"x" * 300_000) for _ in range(10)))
                assert {answer.status_code for answer in streams} == {404}

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main())


@pytest.mark.parametrize("loop", LOOPS)
def test_a_hundred_servers_start_and_stop_on_one_loop(loop: str) -> None:
    async def main() -> None:
        for _ in range(100):
            async with penstock.serving("fastapi_app:app", app_dir=APPS, port=0) as running:
                reader, writer = await asyncio.open_connection(*running.addresses[0])
                writer.write(b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert (await reader.read()).startswith(b"HTTP/1.1 404 ")
                writer.close()
                await writer.wait_closed()
        assert len(asyncio.all_tasks()) == 1

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main())


def test_in_a_thread_it_serves_a_synchronous_client() -> None:
    with penstock.serve_in_thread("fastapi_app:app", app_dir=APPS, port=0) as server, httpx.Client(base_url=server.url) as client:
        assert all(client.get("/openapi.json").status_code == 200 for _ in range(20))
