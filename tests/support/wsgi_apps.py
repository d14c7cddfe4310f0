"""The WSGI application of the whole-server tests: each path is one way to behave, and a query its argument.

What a test cannot see from outside is printed, a line each, so that it can be waited for.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

Environ = dict[str, Any]
Start = Callable[..., Callable[[bytes], object]]

PIECE = b"x" * 65536


def app(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Do what the path says."""
    return BEHAVIOURS[environ["PATH_INFO"]](environ, start_response)


def say(text: str) -> None:
    print(text, flush=True)


class Watched:
    """An answer that says when it is closed."""

    def __init__(self, name: str, blocks: Iterator[bytes]) -> None:
        self.name = name
        self.blocks = blocks

    def __iter__(self) -> Iterator[bytes]:
        return self.blocks

    def close(self) -> None:
        say(f"{self.name} closed")


def hello(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]


def echo(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Each line of the request as it comes."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return Watched("echo", iter(environ["wsgi.input"].readline, b""))


def count(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [])
    total = 0
    while piece := environ["wsgi.input"].read(10_000):
        total += len(piece)
    return [str(total).encode()]


def upload(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Reads, and says how it ends."""
    say("upload begun")
    try:
        environ["wsgi.input"].read()
    except OSError as error:
        say(f"upload ended by {type(error).__name__}")
        raise
    return hello(environ, start_response)


def big(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """So many pieces, for ever without a number."""
    def pieces() -> Iterator[bytes]:
        left = int(environ["QUERY_STRING"] or -1)
        while left:
            yield PIECE
            left -= 1
            if environ["QUERY_STRING"] == "":
                say("piece")

    start_response("200 OK", [])
    return Watched("big", pieces())


def block(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Blocks whatever is said to it."""
    say("blocking")
    time.sleep(float(environ["QUERY_STRING"]))
    return hello(environ, start_response)


def fail(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [])
    raise LookupError("of the application")


def fail_late(environ: Environ, start_response: Start) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Length", "100")])
    yield b"begun"
    raise LookupError("of the application")


def leave(environ: Environ, start_response: Start) -> Iterable[bytes]:
    raise SystemExit(1)


def errors(environ: Environ, start_response: Start) -> Iterable[bytes]:
    print("a line", "of the application", file=environ["wsgi.errors"])
    return hello(environ, start_response)


def read_after(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Answers first, and then reads what the client sent."""
    write = start_response("200 OK", [])
    write(b"first ")
    return [environ["wsgi.input"].read()]


def file(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """The file of that name."""
    start_response("200 OK", [])
    opened = open(environ["QUERY_STRING"], "rb")
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](opened)
    return wrapped


BEHAVIOURS: dict[str, Callable[[Environ, Start], Iterable[bytes]]] = {
    "/": hello, "/echo": echo, "/count": count, "/upload": upload, "/big": big, "/block": block,
    "/fail": fail, "/fail-late": fail_late, "/leave": leave, "/errors": errors, "/read-after": read_after, "/file": file,
    "/valid": validator(hello),
}
