"""The corpus: raw requests and what must come of them (tests/cases/*.http), and how to read it.

    === a title that no other case has
        RFC 9112 6.3                                  the clause it comes from, or an advisory
        POST /path?query 1.1 body=abc close           each request that must be seen, in order …
        400 Content-Length                            … and the refusal, with words of its reason
    POST /path?query HTTP/1.1
    Host: example.test

    abc\\

Lines of octets end with CRLF, unless a backslash stands at their end, which takes the line end away. Escapes are
\\r \\n \\t \\0 \\\\ \\xNN, and \\{9*text} for a text repeated nine times. What stands before a file's first case is its
introduction. A request that is seen may say

    body=…  trailers=name:value,…  header=name:value  upgrade=a,b     values with the same escapes, no spaces
    close        it is the last request of its connection
    continue     the client waits for 100 Continue
    unfinished   its body is not whole

and `...` as the last line says that more octets must come before anything else can be said. All cases are for
limits of LIMIT_HEAD octets and LIMIT_FIELDS fields.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "cases"
LIMIT_HEAD = 1024
LIMIT_FIELDS = 20

_ESCAPE = re.compile(r"\\(?:([rnt0\\])|x([0-9A-Fa-f]{2})|\{(\d+)\*([^}]*)\})")
_LETTERS = {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\"}

Fields = list[tuple[bytes, bytes]]


@dataclass
class Seen:
    """A request as a server saw it. Of an expected one, `fields` are only those that are worth a look."""

    method: str
    target: bytes
    version: str
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    fields: Fields = field(default_factory=list)
    upgrade: tuple[bytes, ...] = ()
    closes: bool = False
    expects_continue: bool = False
    is_finished: bool = True


@dataclass
class Outcome:
    """All that came of some octets: requests, and then perhaps a refusal, or the wish for more."""

    requests: list[Seen] = field(default_factory=list)
    status: int = 0
    reason: str = ""
    wants_more: bool = False

    @property
    def is_open(self) -> bool:
        """Another request may follow at once."""
        last = self.requests[-1:]
        return not self.status and not self.wants_more and not any(each.closes for each in last)


@dataclass(frozen=True)
class Case:
    """One case, with the place it stands at for failures."""

    title: str
    place: str
    clause: str
    expected: Outcome
    octets: bytes

    def __str__(self) -> str:
        return f"{self.place} {self.title}"


def unescape(text: str) -> bytes:
    """The octets that escaped text stands for."""
    return _ESCAPE.sub(_unescaped, text).encode("latin-1")


def _unescaped(match: re.Match[str]) -> str:
    letter, code, times, repeated = match.groups()
    if letter:
        return _LETTERS[letter]
    return chr(int(code, 16)) if code else _ESCAPE.sub(_unescaped, repeated) * int(times)


def load() -> list[Case]:
    """Every case of every file."""
    return [case for path in sorted(FOLDER.glob("*.http")) for case in read(path)]


def read(path: Path) -> Iterator[Case]:
    """The cases of one file."""
    lines = path.read_text(encoding="latin-1").split("\n")[:-1]
    starts = [at for at, line in enumerate(lines) if line.startswith("=== ")] + [len(lines)]
    for start, end in zip(starts, starts[1:], strict=False):
        yield _read_case(lines[start:end], f"{path.name}:{start + 1}")


def _read_case(lines: list[str], place: str) -> Case:
    told = next((at for at, line in enumerate(lines[1:], 1) if not line.startswith("    ")), len(lines))
    clause, *expectations = (line.strip() for line in lines[1:told])
    octets = b"".join(_octets_of(line) for line in lines[told:])
    return Case(lines[0][4:], place, clause, _read_outcome(expectations), octets)


def _octets_of(line: str) -> bytes:
    ends_open = (len(line) - len(line.rstrip("\\"))) % 2
    return unescape(line[:-1]) if ends_open else unescape(line) + b"\r\n"


def _read_outcome(lines: list[str]) -> Outcome:
    outcome = Outcome()
    for line in lines:
        if line == "...":
            outcome.wants_more = True
        elif line[:3].isdigit():
            outcome.status, outcome.reason = int(line[:3]), line[4:]
        else:
            outcome.requests.append(_read_request(line.split()))
    return outcome


def _read_request(words: list[str]) -> Seen:
    seen = Seen(words[0], unescape(words[1]), words[2])
    for word in words[3:]:
        name, _, text = word.partition("=")
        value = unescape(text)
        if name == "body":
            seen.body = value
        elif name == "trailers":
            seen.trailers = [_field(each) for each in value.split(b",")]
        elif name == "header":
            seen.fields.append(_field(value))
        elif name == "upgrade":
            seen.upgrade = tuple(value.split(b","))
        else:
            setattr(seen, {"close": "closes", "continue": "expects_continue", "unfinished": "is_finished"}[name],
                    name != "unfinished")
    return seen


def _field(text: bytes) -> tuple[bytes, bytes]:
    name, _, value = text.partition(b":")
    return name, value
