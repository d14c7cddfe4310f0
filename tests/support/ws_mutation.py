"""Frames made by grammar and then spoilt, and what must hold for them: the fuzzer's part for WebSockets.

The codec never raises anything but ProtocolError, the same comes of an input however it is cut, what it keeps is bounded,
and without compression a second, slow reading of the RFC comes to the same. A live server must answer each input with
what the codec made of it, and a Close where it failed; it must not crash, hang or write a traceback.
"""

import random

from .cases import FOLDER
from .serving import Server
from .ws_cases import MAX_SIZE, Event, Outcome, codec_for, deflated, frame, masked, play, read
from .ws_client import SocketClient

_TEXTS = (b"", b"a", b"Hello", "h\u00e9\u20ac\U0001f601".encode(), b"x" * 125, b"x" * 126, b"y" * 500, b"\xff", b"\xe2\x82", b"\xed\xa0\x80", b"\xf4\x90\x80\x80")
_CLOSES = (b"", b"\x03", b"\x03\xe8", b"\x03\xe8bye", b"\x03\xed", b"\x0f\xa0", b"\x03\xe8\xff", b"\xff\xff")
_OCTETS = (b"\0", b"\x80", b"\x81", b"\x7e", b"\x7f", b"\xfe", b"\xff", b"\x88", b"\x01")


class Found(Exception):
    """An input that shows a fault."""


class Maker:
    """Makes inputs, and whether compression is agreed on for each."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._known = [(case.octets, case.is_compressed) for path in sorted(FOLDER.glob("*.ws")) for case in read(path)]

    def make(self) -> tuple[bytes, bool]:
        chance = self._chance
        if chance.random() < 0.2:
            octets, is_compressed = chance.choice(self._known)
        else:
            is_compressed = chance.random() < 0.4
            octets = b"".join(self._frames(is_compressed) for _ in range(chance.choice((1, 1, 2, 3, 6))))
        while chance.random() < 0.35:
            octets = self._spoil(octets)
        return octets[:5000], is_compressed

    def pieces(self, octets: bytes) -> list[bytes]:
        """The input cut at random places: a few, or all."""
        chance = self._chance
        if chance.random() < 0.2:
            return [octets[at : at + 1] for at in range(len(octets))]
        cuts = sorted(chance.sample(range(len(octets) + 1), min(len(octets), chance.choice((1, 2, 5)))))
        return [octets[start:end] for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True)]

    def _frames(self, is_compressed: bool) -> bytes:
        """A message, perhaps in fragments, perhaps with control frames between them; or a control frame."""
        chance = self._chance
        key = chance.choice((b"\0\0\0\0", b"\x37\xfa\x21\x3d", chance.randbytes(4)))
        if chance.random() < 0.25:
            opcode = chance.choice((0x89, 0x8A, 0x88, 0x83, 0x09, 0xC9))
            return frame(opcode, chance.choice(_CLOSES if opcode == 0x88 else _TEXTS), key=chance.choice((key, key, key, None)))
        payload = b"".join(chance.choices(_TEXTS[: chance.choice((7, 7, 7, 11))], k=chance.choice((1, 1, 2))))
        rsv = 0
        if is_compressed and chance.random() < 0.7:
            payload, rsv = deflated(payload, is_final=chance.random() < 0.2), 0x40
        cuts = sorted(chance.randrange(len(payload) + 1) for _ in range(chance.choice((0, 0, 1, 3))))
        parts = [payload[start:end] for start, end in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
        made = b""
        for place, part in enumerate(parts):
            first = (chance.choice((1, 2)) | rsv if place == 0 else 0) | (0x80 if place == len(parts) - 1 else 0)
            made += frame(first, part, key=key) + (frame(0x89, b"p") if chance.random() < 0.1 else b"")
        return made

    def _spoil(self, octets: bytes) -> bytes:
        chance = self._chance
        at = chance.randrange(len(octets) + 1)
        end = min(len(octets), at + chance.choice((0, 1, 1, 2, 8)))
        return octets[:at] + chance.choice((b"", chance.choice(_OCTETS), chance.randbytes(1), octets[at:end] * 2)) + octets[end:]


def check_codec(maker: Maker, octets: bytes, is_compressed: bool) -> None:
    """Everything that must hold for any octets whatever."""
    codec = codec_for(is_compressed)
    whole = play([octets], codec=codec)
    pieces = maker.pieces(octets)
    cut = play(pieces, is_compressed)
    if is_compressed and {whole.code, cut.code} <= {1007, 1009}:
        # Of what is wrong with a compressed message another fault may be seen first.
        cut.code, cut.reason = whole.code, whole.reason
    if cut != whole:
        raise Found(f"cut as {pieces!r}\nit is {cut}\nand whole it is {whole}")
    if whole.code not in (0, 1002, 1007, 1009) or any(len(each[1]) > MAX_SIZE for each in whole.events if each[0] in ("text", "bytes")):  # type: ignore[arg-type]
        raise Found(f"came to {whole}")
    if len(codec.octets) > len(octets) or (whole.code and codec.octets):
        raise Found(f"{len(codec.octets)} octets kept")
    if not is_compressed and (slow := read_slowly(octets)) != whole.events:
        raise Found(f"a second reading comes to {slow}, the codec to {whole}")


def read_slowly(octets: bytes) -> list[Event]:
    """The events of uncompressed frames, up to the first fault, straight from the words of the RFC."""
    events: list[Event] = []
    kind, parts, at = 0, b"", 0
    while len(octets) - at >= 2:
        fin, rsv, opcode, is_masked, size = octets[at] >> 7, octets[at] >> 4 & 7, octets[at] & 15, octets[at + 1] >> 7, octets[at + 1] & 127
        wide = {126: 2, 127: 8}.get(size, 0)
        if rsv or not is_masked or opcode not in (0, 1, 2, 8, 9, 10) or (opcode >= 8 and (wide or not fin)):
            break
        if (opcode == 0) != (kind != 0) and opcode < 8:
            break
        number = octets[at + 2 : at + 2 + wide]
        if len(number) < wide:
            break
        size = int.from_bytes(number, "big") if wide else size
        if (wide == 2 and size < 126) or (wide == 8 and size < 65536) or (opcode < 8 and len(parts) + size > MAX_SIZE):
            break
        start = at + 6 + wide
        payload = masked(octets[start : start + size], octets[start - 4 : start])
        if len(octets) < start + size:
            break
        at = start + size
        if opcode >= 8:
            event = _control(opcode, payload)
            events += [event] if event else []
            if event is None or opcode == 8:
                break
            continue
        kind, parts = kind or opcode, parts + payload
        try:
            text = parts.decode() if kind == 1 and fin else ""
        except UnicodeDecodeError:
            break
        if kind == 1 and not fin and not _may_become_text(parts):
            break
        if fin:
            events.append(("text", text) if kind == 1 else ("bytes", parts))
            kind, parts = 0, b""
    return events


def _may_become_text(octets: bytes) -> bool:
    """Whether something could follow that makes it UTF-8, so far as Python can tell."""
    for rest in (b"", b"\x80", b"\x80\x80", b"\x80\x80\x80", b"\x90\x80\x80", b"\xa0\x80", b"\x90\x80", b"\xa0\x80\x80", b"\x8f\xbf\xbf"):
        try:
            (octets + rest).decode()
        except UnicodeDecodeError:
            continue
        return True
    # Of a surrogate Python sees only at its third octet that it is none.
    return octets[-2:-1] == b"\xed" and 0xA0 <= octets[-1] <= 0xBF and _may_become_text(octets[:-2] + b"\xed")


def _control(opcode: int, payload: bytes) -> Event | None:
    if opcode != 8:
        return ("ping" if opcode == 9 else "pong"), payload
    if not payload:
        return "close", (1005, "")
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (code in (1000, 1001, 1002, 1003, *range(1007, 1015)) or 3000 <= code < 5000):
        return None
    try:
        return "close", (code, payload[2:].decode())
    except UnicodeDecodeError:
        return None


def check_live(server: Server, maker: Maker, octets: bytes, is_compressed: bool) -> None:
    """A client that sends the input, in pieces, then a Close, and reads what it is owed."""
    expected = play([octets], is_compressed)
    with SocketClient((server.host, server.port), offers=is_compressed) as client:
        try:
            for piece in maker.pieces(octets):
                client.send(piece)
            if expected.is_open:
                client.say(0x88, b"\x03\xe8")
        except OSError:
            pass
        if expected.wants_more:
            return
        *frames, (_, closing) = client.frames()
    check_frames(expected, [each for each in frames if each[0] != 0x8A], closing)
    if server.process.poll() is not None:
        raise Found("the server has ended")


def check_frames(expected: Outcome, frames: list[tuple[int, bytes]], closing: bytes) -> None:
    """What an echo came to, against what the codec made of it."""
    wanted = [(0x81, str(each[1]).encode()) if each[0] == "text" else (0x82, each[1]) for each in expected.events if each[0] in ("text", "bytes")]
    if frames != wanted:
        raise Found(f"answered {frames}, expected {wanted}")
    code = int.from_bytes(closing[:2], "big")
    if expected.code and code != expected.code and {code, expected.code} != {1007, 1009}:
        raise Found(f"closed with {code}, expected {expected}")
