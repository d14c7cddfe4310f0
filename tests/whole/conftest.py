"""Started servers: one for the tests of a module that want nothing special of it, and one for whoever does."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from support.hangs import bounded
from support.serving import CHECKOUT, Server, serving

Serve = Callable[..., AbstractContextManager[Server]]


def serve_tests_app(*options: str, **more: Any) -> AbstractContextManager[Server]:
    """The application of support/apps.py, served by the command line."""
    return serving("support.apps:app", "--app-dir", str(CHECKOUT / "tests"), *options, **more)


@pytest.fixture(autouse=True)
def hangs_fail() -> Iterator[None]:
    with bounded(60):
        yield


@pytest.fixture
def serve() -> Serve:
    return serve_tests_app


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One server for all tests of a module; it must end well whatever they did to it."""
    with serve_tests_app() as server:
        yield server
        assert server.stop() == 0
