"""What has come and has not been read yet.

Most requests come whole in one piece, so that piece is kept as it is, never copied: a buffer of bytes and a
position. Only what arrives in bits is gathered, in a bytearray, which grows and shrinks without copying the rest.
A search for the end of a line or of a head goes on where the last one stopped: a peer that drips octets costs
time in proportion to what it sent, never its square.
"""


class Buffer:
    """Octets between the socket and the readers."""

    __slots__ = ("size", "_octets", "_position", "_searched")

    def __init__(self) -> None:
        self.size = 0
        """How many octets are left to read."""
        self._octets: bytes | bytearray = b""
        self._position = 0
        self._searched = 0

    def feed(self, octets: bytes) -> None:
        """Add what has come."""
        if not self.size:
            self._octets = octets
            self._position = self._searched = 0
            self.size = len(octets)
            return
        self.size += len(octets)
        left = self._octets
        if isinstance(left, bytes):
            left = self._octets = bytearray(left)
        if self._position:
            del left[: self._position]
            self._searched = max(0, self._searched - self._position)
            self._position = 0
        left += octets

    def put_back(self, octets: bytes) -> None:
        """Octets that were taken are to be looked at again, before what is left."""
        self._octets = octets + self.peek(0)
        self.size = len(self._octets)
        self._position = self._searched = 0

    @property
    def searched(self) -> int:
        """How far into what is left the delimiter was looked for: nothing before that needs a second look."""
        return max(0, self._searched - self._position)

    def clear(self) -> None:
        """Forget all of it."""
        self._octets = b""
        self.size = self._position = self._searched = 0

    def whole(self) -> bytes:
        """All that is left, if it came in one piece of which nothing was taken; else b""."""
        octets = self._octets
        return octets if type(octets) is bytes and not self._position else b""

    def take(self, most: int) -> bytes:
        """Take up to `most` octets; b"" when nothing is there."""
        start = self._position
        if most >= self.size:
            taken = self._octets[start:] if start else self._octets
            self.clear()
        else:
            end = self._position = self._searched = start + most
            self.size -= most
            taken = self._octets[start:end]
        return taken if type(taken) is bytes else bytes(taken)

    def take_until(self, delimiter: bytes) -> bytes | None:
        """Take what stands before `delimiter`, and the delimiter with it; None until it has come."""
        octets = self._octets
        found = octets.find(delimiter, self._searched)
        start = self._position
        if found < 0:
            # The delimiter may be cut: look again at its length less one.
            self._searched = max(start, len(octets) - len(delimiter) + 1)
            return None
        taken = octets[start:found]
        end = found + len(delimiter)
        if end == len(octets):
            # An idle connection keeps nothing of what it said.
            self._octets = b""
            self.size = self._position = self._searched = 0
        else:
            self.size -= end - start
            self._position = self._searched = end
        return taken if type(taken) is bytes else bytes(taken)

    def peek(self, start: int, end: int | None = None) -> bytes:
        """Look at the octets from `start` to `end` of what is left, without taking them."""
        base = self._position
        return bytes(self._octets[base + start : None if end is None else base + end])

    def skip(self, count: int) -> None:
        """Take `count` octets that were looked at and throw them away."""
        self._position += count
        self.size -= count
        self._searched = max(self._searched, self._position)
