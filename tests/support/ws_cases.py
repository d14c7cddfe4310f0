"""The corpus of WebSocket frames and what must come of them (tests/cases/*.ws), how to read it, and how to play it.

    === a title that no other case has
        RFC 6455 5.6                                  the clause it comes from
        text "Hello"                                  each event that must come of it, in order …
        fail 1002 mask                                … and the failure: its code, and words of its reason
    81 "Hello"
    81 unmasked "Hello"

Each line of octets is a frame: its first octet in hexadecimal, then words, and at last its payload in quotes, with the
escapes of `cases.py`. Everything is masked unless it says otherwise. The words:

    unmasked          no mask                 key=00000000      another key than the usual one
    len16=5 len64=5   the length, in the longer encoding, whatever the payload is
    deflate           the payload is compressed as one message; deflate-final as a last block (BFINAL), with its octet 00
    hex 48 65         instead of quotes: the payload's octets
    raw 88 82         octets that are no whole frame

Events are `text`, `bytes`, `ping` and `pong` with a payload, and `close 1000 "reason"`. `...` says that more octets must
come, `with deflate` that permessage-deflate is agreed on. All cases are for messages of at most MAX_SIZE octets.
"""

import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from penstock.codec.deflate import Deflate, Parameters
from penstock.codec.errors import ProtocolError
from penstock.codec.events import Close, Ping, Pong
from penstock.codec.websocket import WebSocketCodec

from .cases import FOLDER, unescape

MAX_SIZE = 1000
KEY = b"\x37\xfa\x21\x3d"
AGREED = Parameters(False, False, 12, 12)

Event = tuple[str, object]


@dataclass
class Outcome:
    """All that came of some octets."""

    events: list[Event] = field(default_factory=list)
    code: int = 0
    reason: str = ""
    wants_more: bool = False

    @property
    def is_open(self) -> bool:
        """Another frame may follow."""
        return not self.code and not self.wants_more and not (self.events and self.events[-1][0] == "close")


@dataclass(frozen=True)
class Case:
    """One case, with the place it stands at for failures."""

    title: str
    place: str
    clause: str
    expected: Outcome
    octets: bytes
    is_compressed: bool

    def __str__(self) -> str:
        return f"{self.place.partition('.')[0]}: {self.title}"


def masked(payload: bytes, key: bytes = KEY) -> bytes:
    """Octet by octet, as the RFC has it: a second opinion."""
    return bytes(octet ^ key[place % 4] for place, octet in enumerate(payload))


def frame(first: int, payload: bytes = b"", *, key: bytes | None = KEY, wide: str = "", announced: int | None = None) -> bytes:
    """The octets of a frame; `wide` chooses a longer encoding of the length than is needed."""
    size = len(payload) if announced is None else announced
    mask = 0 if key is None else 0x80
    if wide == "len64" or (not wide and size > 65535):
        head = bytes((first, 127 | mask)) + size.to_bytes(8, "big")
    elif wide == "len16" or size > 125:
        head = bytes((first, 126 | mask)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, size | mask))
    return head + (payload if key is None else key + masked(payload, key))


def deflated(payload: bytes, *, is_final: bool = False) -> bytes:
    """A compressed message, as a client sends it."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, -12)
    if is_final:
        return deflate.compress(payload) + deflate.flush() + b"\0"
    return (deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]


def load() -> list[Case]:
    """Every case of every file."""
    return [case for path in sorted(FOLDER.glob("*.ws")) for case in read(path)]


def read(path: Path) -> Iterator[Case]:
    """The cases of one file."""
    lines = path.read_text(encoding="latin-1").splitlines()
    starts = [at for at, line in enumerate(lines) if line.startswith("=== ")] + [len(lines)]
    for start, end in zip(starts, starts[1:], strict=False):
        told = [line.strip() for line in lines[start + 1 : end] if line.startswith("    ")]
        frames = [line for line in lines[start + 1 : end] if line and not line.startswith("    ")]
        expected, clause = Outcome(), told[0]
        for line in told[1:]:
            _expect(expected, line)
        octets = b"".join(map(_read_frame, frames))
        yield Case(lines[start][4:], f"{path.name}:{start + 1}", clause, expected, octets, "with deflate" in told)


def _expect(outcome: Outcome, line: str) -> None:
    kind, _, rest = line.partition(" ")
    if kind == "...":
        outcome.wants_more = True
    elif kind == "fail":
        code, _, outcome.reason = rest.partition(" ")
        outcome.code = int(code)
    elif kind == "close":
        code, _, quoted = rest.partition(" ")
        outcome.events.append((kind, (int(code), unescape(quoted[1:-1]).decode())))
    elif kind == "text":
        outcome.events.append((kind, unescape(rest[1:-1]).decode()))
    elif kind != "with":
        outcome.events.append((kind, unescape(rest[1:-1])))


def _read_frame(line: str) -> bytes:
    start, _, rest = line.partition(" ")
    if start == "raw":
        return bytes.fromhex(rest)
    words, quote, text = rest.partition('"')
    payload = unescape(text[:-1]) if quote else b""
    key: bytes | None = KEY
    wide, announced = "", None
    if " hex" in " " + words:
        words, _, digits = words.partition("hex")
        payload = bytes.fromhex(digits)
    for word in words.split():
        name, _, value = word.partition("=")
        if name == "unmasked":
            key = None
        elif name == "key":
            key = bytes.fromhex(value)
        elif name in ("len16", "len64"):
            wide, announced = name, int(value)
        elif re.fullmatch("deflate(-final)?", name):
            payload = deflated(payload, is_final=name != "deflate")
        else:
            raise ValueError(f"{word!r} in {line!r}")
    return frame(int(start, 16), payload, key=key, wide=wide, announced=announced)


def codec_for(is_compressed: bool, max_size: int = MAX_SIZE) -> WebSocketCodec:
    """A codec as a case wants it."""
    return WebSocketCodec(max_size, Deflate(AGREED) if is_compressed else None)


def play(pieces: Iterable[bytes], is_compressed: bool = False, codec: WebSocketCodec | None = None) -> Outcome:
    """Feed the pieces one after another, each followed by all events it gives rise to."""
    codec = codec or codec_for(is_compressed)
    outcome = Outcome()
    for piece in pieces:
        codec.feed(piece)
        try:
            while (event := codec.next_event()) is not None or codec.is_behind:
                if event is not None:
                    outcome.events.append(_seen(event))
        except ProtocolError as error:
            if outcome.code:
                raise AssertionError("failed a second time") from error
            outcome.code, outcome.reason = error.status, error.reason
    outcome.wants_more = bool(codec.octets or codec._left or codec._opcode)
    return outcome


def _seen(event: object) -> Event:
    if isinstance(event, Close):
        return "close", (event.code, event.reason)
    if isinstance(event, Ping | Pong):
        return type(event).__name__.lower(), event.payload
    return ("text" if isinstance(event, str) else "bytes"), event


def differences(expected: Outcome, got: Outcome) -> Iterator[str]:
    """What came otherwise than expected, a line each; nothing when all is well."""
    if expected.events != got.events:
        yield f"{got.events!r} instead of {expected.events!r}"
    if expected.code != got.code or expected.reason.lower() not in got.reason.lower():
        yield f"{got.code} {got.reason!r} instead of {expected.code} {expected.reason!r}"
    if expected.wants_more != got.wants_more:
        yield "nothing more was asked for" if expected.wants_more else "more was asked for"
