import asyncio
from typing import Any

import pytest

from penstock.middleware.proxy_headers import ProxyHeadersMiddleware


def passed(scope: dict[str, Any], **options: Any) -> dict[str, Any]:
    """What the application behind it is given."""
    seen: list[dict[str, Any]] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        seen.append(scope)

    asyncio.run(ProxyHeadersMiddleware(app, **options)(scope, None, None))
    return seen[0]


HEADERS = [(b"x-forwarded-for", b"1.2.3.4"), (b"x-forwarded-proto", b"https")]


@pytest.mark.parametrize("kind, scheme", [("http", "https"), ("websocket", "wss")])
def test_a_trusted_proxy_says_who_the_client_is(kind: str, scheme: str) -> None:
    scope = passed({"type": kind, "client": ["127.0.0.1", 1], "scheme": "http", "headers": HEADERS})
    assert (scope["client"], scope["scheme"]) == (("1.2.3.4", 0), scheme)


@pytest.mark.parametrize("options, client", [
    ({}, ("9.9.9.9", 1)), ({"trusted_hosts": ["9.9.9.0/24"]}, ("1.2.3.4", 0)), ({"trusted_hosts": "*"}, ("1.2.3.4", 0)),
])
def test_others_are_not_believed(options: Any, client: Any) -> None:
    assert passed({"type": "http", "client": ("9.9.9.9", 1), "scheme": "http", "headers": HEADERS}, **options)["client"] == client


def test_a_scope_without_a_client_or_of_another_type_goes_through() -> None:
    assert passed({"type": "lifespan"}) == {"type": "lifespan"}
    assert passed({"type": "http", "scheme": "http", "headers": HEADERS}, trusted_hosts="*")["client"] == ("1.2.3.4", 0)
