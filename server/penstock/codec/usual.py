"""The usual head, checked and taken apart by one match.

Nearly every head is written in one manner: a path, HTTP/1.1, fields as "Name: value". A match takes it apart in C,
whatever its values, and a bounded table knows the orders of names that were checked once: clients' programs write theirs
in one order each, and there are few programs. An order that GETs often come in has a pattern of its own, which need not
take the names out. So of twelve fields never seen before nothing is done line by line: they cost 3 µs instead of 8.

It only takes what the full reading (`fields.py`) takes, and says the same of it; of anything else it says None. What an
attacker can do about it is bounded: a new order costs 4 µs more than a known one, and a full table is emptied; making a
pattern costs a millisecond, for which an order must come a hundred times, and those in use are not the ones that go.
At most five patterns are tried, and one that does not fit mostly ends in the first lines: a tenth of a microsecond.
"""

from collections.abc import Callable
from re import Match

from .events import RequestHead
from .fields import DECISIVE_NAMES, is_forwarded, judge
from .grammar import TCHAR, usual_head, usual_head_of
from .target import METHODS

_MAX_FIELDS = 32
_MAX_ORDERS = 512
_MAX_NAMES_KEPT = 1024

_OFTEN = 100
_MAX_ALIKE = 4

# What RequestHead(…) comes to, without a trip through Python.
_new_tuple = tuple.__new__


class _Order:
    """Names that came in one order, and when they come often the pattern of such heads."""

    __slots__ = ("names", "decisive", "is_plain", "is_forwarded", "uses", "match", "connection")

    def __init__(self, names: tuple[bytes, ...]) -> None:
        self.names = tuple([name.lower() for name in names])
        self.decisive = [place for place, name in enumerate(self.names) if name in DECISIVE_NAMES]
        """The places of fields that decide about framing, routing or the connection."""
        self.is_plain = sorted(self.names[place] for place in self.decisive) in ([b"host"], [b"connection", b"host"])
        """Such as Host, once, and perhaps Connection: then there is no body."""
        self.is_forwarded = is_forwarded(self.names)
        self.uses = 0
        self.match: Callable[[bytes], Match[bytes] | None] = lambda octets: None
        self.connection = self.names.index(b"connection") + 2 if b"connection" in self.names else 0
        """The pattern's group of Connection; where it does not stand that of the path, which is no "close" either."""


_ORDERS: dict[tuple[bytes, ...], _Order] = {}

# Those with a pattern, by the number of fields, the one used last first; and the one used last of all.
_SHAPES: dict[int, list[_Order]] = {}
_LAST: list[_Order] = []


def read_usual(octets: bytes, max_fields: int) -> RequestHead | None:
    """Read a head with the empty line behind it, if it is a usual one. Raises ProtocolError for what its fields say."""
    match = None
    for shape in _LAST:
        match = shape.match(octets)
    if match is None:
        # In a good head nothing but lines ends with LF; in any other what is counted here fits nothing.
        count = octets.count(b"\n") - 2
        alike = _SHAPES.get(count, [])
        for shape in alike:
            match = shape.match(octets)
            if match is not None:
                break
        else:
            return _read_any_order(octets, count) if count <= max_fields else None
        alike.remove(shape)
        alike.insert(0, shape)
        _LAST[:] = [shape]
    groups = match.groups()
    if len(groups) > max_fields + 2:
        return None
    stays = groups[shape.connection] not in (b"close", b"Close")
    fields = list(zip(shape.names, groups[2:]))
    return _new_tuple(RequestHead, ("GET", groups[0], groups[1], "1.1", fields, 0, stays, False, (), shape.is_forwarded))


def _read_any_order(octets: bytes, count: int) -> RequestHead | None:
    """The same for a head of `count` fields whose order of names has no pattern of its own."""
    match = usual_head(count).fullmatch(octets) if 0 < count <= _MAX_FIELDS else None
    if match is None:
        return None
    token, path, query, minor, *lines = match.groups()
    names = tuple(lines[::2])
    order = _ORDERS.get(names) or _learn_order(names)
    method = METHODS.get(token)
    if order is None or method is None:
        return None
    if method == "GET" and minor == b"1" and order.is_plain:
        order.uses += 1
        if order.uses == _OFTEN:
            order.match = usual_head_of(names).fullmatch
            _SHAPES[count] = [order, *_SHAPES.get(count, ())][:_MAX_ALIKE]
            _LAST[:] = [order]
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
