import asyncio
from typing import Any

import pytest

from penstock.asgi.smoke import SmokeFailed, smoke
from penstock.settings import Settings


def stand_trial(app: Any, *paths: str, state: dict[str, Any] | None = None, **options: Any) -> None:
    asyncio.run(smoke(app, Settings(smoke=paths, **options), state))


def answering(status: int, *, seen: list[Any] | None = None, is_complete: bool = True) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        if seen is not None:
            seen.append((scope, message))
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        if is_complete:
            await send({"type": "http.response.body"})
            if seen is not None:
                seen.append(await receive())

    return app


def test_without_paths_nothing_is_asked() -> None:
    stand_trial(None)


def test_each_path_is_asked_for_as_a_client_would() -> None:
    seen: list[Any] = []
    stand_trial(answering(200, seen=seen), "/a%20b?x=1", "/c", state={"pool": 1}, root_path="/api")
    (first, body), end, (second, _), _ = seen
    assert (first["path"], first["raw_path"], first["query_string"]) == ("/api/a b", b"/api/a%20b", b"x=1")
    assert first["type"] == "http" and first["method"] == "GET" and first["state"] == {"pool": 1}
    assert body == {"type": "http.request", "body": b"", "more_body": False} and end == {"type": "http.disconnect"}
    assert second["path"] == "/api/c" and second["state"] is not first["state"]
    stand_trial(answering(200, seen=seen), "/")
    assert "state" not in seen[-2][0]


@pytest.mark.parametrize("status", [200, 204, 302, 404, 499])
def test_below_500_is_well(status: int) -> None:
    stand_trial(answering(status), "/")


async def raising(scope: Any, receive: Any, send: Any) -> None:
    raise ZeroDivisionError("its own fault")


async def silent(scope: Any, receive: Any, send: Any) -> None:
    return


async def hanging(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.Event().wait()


async def ending(scope: Any, receive: Any, send: Any) -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize("app, told", [
    (answering(500), "was answered with 500."), (answering(503), "was answered with 503."), (silent, "was not answered."),
    (answering(200, is_complete=False), "was not answered."), (raising, "failed.\nTraceback"), (ending, "failed."),
    (hanging, r"was not answered in time \(--timeout-startup\). It waits here:\n  File .* in hanging"),
])  # fmt: skip
def test_all_else_fails_with_the_path_and_what_happened(app: Any, told: str) -> None:
    with pytest.raises(SmokeFailed, match=rf"(?s)The request on trial for /x\?y \(--smoke\) {told}"):
        stand_trial(app, "/x?y", timeout_startup=0.05)


def test_the_first_failure_ends_the_trial() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answering(500 if scope["path"] == "/b" else 200)(scope, receive, send)

    with pytest.raises(SmokeFailed, match="for /b"):
        stand_trial(app, "/a", "/b", "/c")


def test_a_trial_that_is_broken_off_leaves_nothing_behind() -> None:
    async def main() -> None:
        trial = asyncio.ensure_future(smoke(hanging, Settings(smoke=("/",)), None))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        trial.cancel()
        await asyncio.wait([trial])
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
