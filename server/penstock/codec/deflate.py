"""permessage-deflate: its negotiation and its two directions (RFC 7692).

Memory is bounded by what is answered in the handshake: our window has 12 bits at most, and the client is asked for the
same where it lets us ask. A compressor takes 41 KiB then, an inflator 14 KiB (42 for a client that was not asked);
both are made when they are first needed. Level 1 costs a third of level 6 and makes large text 4 % larger.
Messages under `THRESHOLD` octets go uncompressed: deflating them costs more than it saves.
"""

import zlib
from collections.abc import Iterable
from typing import NamedTuple

from .errors import ProtocolError
from .grammar import WINDOW_BITS

THRESHOLD = 128

_OUR_BITS = 12
_MOST_BITS = 15
_LEVEL = 1
_MEM_LEVEL = 5

# What a sender cuts from the end of each message, and a receiver puts back (RFC 7692 7.2.1 and 7.2.2).
_TAIL = b"\x00\x00\xff\xff"

# A client may end its blocks as often as it likes. What comes behind such an end is copied each time: in small pieces then.
_PIECE_BEHIND_END = 1024

Offer = tuple[bytes, list[tuple[bytes, bytes | None]]]
"""An extension's name and its parameters, as the client offers them."""


class Parameters(NamedTuple):
    """What client and server agree on (RFC 7692 7.1). `client_bits` is None where the client did not let us ask."""

    server_forgets: bool
    client_forgets: bool
    server_bits: int
    client_bits: int | None

    def encode(self) -> bytes:
        """The answer to the offer."""
        # RFC 7692 7.1.2.1: server_max_window_bits may be answered unasked.
        words = [b"permessage-deflate", b"server_max_window_bits=%d" % self.server_bits]
        if self.client_bits is not None:
            words.append(b"client_max_window_bits=%d" % self.client_bits)
        if self.server_forgets:
            words.append(b"server_no_context_takeover")
        if self.client_forgets:
            words.append(b"client_no_context_takeover")
        return b"; ".join(words)


def negotiate(offers: Iterable[Offer]) -> Parameters | None:
    """The first offer that can be taken, as it is to be answered; None when there is none (RFC 7692 5 and 7.1)."""
    for name, parameters in offers:
        if name == b"permessage-deflate":
            agreed = _agree(parameters)
            if agreed is not None:
                return agreed
    return None


def _agree(offered: list[tuple[bytes, bytes | None]]) -> Parameters | None:
    """RFC 7692 7.1: decline what is unknown, invalid, given twice, or more than can be done."""
    values = dict(offered)
    if len(values) != len(offered):
        return None
    server_forgets = client_forgets = False
    server_bits, client_bits = _OUR_BITS, None
    for name, value in offered:
        if name in (b"server_no_context_takeover", b"client_no_context_takeover"):
            # RFC 7692 7.1.1: without a value.
            if value is not None:
                return None
            server_forgets |= name[:1] == b"s"
            client_forgets |= name[:1] == b"c"
        elif name == b"server_max_window_bits":
            # RFC 7692 7.1.2.1: with a value. 8 is more than zlib can do without a header: its smallest window is 9.
            if value is None or not WINDOW_BITS.fullmatch(value) or value == b"8":
                return None
            server_bits = min(int(value), _OUR_BITS)
        elif name == b"client_max_window_bits":
            # RFC 7692 7.1.2.2: the value, where there is one, is the client's own limit.
            if value is not None and not WINDOW_BITS.fullmatch(value):
                return None
            client_bits = min(int(value or _MOST_BITS), _OUR_BITS)
        else:
            return None
    return Parameters(server_forgets, client_forgets, server_bits, client_bits)


class Deflate:
    """Both directions of one WebSocket."""

    __slots__ = ("_parameters", "_compressor", "_inflator")

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._compressor: "zlib._Compress | None" = None
        self._inflator: "zlib._Decompress | None" = None

    def compress(self, octets: bytes) -> bytes:
        """A whole message, as it goes into a frame with RSV1 (RFC 7692 7.2.1)."""
        compressor = self._compressor
        if compressor is None:
            compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -self._parameters.server_bits, _MEM_LEVEL)
            # RFC 7692 7.1.1.1: with server_no_context_takeover each message stands for itself.
            if not self._parameters.server_forgets:
                self._compressor = compressor
        return compressor.compress(octets) + compressor.flush(zlib.Z_SYNC_FLUSH)[: -len(_TAIL)]

    def inflate(self, octets: bytes | bytearray, most: int) -> bytes:
        """What a piece of a message comes to, `most` octets of it at most (RFC 7692 7.2.2).

        Raises ProtocolError: 1009 for more, 1007 for what is no DEFLATE. Never more than `most` is inflated.
        """
        pieces: list[bytes] = []
        at, step = 0, len(octets)
        try:
            while at < len(octets):
                inflator = self._inflator
                if inflator is None:
                    inflator = self._inflator = zlib.decompressobj(-self._window_of_client())
                piece = octets[at : at + step]
                at += len(piece)
                # One more than there may be, for to zlib 0 means "no limit".
                pieces.append(inflator.decompress(piece, most + 1))
                most -= len(pieces[-1])
                if most < 0:
                    raise ProtocolError(1009, "a compressed message over the limit when inflated", "RFC 6455 7.4.1")
                # RFC 7692 7.2.3.4: a block may be the last of its stream (BFINAL); what follows is another stream.
                if inflator.eof:
                    at -= len(inflator.unused_data)
                    step = _PIECE_BEHIND_END
                    self._inflator = None
        except zlib.error as error:
            raise ProtocolError(1007, f"a compressed message that cannot be inflated ({error})", "RFC 7692 7.2.2") from None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def end(self, most: int) -> bytes:
        """The message is whole: what is still to come of it."""
        # A stream that has just ended needs no tail.
        rest = self.inflate(_TAIL, most) if self._inflator is not None else b""
        # RFC 7692 7.1.1.2: with client_no_context_takeover each message stands for itself.
        if self._parameters.client_forgets:
            self._inflator = None
        return rest

    def _window_of_client(self) -> int:
        """A window that is larger than the client's reads everything, too; zlib takes up to 9 for 8."""
        bits = self._parameters.client_bits
        return _MOST_BITS if bits is None else max(bits, 9)
