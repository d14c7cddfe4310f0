"""The welcome page in a real browser: headless Chromium, driven by the DevTools protocol.

Skipped, and said so, where there is no Chromium. It gets a new profile and talks to nobody but the server.
"""

import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from support.serving import Server, serving

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--no-first-run", "--disable-dev-shm-usage", "--remote-debugging-port=0")
PATIENCE = 60.0

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="NO BROWSER: there is no Chromium here (apt-get install chromium), so nothing was tried in one")


class Page:
    """One page in the browser."""

    def __init__(self, browser: ClientConnection, url: str) -> None:
        self._browser = browser
        self._numbers = itertools.count(1)
        self._session: str | None = None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._call("Page.enable")
        self._call("Page.navigate", url=url)
        self.run("new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))")

    def run(self, script: str) -> Any:
        """The value of an expression, waited for when it is a promise."""
        got = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in got, got
        return got["result"].get("value")

    def wait_text(self, name: str, pattern: str) -> str:
        """The text of an element, once it fits the pattern."""
        script = f"""new Promise((done, fail) => {{
            const element = document.getElementById({name!r}), look = () => /{pattern}/.test(element.textContent) && done(element.textContent);
            new MutationObserver(look).observe(element, {{ childList: true, characterData: true, subtree: true }});
            setTimeout(() => fail(new Error("it says: " + element.textContent)), 20000);
            look();
        }})"""
        return str(self.run(script))

    def _call(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._browser.send(json.dumps(message))
        while True:
            answer = json.loads(self._browser.recv(PATIENCE))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving("penstock.welcome:app") as server:
        yield server


@pytest.fixture(scope="module")
def page(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    profile: Path = tmp_path_factory.mktemp("profile")
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        address = next(filter(None, (re.search(r"listening on (ws://\S+)", line) for line in process.stderr)))[1]
        with connect(address, open_timeout=PATIENCE, proxy=None, max_size=None) as browser:
            yield Page(browser, server.url)
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_the_page_ticks(page: Page) -> None:
    assert page.wait_text("clock-note", "live")


def test_a_form_comes_back(page: Page) -> None:
    page.run("document.querySelector('#echo button').click()")
    assert page.wait_text("answer", "read:") == "The server got 22 bytes and read: Hello, penstock"


def test_a_websocket_talks_in_both_directions_and_stays_open(page: Page, server: Server) -> None:
    for text in ("Hello again", "h\u00e9 \u20ac \U0001f601", "x" * 100_000):
        page.run(f"said.value = {json.dumps(text)}; document.querySelector('#talk button').click()")
        length = len(text)
        assert page.wait_text("heard", f"heard {length} characters") == f"The server heard {length} characters: {text}"
    assert server.stdout.count("GET /socket HTTP/1.1") == 1
    assert page.run("socket.extensions").startswith("permessage-deflate")


def test_octets_come_back_as_they_are(page: Page) -> None:
    script = """new Promise((done, fail) => {
        const other = new WebSocket(socket.url), sent = new Uint8Array(300000).map((_, place) => place * 7);
        other.binaryType = "arraybuffer";
        other.onopen = () => other.send(sent);
        other.onmessage = event => { const got = new Uint8Array(event.data); other.onclose = end => done([
            got.length === sent.length && got.every((octet, place) => octet === sent[place]), end.code, end.reason, end.wasClean]);
            other.close(4001, "enough"); };
        other.onerror = fail;
    })"""
    assert page.run(script) == [True, 4001, "enough", True]


def test_a_websocket_that_is_not_wanted_is_refused(page: Page) -> None:
    script = """new Promise(done => { const other = new WebSocket(socket.url + "/not-there"); other.onclose = end => done([end.code, end.wasClean]); })"""
    assert page.run(script) == [1006, False]


def test_at_the_end_the_page_is_told(page: Page, server: Server) -> None:
    assert server.stop() == 0
    assert page.wait_text("heard", "closed") == "The WebSocket was closed: 1012 the server stops"
