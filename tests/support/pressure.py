"""Clients that ask a server again and again from threads, half of them on connections that they keep.

    with Pressure(server, clients=8) as load:
        ... reload the server ...
        load.wait_until_answered(b"new")
    assert load.failures == []

A keep-alive client opens a new connection when an answer has said `Connection: close`, and at no other time: every
connection that ends under a request is a failure, and so are refusals and answers that are not 200.
"""

import threading
import time
from types import TracebackType

from .client import PATIENCE, Client, request
from .serving import Server


class Pressure:
    """Continuous load; `pause` is the time between two requests of a client."""

    def __init__(self, server: Server, clients: int = 8, pause: float = 0.005, path: str = "/") -> None:
        self.failures: list[str] = []
        self.lost: list[int] = []
        """The ports from which the requests came that failed; 0 where there was no connection."""
        self.waits: list[tuple[float, float]] = []
        """When each request was answered, and how long it took."""
        self.count = 0
        self.longest = 0.0
        """Seconds that one request took at most, connecting included."""
        self._address = (server.host, server.port)
        self._pause = pause
        self._octets = request(path)
        self._last: dict[bytes, float] = {}
        self._news = threading.Condition()
        self._stop = threading.Event()
        kinds = [self._keep_asking if number % 2 else self._ask_anew for number in range(clients)]
        self._threads = [threading.Thread(target=kind, daemon=True) for kind in kinds]

    def __enter__(self) -> "Pressure":
        for thread in self._threads:
            thread.start()
        self.wait_for_answers(len(self._threads))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    @property
    def bodies(self) -> list[bytes]:
        """What was answered, each once, in the order in which it was seen last."""
        with self._news:
            return sorted(self._last, key=lambda body: self._last[body])

    def longest_between(self, begin: float, end: float) -> float:
        """Seconds that a request took at most of those that ran at some time between these two moments."""
        with self._news:
            return max((took for at, took in self.waits if at >= begin and at - took <= end), default=0.0)

    def wait_for_answers(self, count: int, patience: float = PATIENCE) -> None:
        """Wait until so many more requests have been answered."""
        with self._news:
            goal = self.count + count
            if not self._news.wait_for(lambda: self.count >= goal, patience):
                raise AssertionError(f"only {self.count} answers of {goal}; failures: {self.failures[:5]}")

    def wait_until_answered(self, body: bytes, patience: float = PATIENCE) -> float:
        """Wait for an answer with this body; when it came."""
        begin = time.monotonic()
        with self._news:
            if not self._news.wait_for(lambda: self._last.get(body, 0) > begin, patience):
                raise AssertionError(f"nobody answered {body!r}; failures: {self.failures[:5]}")
        return time.monotonic()

    def _ask_anew(self) -> None:
        while not self._stop.is_set():
            self._try(None)
            self._stop.wait(self._pause)

    def _keep_asking(self) -> None:
        client: Client | None = None
        while not self._stop.is_set():
            client = self._try(client, keeps=True)
            self._stop.wait(self._pause)
        if client is not None:
            client.socket.close()

    def _try(self, client: Client | None, keeps: bool = False) -> Client | None:
        """One request; the connection, if it can be used again."""
        begin, port = time.monotonic(), 0
        kind = "new" if client is None else "kept"
        try:
            client = client or Client(self._address)
            port = client.socket.getsockname()[1]
            client.send(self._octets)
            answer = client.answer()
            if answer.status != 200:
                raise AssertionError(f"status {answer.status}")
        except (OSError, AssertionError) as error:
            self._note(f"{kind} connection: {type(error).__name__}: {error}", b"", begin, port)
            if client is not None:
                client.socket.close()
            return None
        self._note("", answer.body, begin, port)
        if keeps and answer.get("connection") != "close":
            return client
        client.socket.close()
        return None

    def _note(self, failure: str, body: bytes, begin: float, port: int) -> None:
        now = time.monotonic()
        with self._news:
            if failure:
                self.failures.append(failure)
                self.lost.append(port)
            else:
                self.count += 1
                self.longest = max(self.longest, now - begin)
                self.waits.append((now, now - begin))
                self._last[body] = now
            self._news.notify_all()
