"""Heads of one shape: the same field names in the same order, as one program writes them every time.

Reading a field takes a look-up, a comparison and four small objects; of twelve fields that is most of a head's cost. But
a client's program writes its fields in one order, and a server sees few programs. So an order of names that comes again,
on whatever connection, is made into one pattern of a whole head, `(GET) (/…) HTTP/1.1 Host: (…) User-Agent: (…) …`. From
then on one match takes a head of that shape apart, whatever the values: that costs 3 microseconds instead of 9.

A shape only fits heads that the full reading takes, and gives the same: its names were checked when it was learnt, the
pattern is narrower than the grammar, and the caller has looked at every octet. What fits no shape is read in full. Making
a pattern costs as much as reading a hundred heads. So few are made, only of names that came twice, and for good: whoever
sends a new order each time can keep others from getting a pattern, and that is all.
"""

from .events import Field, RequestHead
from .grammar import head_pattern
from .target import METHODS

_MAX_SHAPES = 64
_MAX_ALIKE = 4
_MAX_FIELDS = 40
_MAX_SEEN = 256
_MAX_NAMES_KEPT = 1024

# Only heads without a body, in which nothing but these decides about framing or the connection.
_DECISIVE = ({b"host"}, {b"host", b"connection"})

_CLOSE = (b"close", b"Close")

# What RequestHead(…) comes to, without a trip through Python.
_new_tuple = tuple.__new__


class Shape:
    """One order of field names."""

    __slots__ = ("names", "_names", "_connection", "_match")

    def __init__(self, names: tuple[bytes, ...]) -> None:
        self.names = names
        """As they are written."""
        self._names = [name.lower() for name in names]
        # Where Connection stands; else where the method does, which is no "close" either.
        self._connection = 3 + self._names.index(b"connection") if b"connection" in self._names else 0
        self._match = head_pattern(names).fullmatch

    def read(self, block: bytes) -> RequestHead | None:
        """A head of this shape, nothing but allowed octets and line ends in it; None when it is another one."""
        match = self._match(block)
        if match is None:
            return None
        groups = match.groups(b"")
        token, path, query = groups[:3]
        method = METHODS.get(token)
        if method is None:
            return None
        keeps_alive = groups[self._connection] not in _CLOSE
        return _new_tuple(RequestHead, (method, path, query, "1.1", list(zip(self._names, groups[3:])), 0, keeps_alive, False, ()))


SHAPES: dict[int, list[Shape]] = {}
"""By the octets of their line ends, those before the fields: a few each, to be tried one after another."""

_seen: set[tuple[bytes, ...]] = set()


def learn_shape(lines: list[bytes], decisive: list[Field]) -> None:
    """Note the names of good fields; when the same ones come again, make a shape of them."""
    alike = SHAPES.get(2 * len(lines), [])
    if len(alike) >= _MAX_ALIKE or len(lines) > _MAX_FIELDS or len(decisive) > 2:
        return
    deciding = {name for name, _ in decisive}
    if deciding not in _DECISIVE or len(deciding) != len(decisive) or sum(map(len, SHAPES.values())) >= _MAX_SHAPES:
        return
    names = tuple([line.partition(b":")[0] for line in lines])
    if any(names == shape.names for shape in alike):
        # Its values are not the usual ones.
        return
    if names in _seen:
        _seen.discard(names)
        SHAPES[2 * len(lines)] = [*alike, Shape(names)]
    elif len(_seen) < _MAX_SEEN and sum(map(len, names)) <= _MAX_NAMES_KEPT:
        _seen.add(names)
