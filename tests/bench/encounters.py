"""Clients that note what they meet: probes at a steady pace, and single ones that are slow or late on purpose."""

import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field

GET = b"GET %s HTTP/1.1\r\nHost: test\r\n\r\n"
UPGRADE = (b"GET /ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
PACE = 0.05


@dataclass(frozen=True, slots=True)
class Met:
    """What became of one request: the body, or what went wrong."""

    body: bytes = b""
    trouble: str = ""
    begin: float = 0.0
    took: float = 0.0


def ask(port: int, patience: float = 10.0) -> Met:
    """One request on a connection of its own."""
    begin = time.monotonic()
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=patience) as client:
            client.sendall(GET % b"/")
            body, _ = _answer(client)
            return Met(body, "" if body else "lost", begin, time.monotonic() - begin)
    except ConnectionRefusedError:
        return Met(b"", "refused", begin, time.monotonic() - begin)
    except TimeoutError:
        return Met(b"", "hung", begin, time.monotonic() - begin)
    except OSError:
        return Met(b"", "lost", begin, time.monotonic() - begin)


@dataclass
class Probes:
    """Asks every 50 ms, whatever becomes of earlier requests. `keep` adds clients that keep their connections."""

    port: int
    keep: bool = False
    met: list[Met] = field(default_factory=list)

    def run(self, seconds: float, stop_after: bytes | None = None) -> None:
        """For so long, or until shortly after the first answer with the body `stop_after`."""
        begin, threads = time.monotonic(), []
        self.begin = begin
        if self.keep:
            threads = [threading.Thread(target=self._keep_asking, args=(begin + seconds,)) for _ in range(4)]
            for thread in threads:
                thread.start()
        end = begin + seconds
        while time.monotonic() < end:
            threads.append(threading.Thread(target=self._probe))
            threads[-1].start()
            time.sleep(PACE)
            if stop_after is not None and any(each.body == stop_after for each in list(self.met)):
                end, stop_after = min(end, time.monotonic() + 1.0), None
        for thread in threads:
            thread.join()

    def describe(self, new: bytes | None) -> str:
        """When the new body came first, the longest wait for an answer, and all trouble."""
        answered = [each for each in self.met if not each.trouble]
        parts = []
        if new is not None:
            first = min((each.begin + each.took for each in answered if each.body == new), default=None)
            parts.append("no new code" if first is None else f"new code after {first - self.begin:.2f} s")
        longest = max((each.took for each in answered), default=0.0)
        parts.append(f"longest wait {longest:.2f} s" if answered else "nobody answered")
        for trouble in ("refused", "hung", "lost"):
            if count := sum(each.trouble == trouble for each in self.met):
                parts.append(f"**{count} {trouble}**")
        return ", ".join(parts)

    def _probe(self) -> None:
        self.met.append(ask(self.port))

    def _keep_asking(self, end: float) -> None:
        client: socket.socket | None = None
        while time.monotonic() < end:
            begin = time.monotonic()
            try:
                if client is None:
                    client = socket.create_connection(("127.0.0.1", self.port), timeout=10)
                client.sendall(GET % b"/")
                body, closes = _answer(client)
                self.met.append(Met(body, "" if body else "lost", begin, time.monotonic() - begin))
            except OSError as error:
                body, closes = b"", True
                self.met.append(Met(b"", "refused" if isinstance(error, ConnectionRefusedError) else "lost", begin))
            if client is not None and (closes or not body):
                client.close()
                client = None
            time.sleep(PACE)
        if client is not None:
            client.close()


def greet(port: int, path: str, *, upgrade: bool = False) -> socket.socket:
    """A connection on which a request has been sent, and answered as far as it is at once."""
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    client.sendall(UPGRADE if upgrade else GET % path.encode())
    if path != "/three":
        client.recv(65536)
    else:
        time.sleep(0.2)
    return client


def rest(client: socket.socket) -> str:
    """How a request under way ends."""
    client.settimeout(15)
    try:
        body, _ = _answer(client)
    except OSError:
        body = b""
    return "in peace" if body else "**cut**"


def drain(client: socket.socket) -> None:
    """Read to the end, and close."""
    client.settimeout(60)
    with suppress(OSError):
        while client.recv(65536):
            pass
    client.close()


def talk(client: socket.socket) -> str:
    """Send a request only now; what becomes of it."""
    client.settimeout(15)
    try:
        client.sendall(GET % b"/")
        body, closes = _answer(client)
    except OSError:
        body, closes = b"", False
    return ("answered, Connection: close" if closes else "answered") if body else "**dropped**"


def closes_after(port: int, what: str, limit: float) -> str:
    """Be slow in one way; seconds until the server has closed."""
    start = {
        "connects, sends nothing": (b"", b""),
        "stalls inside first headers": (b"GET / HTTP/1.1\r\nHost: te", b""),
        "drips header bytes": (b"GET / HTTP/1.1\r\nX: ", b"x"),
        "stalls inside body": (b"POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\nx", b""),
        "drips body bytes": (b"POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\nx", b"x"),
        "idle keep-alive": (GET % b"/", b""),
        "drips the second request's headers": (GET % b"/", b"GET / HTTP/1.1\r\nX: "),
        "stops reading a big response": (GET % b"/big", b""),
    }
    first, drop = start[what]
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(first)
        begin = time.monotonic()
        if what == "stops reading a big response":
            return _until_cut(client, begin, limit)
        if first == GET % b"/":
            client.settimeout(5)
            _answer(client)
            begin = time.monotonic()
        client.settimeout(0.5)
        with suppress(ConnectionError):
            while time.monotonic() - begin < limit:
                if drop:
                    client.sendall(drop[:1])
                    drop = drop[1:] or b"x"
                with suppress(TimeoutError):
                    if not client.recv(65536):
                        break
            else:
                return f"> {limit - 2:.0f}"
    return f"{time.monotonic() - begin:.0f}"


def _until_cut(client: socket.socket, begin: float, limit: float) -> str:
    """Read nothing. What the server has given up is seen in the kernel's own table, as a socket that is not connected."""
    while time.monotonic() - begin < limit:
        time.sleep(0.5)
        # tcpi_state, the first octet of TCP_INFO: 1 is ESTABLISHED.
        if client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) != b"\x01":
            return f"{time.monotonic() - begin:.0f}"
    return f"> {limit - 2:.0f}"


def _answer(client: socket.socket) -> tuple[bytes, bool]:
    """A small answer's body, empty when there is none; and whether it says that it is the last."""
    octets = b""
    while b"\r\n\r\n" not in octets or not _is_whole(octets):
        piece = client.recv(65536)
        if not piece:
            break
        octets += piece
    head, _, body = octets.partition(b"\r\n\r\n")
    if b"chunked" in head.lower():
        body = body.partition(b"\r\n")[2].partition(b"\r\n")[0]
    return (body if b" 200 " in head else b"error " + head[9:12] if head else b""), b"connection: close" in head.lower()


def _is_whole(octets: bytes) -> bool:
    head, _, body = octets.partition(b"\r\n\r\n")
    if b"chunked" in head.lower():
        return body.endswith(b"0\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.partition(b":")[2])
    return False
