"""The usual head, taken apart by one match.

Nearly every head is written in one manner: a path, HTTP/1.1, fields as "Name: value". A match takes it apart in C,
whatever its values, and a bounded table knows the orders of names that were checked once: clients' programs write theirs
in one order each, and there are few programs. An order that is used often gets a pattern of its own, which need not
take the names out. So of twelve fields never seen before nothing is done line by line: they cost 4 µs instead of 12.

It only takes what the full reading (`fields.py`) takes, and says the same of it; of anything else it says None. What an
attacker can do about it is bounded: a new order costs 3 µs more than a known one, and a full table is emptied; making a
pattern costs a millisecond, for which an order must come a hundred times, and those in use are not the ones that go.
"""

from collections.abc import Callable
from re import Match
from typing import NamedTuple

from .events import RequestHead
from .fields import DECISIVE_NAMES, is_forwarded, judge
from .grammar import TCHAR, USUAL_OCTETS, usual_head, usual_head_of
from .target import METHODS

_MAX_FIELDS = 32
_MAX_ORDERS = 512
_MAX_NAMES_KEPT = 1024

_OFTEN = 100
_MAX_ALIKE = 4

# What RequestHead(…) comes to, without a trip through Python.
_new_tuple = tuple.__new__


class _Order:
    """Names that came in one order."""

    __slots__ = ("names", "decisive", "is_plain", "is_forwarded", "uses")

    def __init__(self, names: tuple[bytes, ...]) -> None:
        self.names = tuple([name.lower() for name in names])
        self.decisive = [place for place, name in enumerate(self.names) if name in DECISIVE_NAMES]
        """The places of fields that decide about framing, routing or the connection."""
        self.is_plain = sorted(self.names[place] for place in self.decisive) in ([b"host"], [b"connection", b"host"])
        """Such as Host, once, and perhaps Connection: then there is no body."""
        self.is_forwarded = is_forwarded(self.names)
        self.uses = 0


class _Shape(NamedTuple):
    """A plain order that comes often."""

    match: Callable[[bytes], Match[bytes] | None]
    names: tuple[bytes, ...]
    connection: int
    """The group of Connection; where it does not stand that of the method, which is no "close" either."""
    is_forwarded: bool


_ORDERS: dict[tuple[bytes, ...], _Order] = {}

# By the number of octets in their line ends; of those alike the last one used comes first.
_SHAPES: dict[int, list[_Shape]] = {}


def read_usual(octets: bytes, max_fields: int) -> RequestHead | None:
    """Read a head with the empty line behind it, if it is a usual one. Raises ProtocolError for what its fields say."""
    # Of a good head nothing but the line ends is left when all allowed octets are deleted.
    ends = len(octets.translate(None, USUAL_OCTETS))
    if ends > 2 * max_fields + 4:
        return None
    for shape in _SHAPES.get(ends, ()):
        match = shape.match(octets)
        if match is not None:
            groups = match.groups()
            method = METHODS.get(groups[0])
            if method is None:
                return None
            if shape is not _SHAPES[ends][0]:
                _SHAPES[ends].remove(shape)
                _SHAPES[ends].insert(0, shape)
            stays = groups[shape.connection] not in (b"close", b"Close")
            fields = list(zip(shape.names, groups[3:]))
            return _new_tuple(RequestHead, (method, groups[1], groups[2], "1.1", fields, 0, stays, False, (), shape.is_forwarded))
    return _read_any_order(octets, ends)


def _read_any_order(octets: bytes, ends: int) -> RequestHead | None:
    """The same for a head whose order of names has no pattern of its own."""
    count, rest = divmod(ends - 4, 2)
    match = usual_head(count).fullmatch(octets) if not rest and 0 < count <= _MAX_FIELDS else None
    if match is None:
        return None
    token, path, query, minor, *lines = match.groups()
    names = tuple(lines[::2])
    order = _ORDERS.get(names) or _learn_order(names)
    method = METHODS.get(token)
    if order is None or method is None:
        return None
    order.uses += 1
    if order.uses == _OFTEN and order.is_plain:
        connection = order.names.index(b"connection") + 3 if b"connection" in order.names else 0
        shape = _Shape(usual_head_of(names).fullmatch, order.names, connection, order.is_forwarded)
        _SHAPES[ends] = [shape, *_SHAPES.get(ends, ())][:_MAX_ALIKE]
    fields = list(zip(order.names, lines[1::2]))
    version = f"1.{minor.decode()}"
    judgement = judge(version, [fields[place] for place in order.decisive])
    return _new_tuple(RequestHead, (method, path, query, version, fields, *judgement, order.is_forwarded))


def _learn_order(names: tuple[bytes, ...]) -> _Order | None:
    """Check names that did not come in this order before; None when one is no token."""
    octets = b"".join(names)
    if octets.translate(None, TCHAR):
        return None
    if len(_ORDERS) >= _MAX_ORDERS:
        _ORDERS.clear()
    order = _Order(names)
    if len(octets) <= _MAX_NAMES_KEPT:
        _ORDERS[names] = order
    return order
