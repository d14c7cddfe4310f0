"""A real socket that fails when it is told to: at the 1st, 2nd, … n-th call of a method.

    sock = FaultySocket(real, send={1: BlockingIOError(), 3: Short(5), 4: ConnectionResetError()})

The second `send` goes through, the third takes five octets only. What is not listed works as ever; with
`FaultySocket(real, 4)` no send takes more than four octets.
"""

import errno
import socket
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Short(NamedTuple):
    """Takes no more than so many octets."""

    octets: int


Fault = BaseException | Short


def exhausted() -> OSError:
    """What the system says when a process has too many open files."""
    return OSError(errno.EMFILE, "Too many open files")


class FaultySocket:
    """`real` with faults; `calls` counts the calls of each method that has some. `most`: octets a send takes at once."""

    def __init__(self, real: socket.socket, most: int | None = None, /, **faults: Mapping[int, Fault]) -> None:
        self.real = real
        self.faults = faults if most is None else {"send": {}, "sendmsg": {}, **faults}
        self.calls = dict.fromkeys(self.faults, 0)
        self._usual = None if most is None else Short(most)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.real, name)
        return self._counted(name, method) if name in self.faults else method

    def _counted(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.calls[name] += 1
            usual = self._usual if name in ("send", "sendmsg") else None
            fault = self.faults[name].get(self.calls[name], usual)
            if isinstance(fault, BaseException):
                raise fault
            if isinstance(fault, Short):
                given = arguments[0]
                octets = b"".join(given) if name == "sendmsg" else bytes(given)
                return self.real.send(octets[: fault.octets])
            return method(*arguments)

        return call
