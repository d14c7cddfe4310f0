import asyncio
import functools
from typing import Any

import pytest
from support.asgi import ask

from penstock.asgi.interface import adapt, interface_of, takes


async def asgi3(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-version", scope["asgi"]["version"].encode())]})
    await send({"type": "http.response.body", "body": (await receive())["body"]})


def asgi2(scope: Any) -> Any:
    return functools.partial(asgi3, scope)


class Asgi2:
    def __init__(self, scope: Any) -> None:
        self.scope = scope

    async def __call__(self, receive: Any, send: Any) -> None:
        await asgi3(self.scope, receive, send)


class Site:
    """As frameworks make them: an instance is the application."""

    def __init__(self, name: str = "site") -> None:
        pass

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await asgi3(scope, receive, send)


class NamedSite(Site):
    def __init__(self, name: str) -> None:
        pass


class Awaited:
    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self.call = asgi3(scope, receive, send)

    def __await__(self) -> Any:
        return self.call.__await__()


class Router:
    def __call__(self, scope: Any) -> Any:
        return asgi2(scope)


class Wsgi:
    def __call__(self, environ: Any, start_response: Any) -> Any:
        return []


def wsgi(environ: Any, start_response: Any, encoding: str = "utf-8") -> Any:
    return []


class StandIn:
    """As `flask.request`: it asks for what it stands for, which is not there outside of a request."""

    def __call__(self, *arguments: Any) -> Any:
        return self._found()(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._found(), name)

    def _found(self) -> Any:
        raise RuntimeError("working outside of request context")


def passes_on(scope: Any, receive: Any, send: Any) -> Any:
    return asgi3(scope, receive, send)


def passes_all_on(*arguments: Any) -> Any:
    return asgi3(*arguments)


async def endpoint(request: Any) -> None: ...


async def socket(request: Any, reply: Any) -> None: ...


def factory(name: str = "site") -> Any:
    return asgi3


@pytest.mark.parametrize("app, kind", [
    (asgi3, "asgi3"), (Site(), "asgi3"), (Site().__call__, "asgi3"), (Awaited, "asgi3"), (passes_on, "asgi3"),
    (passes_all_on, "asgi3"), (functools.partial(asgi3), "asgi3"), (type, "asgi3"),
    (asgi2, "asgi2"), (Asgi2, "asgi2"), (Router(), "asgi2"), (functools.partial(asgi2), "asgi2"),
    (wsgi, "wsgi"), (Wsgi(), "wsgi"), (Wsgi().__call__, "wsgi"),
    (endpoint, None), (socket, None), (factory, None), (Site, None), (NamedSite, None),
])
def test_an_application_is_known_by_its_parameters(app: Any, kind: str | None) -> None:
    assert interface_of(app) == kind


def test_what_stands_in_for_something_that_is_not_there_cannot_be_told_apart() -> None:
    assert takes(StandIn(), 0) and takes(StandIn(), 3) and interface_of(StandIn()) == "asgi3"


@pytest.mark.parametrize("app", [asgi2, Asgi2, Router()])
def test_a_double_callable_answers_and_is_told_its_version(app: Any) -> None:
    answer = ask(adapt(app, "auto"), body=b"hello")
    assert answer.body == b"hello" and answer.headers == {"x-version": "2.0"}


def test_what_is_called_by_wsgi_is_made_one_of_asgi() -> None:
    made = adapt(wsgi, "auto", wsgi_threads=2)
    assert interface_of(made) == "asgi3" and type(made).__name__ == "Wsgi"


def test_what_is_of_the_present_is_called_as_it_is() -> None:
    assert adapt(asgi3, "auto") is asgi3 and adapt(endpoint, "auto") is endpoint


def test_who_says_which_interface_it_is_believed() -> None:
    def double(*arguments: Any) -> Any:
        return asgi2(*arguments)

    assert interface_of(double) == "asgi3" and adapt(double, "asgi3") is double
    assert ask(adapt(double, "asgi2")).status == 200


def test_the_scope_that_others_may_share_is_not_changed_by_a_double_callable() -> None:
    shared = {"version": "3.0", "spec_version": "2.5"}

    async def send(message: Any) -> None: ...

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    asyncio.run(adapt(asgi2, "asgi2")({"type": "http", "asgi": shared}, receive, send))
    assert shared["version"] == "3.0"
