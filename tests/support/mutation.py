"""Requests made by grammar and then spoilt: the inputs of the fuzzer.

A request is put together of good parts, with an odd one here and there; then octets are changed, moved, doubled or
left out, where it hurts most: at line ends, colons, digits. The same seed makes the same inputs.
"""

import random
from collections.abc import Sequence

# For each part what is good and what is odd about it.
_METHODS = (b"GET", b"GET", b"POST", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE"), (b"BREW", b"CONNECT", b"get", b"G(T", b"", b"PRI")
_TARGETS = (b"/", b"/", b"/a?b=c", b"/a/b;c", b"http://h/", b"http://h:1?x", b"/%zz", b"//h/p"), (
    b"*", b"https://h/", b"h:80", b"/#f", b"/\xff", b"a", b"", b"http://u@h/", b"http://[::1]/", b"/ /")
_VERSIONS = (b"HTTP/1.1",) * 6 + (b"HTTP/1.0",), (b"HTTP/1.2", b"HTTP/1.9", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1", b"HTTP/1.10", b"")
_HOSTS = (b"h", b"h", b"h:80", b"[::1]:8", b"1.2.3.4"), (b"", b"a b", b"a,b", b"u@h", b"h:x", b"[::1", b"a/b")
_FIELDS = (
    b"X-A: b", b"X-A:b", b"Accept: */*", b"User-Agent: x", b"Cookie: a=b", b"X_A: b", b"Connection: keep-alive", b"Connection: Upgrade",
    b"Upgrade: websocket", b"Expect: 100-continue", b"TE: trailers", b"Trailer: x", b"Content-Type: a/b", b"X-A: \xe4\xf6"), (
    b"Connection: close", b"connection: a, CLOSE", b"Expect: x", b"X-A : b", b" folded", b"X A: b", b"X-A", b":", b"X-A: a\0b", b"X-A: a\rb", b"X-A: a\nb",
    b"Content-Length: 0", b"Content-Length: 3", b"Content-Length: +3", b"Content-Length: 3, 3", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: identity", b"Transfer-Encoding: gzip, chunked", b"Host: again", b"\x0bTransfer-Encoding: chunked")
_LENGTHS = (b"%d", b"%d", b"0%d", b" %d "), (b"+%d", b"-%d", b"%d,", b"%d_0", b"0x%d", b"%d\x0b", b"99999999999999999%d", b"", b"1%d")
_CODINGS = (b"chunked", b"Chunked", b"chunked "), (b"gzip, chunked", b"chunked, chunked", b"identity", b"xchunked", b"chunked;a", b"\x0bchunked", b"", b",chunked")
_SIZES = (b"%x", b"%x", b"%X", b"0%x", b"%x;a", b"%x;a=b", b'%x;a="b"'), (
    b"0x%x", b"+%x", b" %x", b"%x ", b"%x ;a", b"%x;", b"%x;a\n", b"-%x", b"fffffffff%x", b"%x\n", b"%x\r0", b"1%x")
_ENDS = (b"\r\n",), (b"\n", b"\r", b"\r\r\n", b"\n\r", b"", b"XX", b"\r\nX", b"\r\n\r\n")
_TRAILERS = (b"X-T: v", b"X-T:v"), (b"Content-Length: 3", b"Host: x", b"X T: v", b"X-T", b" f", b"X-T: \0", b"X-T : v", b"GET / HTTP/1.1")
_OCTETS = (
    b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b";", b",", b"0", b"3", b"a", b"%", b"#", b"@", b"\x0b", b"\x7f", b"\x85", b"\xa0", b"\xff", b'"', b"\\",
    b"_", b"-", b"+")

Part = tuple[tuple[bytes, ...], tuple[bytes, ...]]


class Maker:
    """Makes inputs; each the next of one sequence that the seed decides."""

    def __init__(self, seed: int, known: Sequence[bytes]) -> None:
        self._chance = random.Random(seed)
        self._known = list(known)
        self._oddness = 0.0
        self.last = b""
        """What came on a connection last, set by who plays the inputs: many are like it but for an octet or two."""

    def make(self) -> bytes:
        """One input: some requests, or a known one, perhaps spoilt."""
        chance = self._chance
        self._oddness = chance.choice((0, 0, 0.01, 0.03, 0.1))
        if self.last and chance.random() < 0.4:
            octets = self._spoil(self.last)
        elif self._known and chance.random() < 0.3:
            octets = chance.choice(self._known)
        else:
            octets = b"".join(self._request() for _ in range(chance.choice((1, 1, 1, 2, 3))))
        while chance.random() < 0.3:
            octets = self._spoil(octets)
        return octets[:20_000]

    def pieces(self, octets: bytes) -> list[bytes]:
        """The input cut at random places: a few, many, or all."""
        chance = self._chance
        if len(octets) < 400 and chance.random() < 0.1:
            return [octets[at : at + 1] for at in range(len(octets))]
        cuts = sorted(chance.randrange(len(octets) + 1) for _ in range(chance.choice((1, 1, 2, 3, 8))))
        return [octets[start:end] for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True) if start != end]

    def _part(self, part: Part) -> bytes:
        return self._chance.choice(part[self._chance.random() < self._oddness])

    def _request(self) -> bytes:
        chance = self._chance
        line = self._part(_METHODS) + b" " + self._part(_TARGETS) + b" " + self._part(_VERSIONS)
        lines = [line, b"Host: " + self._part(_HOSTS)]
        body = b""
        kind = chance.random()
        if kind < 0.25:
            body = bytes(chance.choices(b"ab\r\n", k=chance.randrange(6)))
            lines.append(b"Content-Length: " + _filled(self._part(_LENGTHS), len(body)))
        elif kind < 0.6:
            body = self._chunks()
            lines.append(b"Transfer-Encoding: " + self._part(_CODINGS))
        while chance.random() < 0.4:
            lines.insert(chance.randrange(1, len(lines) + 1), self._part(_FIELDS))
        return b"".join(each + self._part(_ENDS) for each in lines) + self._part(_ENDS) + body

    def _chunks(self) -> bytes:
        chance = self._chance
        octets = b""
        for _ in range(chance.randrange(4)):
            data = bytes(chance.choices(b"xy\r\n", k=chance.randrange(1, 20)))
            octets += _filled(self._part(_SIZES), len(data)) + self._part(_ENDS) + data + self._part(_ENDS)
        octets += _filled(self._part(_SIZES), 0) + self._part(_ENDS)
        while chance.random() < 0.2:
            octets += self._part(_TRAILERS) + self._part(_ENDS)
        return octets + self._part(_ENDS)

    def _spoil(self, octets: bytes) -> bytes:
        chance = self._chance
        at = chance.randrange(len(octets) + 1)
        if chance.random() < 0.5:
            # At a place that means something rather than anywhere.
            near = [place for mark in (b"\r", b":", b" ", b";", b",") if (place := octets.find(mark, at)) >= 0]
            at = min(near, default=at) + chance.choice((0, 0, 1))
        size = chance.choice((0, 1, 1, 2, 5, 30))
        how = chance.randrange(9)
        if how >= 7 and b": " in octets[at:]:
            # Another value, and nothing wrong with it: what a client varies from one request to the next.
            start = octets.index(b": ", at) + 2
            return octets[:start] + bytes(chance.choices(b"abc \t", k=chance.randrange(3))) + octets[start:]
        if how == 0:
            return octets[:at] + chance.choice(_OCTETS) + octets[at:]
        if how == 1:
            return octets[:at] + octets[at + size :]
        if how == 2:
            return octets[:at] + chance.choice(_OCTETS) + octets[at + 1 :]
        if how == 3:
            return octets[: at + size] + octets[at:]
        if how == 4:
            return octets[:at] + bytes([chance.randrange(256)]) * chance.choice((1, 1, 3, 1200)) + octets[at:]
        if how == 5 and self._known:
            other = chance.choice(self._known)
            return octets[:at] + other[chance.randrange(len(other) + 1) :]
        return octets + self._request()


def _filled(template: bytes, number: int) -> bytes:
    return template % number if b"%" in template else template
