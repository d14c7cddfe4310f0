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
from .policy import is_by_others


class Worker:
    """A process of generation `generation`, just started. OSError when the system refuses one."""

    def __init__(self, number: int, generation: int, sockets: Sequence[socket.socket], now: float) -> None:
        self.member = Member(number, generation, now)
        self.born = now
        self._handover = Handover(sockets)
        self.process = self._handover.process
        self.control = Control(self._handover.control)
        self.was_ready = False
        self.is_gone = False
        """The line has ended: the process is about to, or is beyond us."""
        self.is_killed = False
        """By us."""
        self.running = self.answered = self.words = 0
        """Requests under way and answered, as it says; what it has said since the last look at the clock."""
        self.memory: int | None = None

    def __str__(self) -> str:
        return f"worker {self.member.number} (process {self.pid})"

    @property
    def pid(self) -> int:
        """The interpreter's process id; until it has spoken that of what was started, perhaps a launcher."""
        return self._handover.pid

    def give(self, rest: dict[str, Any]) -> None:
        """Give the process its sockets and its task; blocks until it has them or has ended."""
        with suppress(OSError, ValueError):
            self._handover.give(rest)

    def enter(self, phase: Phase, now: float, patience: float | None = None) -> None:
        """A new phase of its life begins, in which it may be asked anew."""
        self.member = replace(self.member, phase=phase, since=now, heard=now, patience=patience, is_questioned=False)
        self.was_ready |= phase is Phase.READY

    def note_life(self, now: float, message: dict[str, Any]) -> None:
        """It gave a sign of life, and perhaps told how it fares."""
        is_questioned = self.member.is_questioned and self.member.phase is not Phase.READY
        self.member = replace(self.member, heard=now, is_questioned=is_questioned)
        for name in ("running", "answered", "memory"):
            if isinstance(message.get(name), int):
                setattr(self, name, message[name])

    def excuse(self, seconds: float, now: float) -> None:
        """So long we were asleep ourselves: it counts for nothing."""
        since, heard = min(now, self.member.since + seconds), min(now, self.member.heard + seconds)
        self.member = replace(self.member, since=since, heard=heard)

    def retire(self, *, has_successor: bool) -> None:
        """Finish what is open and end."""
        self.control.say("drain", has_successor=has_successor)

    def question(self) -> None:
        """Write to the log where all threads stand, also if one of them blocks the loop."""
        self.member = replace(self.member, is_questioned=True)
        with suppress(OSError):
            os.write(self._handover.lifeline, b"?")

    def share(self, running: float | None) -> None:
        """With more running requests than this it is to leave new ones to the others."""
        self.control.mention("share", running=running)

    def kill(self) -> None:
        """End it without asking."""
        self.is_killed = True
        self.process.kill()

    def has_ended(self) -> bool:
        """Whether the process is no more; then it leaves no zombie."""
        return self.process.poll() is not None

    @property
    def is_ended_by_others(self) -> bool:
        """Somebody killed it, and it was not us."""
        return not self.is_killed and is_by_others(self.process.returncode)

    def describe_end(self) -> str:
        code = self.process.returncode
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"

    def close(self) -> None:
        """Let go of the line and the lifeline of a process that has ended."""
        self.control.close()
        with suppress(OSError):
            os.close(self._handover.lifeline)


def reap_strangers(ours: set[int]) -> None:
    """As the first process of a container we inherit the orphans of others: leave no zombies."""
    if os.getpid() != 1 or not hasattr(os, "waitid"):
        return
    with suppress(ChildProcessError):
        while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and found.si_pid not in ours:
            os.waitpid(found.si_pid, 0)
