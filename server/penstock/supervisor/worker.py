"""One worker as the supervisor holds it: its process, its control line, and what is known about it.

Everything here returns at once; what blocks (the handover to a process that has yet to start) is `give`, for a thread.
"""

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from .control import Control
from .fleet import Member, Phase
from .handover import Handover


class Worker:
    """A process of generation `generation`, just started. OSError when the system refuses one."""

    def __init__(self, number: int, generation: int, sockets: Sequence[socket.socket], now: float) -> None:
        self.member = Member(number, generation, now)
        self._handover = Handover(sockets)
        self.process = self._handover.process
        self.pid = self.process.pid
        """The interpreter's, once it has spoken; with a launcher between, `process` has another."""
        self.control = Control(self._handover.control)
        self.was_ready = False
        self.is_gone = False
        """The line has ended: the process is about to, or is beyond us."""

    def __str__(self) -> str:
        return f"worker {self.member.number} (process {self.pid})"

    def give(self, rest: dict[str, Any]) -> None:
        """Give the process its sockets and its task; blocks until it has them or has ended."""
        with suppress(OSError, ValueError):
            self.pid = self._handover.give(rest)

    def enter(self, phase: Phase, now: float, patience: float | None = None) -> None:
        """A new phase of its life begins."""
        self.member = replace(self.member, phase=phase, since=now, heard=now, patience=patience)
        self.was_ready |= phase is Phase.READY

    def note_life(self, now: float) -> None:
        """It gave a sign of life."""
        self.member = replace(self.member, heard=now, is_questioned=False)

    def retire(self, *, has_successor: bool) -> None:
        """Finish what is open and end."""
        self.control.say("drain", has_successor=has_successor)

    def question(self) -> None:
        """Write to the log where all threads stand, also if one of them blocks the loop."""
        self.member = replace(self.member, is_questioned=True)
        with suppress(OSError):
            os.write(self._handover.lifeline, b"?")

    def kill(self) -> None:
        """End it without asking."""
        self.process.kill()

    def has_ended(self) -> bool:
        """Whether the process is no more; then it leaves no zombie."""
        return self.process.poll() is not None

    def describe_end(self) -> str:
        code = self.process.returncode
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"

    def close(self) -> None:
        """Let go of the line and the lifeline of a process that has ended."""
        self.control.close()
        with suppress(OSError):
            os.close(self._handover.lifeline)
