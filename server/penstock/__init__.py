"""penstock: a server for ASGI and WSGI made only of the Python standard library.

`penstock.run(app)` serves an application; `penstock.Settings` is the whole configuration. Importing this
package costs nearly nothing: what is named here is loaded when it is first asked for.
"""

TYPE_CHECKING = False  # as type checkers know it, without the five milliseconds of importing typing
if TYPE_CHECKING:
    from typing import Any

    from .asgi.wsgi import WSGIMiddleware
    from .cli import main
    from .compat import Config, Server
    from .connection.exchange import ClientDisconnected
    from .embedding import Running, StartError, serve, serve_in_thread, serving
    from .settings import Settings

__all__ = [
    "ClientDisconnected", "Config", "Running", "Server", "Settings", "StartError", "WSGIMiddleware", "__version__", "main", "run",
    "serve", "serve_in_thread", "serving",
]  # fmt: skip
__version__ = "0.1.0"

_ROOMS = {
    "ClientDisconnected": ".connection.exchange",
    "Config": ".compat",
    "Running": ".embedding",
    "Server": ".compat",
    "Settings": ".settings",
    "StartError": ".embedding",
    "WSGIMiddleware": ".asgi.wsgi",
    "main": ".cli",
    "serve": ".embedding",
    "serve_in_thread": ".embedding",
    "serving": ".embedding",
}


def run(app: "Any", **options: "Any") -> None:
    """Serve `app`, an application or its import string `MODULE[:ATTR]`, until a signal ends it.

    `options` are the fields of Settings; an unknown one is a TypeError, a bad value a ValueError. Of the environment
    WEB_CONCURRENCY and FORWARDED_ALLOW_IPS are read; PENSTOCK_… and files are for the command line. Returns
    after a graceful end and raises SystemExit otherwise: 3 when the application did not start, 1 when the
    address could not be bound or the end was forced. The caller's import path is left as it is, unless
    `app_dir` is given.
    """
    import asyncio
    import os
    import sys

    from . import cli
    from .sources import SourceError, from_keywords

    options.setdefault("app_dir", None)
    try:
        found = from_keywords(app, options, os.environ)
    except SourceError as error:
        sys.exit(cli.complain(error))
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        code = cli.serve(found)
    else:
        # Most often the module that is being served, which runs this line while it is imported.
        hint = "in a module that is itself served, it belongs under if __name__ == '__main__'"
        raise RuntimeError(f"penstock.run() cannot be called inside a running event loop; {hint}")
    if code:
        sys.exit(code)


def __getattr__(name: str) -> "Any":
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_ROOMS[name], __name__), name)
