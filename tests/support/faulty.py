"""A socket on which chosen system calls go wrong, so that a test can fail the first, the second, the n-th of them.

    sock = FaultySocket(real, {("send", 2): BlockingIOError(), ("recv", 1): ConnectionResetError()}, most=1)

`faults` maps (method, how many times it has been called) to the exception raised instead; `most` is how many bytes
a send takes at once. Everything else is the real socket's.
"""

import socket
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any


class FaultySocket:
    def __init__(
        self, real: socket.socket, faults: Mapping[tuple[str, int], BaseException] | None = None, most: int | None = None
    ) -> None:
        self.real = real
        self.faults = faults or {}
        self.most = most
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def send(self, data: Any) -> int:
        self._count("send")
        return self.real.send(memoryview(data)[: self.most])

    def sendmsg(self, pieces: Iterable[Any]) -> int:
        self._count("sendmsg")
        return self.real.send(b"".join(pieces)[: self.most])

    def recv(self, size: int) -> bytes:
        self._count("recv")
        return self.real.recv(size)

    def recv_into(self, buffer: Any) -> int:
        self._count("recv_into")
        return self.real.recv_into(buffer)

    def accept(self) -> tuple[socket.socket, Any]:
        self._count("accept")
        return self.real.accept()

    def shutdown(self, how: int) -> None:
        self._count("shutdown")
        self.real.shutdown(how)

    def _count(self, method: str) -> None:
        self.calls[method] += 1
        fault = self.faults.get((method, self.calls[method]))
        if fault is not None:
            raise fault
