"""A case played on the codec: octets in, in pieces of any size, and what came of them out.

Every request is answered as soon as it is whole, as a server would, so that the next one can be read.
"""

from collections.abc import Iterable, Iterator

from penstock.codec.errors import ProtocolError
from penstock.codec.events import BodyData, BodyEnd, RequestHead
from penstock.codec.http1 import Http1Codec, Limits
from penstock.codec.response import Defaults

from .cases import LIMIT_FIELDS, LIMIT_HEAD, Outcome, Seen

LIMITS = Limits(LIMIT_HEAD, LIMIT_FIELDS)
NO_DEFAULTS = Defaults(b"", b"", b"")


def play(pieces: Iterable[bytes], codec: Http1Codec | None = None) -> Outcome:
    """Feed the pieces one after another, each followed by all events it gives rise to."""
    codec = codec or Http1Codec(LIMITS)
    outcome = Outcome()
    for piece in pieces:
        codec.feed(piece)
        try:
            _take_events(codec, outcome)
        except ProtocolError as error:
            if outcome.status:
                raise AssertionError("refused a second time") from error
            outcome.status, outcome.reason = error.status, error.reason
    last = outcome.requests[-1:]
    is_unfinished = any(not each.is_finished for each in last)
    outcome.wants_more = not outcome.status and (is_unfinished or bool(codec.buffer.size and not codec.wants_close))
    return outcome


def _take_events(codec: Http1Codec, outcome: Outcome) -> None:
    while (event := codec.next_event()) is not None:
        if isinstance(event, RequestHead):
            outcome.requests.append(_seen(event))
            if not event.body_length:
                answer(codec)
            continue
        seen = outcome.requests[-1]
        if isinstance(event, BodyData):
            assert event.octets, "a piece of a body is never empty"
            seen.body += event.octets
        elif isinstance(event, BodyEnd):
            seen.trailers = event.trailers
            seen.is_finished = True
            answer(codec)


def _seen(head: RequestHead) -> Seen:
    target = head.path + b"?" + head.query if head.query else head.path
    return Seen(head.method, target, head.version, fields=head.fields, upgrade=head.upgrade, closes=not head.keeps_alive,
                expects_continue=head.expects_continue, is_finished=not head.body_length)


def answer(codec: Http1Codec) -> bytes:
    """The smallest answer there is."""
    codec.encode_head(200, [], NO_DEFAULTS)
    return b"".join(codec.encode_body(b"", True))


def differences(expected: Outcome, got: Outcome) -> Iterator[str]:
    """What came otherwise than expected, a line each; nothing when all is well."""
    if len(expected.requests) != len(got.requests):
        yield f"{len(got.requests)} requests instead of {len(expected.requests)}: {got}"
    for wanted, seen in zip(expected.requests, got.requests, strict=False):
        for name in ("method", "target", "version", "body", "trailers", "upgrade", "closes", "expects_continue", "is_finished"):
            if getattr(wanted, name) != getattr(seen, name):
                yield f"{name} is {getattr(seen, name)!r} instead of {getattr(wanted, name)!r}"
        for each in wanted.fields:
            if each not in seen.fields:
                yield f"no {each!r} in {seen.fields!r}"
    if expected.status != got.status or expected.reason.lower() not in got.reason.lower():
        yield f"{got.status} {got.reason!r} instead of {expected.status} {expected.reason!r}"
    if expected.wants_more != got.wants_more:
        yield "nothing more was asked for" if expected.wants_more else "more was asked for"
