"""Which interface an application speaks, and each of them as ASGI 3, the only one that the rest of the server knows.

    asgi3   app(scope, receive, send), async
    asgi2   app(scope) returns what is called with (receive, send), async
    wsgi    app(environ, start_response) returns an iterable of bytes (PEP 3333)

What is callable with how many arguments tells them apart; nothing is called for it. `adapt` is asked once, when the
application is loaded.
"""

import inspect
from collections.abc import Callable
from typing import Any

ASGI = "(scope, receive, send) as ASGI asks"


def adapt(app: Any, interface: str, *, wsgi_threads: int = 1, has_siblings: bool = False) -> Any:
    """`app` as an ASGI 3 application. With "auto", one that cannot be told apart is taken for that already.

    `wsgi_threads` and `has_siblings` (whether other processes serve, too) are for WSGI.
    """
    kind = interface_of(app) if interface == "auto" else interface
    if kind == "asgi2":
        return _from_asgi2(app)
    if kind == "wsgi":
        # Not for those who do not need it: it takes threads, queues and streams.
        from .wsgi import Wsgi

        return Wsgi(app, wsgi_threads, has_siblings=has_siblings)
    return app


def interface_of(app: Any) -> str | None:
    """"asgi3", "asgi2" or "wsgi"; None for what can be called as none of them."""
    is_class = isinstance(app, type)
    is_async = not is_class and inspect.iscoroutinefunction(app if inspect.isroutine(app) else type(app).__call__)
    takes_one = takes(app, 1)
    if takes(app, 2) and not takes_one and not is_async:
        return "wsgi"
    if takes(app, 3):
        return "asgi3"
    if takes_one and not takes(app, 0) and not is_async and (not is_class or takes(app.__call__, 3)):
        return "asgi2"
    return None


def takes(value: Any, count: int) -> bool:
    """Whether `value` can be called with `count` arguments; True when that cannot be known."""
    try:
        signature = inspect.signature(value, follow_wrapped=False)
    except Exception:
        # Also what stands in for an object that is not there yet, such as `flask.request`, and raises what it likes.
        return True
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def _from_asgi2(app: Callable[[Any], Any]) -> Any:
    async def single(scope: dict[str, Any], receive: Any, send: Any) -> None:
        scope["asgi"] = {**scope["asgi"], "version": "2.0"}
        await app(scope)(receive, send)

    return single
