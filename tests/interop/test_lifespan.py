"""Starting and stopping a framework's application: its lifespan is entered before the banner and left before the end."""

import signal

import httpx
import pytest

from interop.conftest import APPS
from support.serving import serving


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_lifespan_is_entered_before_the_first_request_and_left_before_the_end(number: int) -> None:
    with serving("fastapi_app:app", "--app-dir", str(APPS)) as server:
        assert server.stdout.startswith("opening")
        assert "closing" not in server.stdout
        assert httpx.get(f"{server.url}/jobs", trust_env=False).json() == []
        assert server.stop(number) == 0
        assert "\nclosing\n" in server.stdout
